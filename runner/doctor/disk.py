"""Room on the disks: where the engine keeps its images, where the environments and data/ are. Sizes stand here only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from runner import runs
from runner.docker import engine, images
from runner.doctor.line import Line, trouble
from runner.envs import ENVS

IMAGES_GB = 19.0
"""All five images, 11, and the downloaded packages that building them keeps, 8 (docs/guides/containers.md)."""
RUNNING_GB = 2.0
"""Writable layers and logs of running containers."""
ENVIRONMENTS_GB = 8.0
"""The stages' virtual environments, ComfyUI's PyTorch among them (README)."""
RUN_GB = 1.0
"""A run's masks, pictures and windows; a long clip takes more."""


def _free_gb(folder: Path) -> float:
    """Return what is free where a folder is, or would be made, in 10^9 bytes."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e9


def _line(what: str, folder: Path, need_gb: float, purpose: str, mend: str, needed: bool) -> Line:
    free = _free_gb(folder)
    value = f"{free:.0f} GB free at {folder}, {purpose} {need_gb:.1f} GB"
    return Line("ok", what, value) if free >= need_gb else Line(trouble(needed), what, value, mend)


def engine_line(needed: bool) -> Line | None:
    """Return the room where the engine keeps images, None where it does not say. needed: docker is the runner."""
    answer = engine.docker("info", "--format", "{{.DockerRootDir}}")
    root = Path(answer.stdout.strip() or "/")
    if answer.returncode or not answer.stdout.strip():
        return None
    if not root.exists():
        return Line("ok", "disk: images", f"{root} is not on this machine (the engine runs elsewhere): not checked")
    build = bool(images.missing())
    need, purpose = (IMAGES_GB, "building the images takes") if build else (RUNNING_GB, "running them takes")
    return _line(
        "disk: images", root, need, purpose, "docker system prune, or move the engine's data-root", needed and build
    )


def local_lines(weights_gb: float, local: bool) -> Iterator[Line]:
    """Yield the room for environments and for data/. weights_gb: model files that are still to be fetched."""
    if local:
        there = [stage for stage in images.STAGES if any(ENVS.glob(f"{stage}-*/.complete"))]
        need = 0.0 if len(there) == len(images.STAGES) else ENVIRONMENTS_GB
        yield _line("disk: .envs", ENVS, need, "the environments still take", "free some room", True)
    mend = "free some room, or DATA_DIR=/a/larger/disk"
    yield _line("disk: data", runs.data_dir(), RUN_GB, "a run takes about", mend, True)
    if weights_gb:
        models = runs.models_dir()
        mend = "free some room, or MODELS_DIR=/a/larger/disk"
        yield _line("disk: models", models, weights_gb, "the missing model files take", mend, False)
