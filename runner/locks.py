"""make lock: compile every requirements.in into its hashed requirements.lock: python -m runner.locks [STAGE ...]

And runner/docker/cuda.lock and torch.lock: the pins that several images share, so that they can share one layer.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from runner.commands import run
from runner.envs import BUILD, call, ensure_env, lock_file, working
from runner.process import ROOT

STAGES = ("runner", "posegen", "tracker", "selector", "reskin", "evaluator", "comfyui", "sweep", "tests")
OPTIONS = ("--quiet", "--generate-hashes", "--python-version", "3.11", "--no-header")
SHARED_FOLDER = ROOT / "runner" / "docker"
SHARED = {
    "cuda": (("posegen", "tracker", "comfyui"), r"nvidia-.*"),
    "torch": (("tracker", "comfyui"), r"nvidia-.*|torch|torchvision|triton"),
}
"""Lock: the stages that share it, and the packages in it, the big ones. `torch` leaves out what is in `cuda`."""


def compile_locks(arguments: list[str]) -> int:
    """Compile the locks of the named stages, or of all, and what images share of them."""
    uv = ensure_env("runner").parent / "uv"
    for stage in arguments or STAGES:
        folder = ROOT / stage
        overrides = folder / "overrides.txt"
        extra = ["--override", str(overrides.relative_to(ROOT))] if overrides.exists() else []
        source, target = folder / "requirements.in", lock_file(stage)
        names = [str(source.relative_to(ROOT)), "-o", str(target.relative_to(ROOT))]
        # source archives are built with the very versions that are asked for, where these say which
        extra += ["--build-constraints", names[0]]
        with working(f"locking {stage}"):
            call(
                [uv, "pip", "compile", *OPTIONS, *extra, *names],
                shlex.join(["uv pip compile", *names]),
                lock=None,
                **BUILD,
            )
    write_shared_locks()
    if not arguments or "comfyui" in arguments:
        _lock_nodes(uv)
    return 0


def _lock_nodes(uv: Path) -> None:
    """Compile what packages of ComfyUI nodes import, with every version that the server's own lock has."""
    names = ["-c", "comfyui/requirements.lock", "comfyui/nodes.in", "-o", "comfyui/nodes.lock"]
    with working("locking the packages of nodes"):
        call([uv, "pip", "compile", *OPTIONS, *names], shlex.join(["uv pip compile", *names]))


def pins(lock: Path) -> dict[str, str]:
    """Return the entries of a hashed lock file: "name==version" and its text with all hashes, comments left out."""
    entries: dict[str, str] = {}
    name = ""
    for line in lock.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("#"):
            continue
        if line and not line[0].isspace():
            name = line.split()[0]
            entries[name] = ""
        entries[name] = entries.get(name, "") + line + "\n"
    return entries


def shared_lock(which: str) -> str:
    """Return the text of a shared lock: what all its stages pin alike, hashes included."""
    stages, wanted = SHARED[which]
    first, *others = (pins(ROOT / stage / "requirements.lock") for stage in stages)
    alike = {
        name: text
        for name, text in first.items()
        if re.fullmatch(wanted, name.split("==")[0]) and all(each.get(name) == text for each in others)
    }
    if which == "torch":
        alike = {name: text for name, text in alike.items() if name not in pins(SHARED_FOLDER / "cuda.lock")}
    head = f"# What {', '.join(stages)} pin alike and is big; `make lock` writes this file.\n"
    return head + "".join(alike.values())


def write_shared_locks() -> None:
    """Write both files."""
    for which in SHARED:
        (SHARED_FOLDER / f"{which}.lock").write_text(shared_lock(which), encoding="utf-8")


if __name__ == "__main__":
    run(compile_locks)
