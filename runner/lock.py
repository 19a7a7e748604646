"""Compile every requirements.in into its hashed requirements.lock: python -m runner.lock [STAGE ...]"""

from __future__ import annotations

import shlex
from pathlib import Path

from runner.envs import BUILD, call, ensure_env, lock_file, working
from runner.main import run
from runner.process import ROOT
from runner.sharedlocks import write_shared_locks

STAGES = ("runner", "posegen", "tracker", "selector", "reskin", "evaluator", "comfyui", "tests")
OPTIONS = ("--quiet", "--generate-hashes", "--python-version", "3.11", "--no-header")


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
            call([uv, "pip", "compile", *OPTIONS, *extra, *names], shlex.join(["uv pip compile", *names]), **BUILD)
    write_shared_locks()
    if not arguments or "comfyui" in arguments:
        _lock_nodes(uv)
    return 0


def _lock_nodes(uv: Path) -> None:
    """Compile what packages of ComfyUI nodes import, with every version that the server's own lock has."""
    names = ["-c", "comfyui/requirements.lock", "comfyui/nodes.in", "-o", "comfyui/nodes.lock"]
    with working("locking the packages of nodes"):
        call([uv, "pip", "compile", *OPTIONS, *names], shlex.join(["uv pip compile", *names]))


if __name__ == "__main__":
    run(compile_locks)
