"""runner/docker/cuda.lock and torch.lock: the pins that several images share, so that they can share one layer."""

from __future__ import annotations

import re
from pathlib import Path

from runner.process import ROOT

SHARED = {
    "cuda": (("posegen", "tracker", "comfyui"), r"nvidia-.*"),
    "torch": (("tracker", "comfyui"), r"nvidia-.*|torch|torchvision|triton"),
}
"""Lock: the stages that share it, and the packages in it, the big ones. `torch` leaves out what is in `cuda`."""


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
        alike = {name: text for name, text in alike.items() if name not in pins(ROOT / "runner" / "docker" / "cuda.lock")}
    head = f"# What {', '.join(stages)} pin alike and is big; `make lock` writes this file.\n"
    return head + "".join(alike.values())


def write_shared_locks() -> None:
    """Write both files."""
    for which in SHARED:
        (ROOT / "runner" / "docker" / f"{which}.lock").write_text(shared_lock(which), encoding="utf-8")
