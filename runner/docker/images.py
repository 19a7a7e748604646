"""The five images: their names, and whether they hold this checkout's code."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from runner.docker import engine
from runner.process import ROOT, RunnerError

STAGES = ("posegen", "tracker", "reskin", "evaluator", "comfyui")
LABEL = "skate-physics.code"
NODES_LABEL = "skate-physics.nodes"
NO_NODES = "none"
"""NODES=none: an image of ComfyUI without packages of nodes, where the last one had some."""
IMAGE_OF = {"weights": "reskin"}
"""A service of compose.yaml that is no stage, and whose image it uses."""
_PACKAGES = {
    "posegen": ("handoff", "posegen"),
    "tracker": ("handoff", "tracker"),
    "reskin": ("handoff", "reskin"),
    "evaluator": ("handoff", "tracker", "evaluator"),
    "comfyui": (),
}
_FILES = {
    "comfyui": (
        "comfyui/start.py",
        "comfyui/pins.toml",
        "comfyui/source.lock",
        "comfyui/requirements.lock",
        "comfyui/nodes.lock",
        "comfyui/packages.toml",
        "comfyui/fetch_nodes.py",
        "runner/comfy/comfyargs.py",
        "runner/comfy/comfysource.py",
    )
}
_SUFFIXES = {".py", ".json", ".toml", ".lock"}


def tag() -> str:
    """Return the tag of our images: $SKATE_TAG, else 1."""
    return os.environ.get("SKATE_TAG") or "1"


def image(stage: str) -> str:
    """Return the name of a stage's image."""
    return f"skate-physics-{stage}:{tag()}"


def _files(stage: str) -> Iterator[Path]:
    yield from (ROOT / "runner" / "docker").glob("*.lock")
    yield ROOT / stage / "Dockerfile"
    yield from (ROOT / name for name in _FILES.get(stage, ("weights.toml",)))
    for package in _PACKAGES[stage]:
        for path in (ROOT / package).rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(ROOT).parts)  # a linter's cache, say
            if path.suffix in _SUFFIXES and not hidden:
                yield path


def code(stage: str) -> str:
    """Return the digest of everything of ours that a stage's image is made from."""
    digest = hashlib.sha256()
    for path in sorted(_files(stage)):
        digest.update(f"{path.relative_to(ROOT).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def check_nodes() -> None:
    """Raise RunnerError unless $NODES names pinned packages of nodes: a build's log would hide the reason."""
    known = tomllib.loads((ROOT / "comfyui" / "packages.toml").read_text(encoding="utf-8"))["packages"]
    names = (os.environ.get("NODES") or "").split()
    unknown = [name for name in names if name not in known and names not in (["all"], [NO_NODES])]
    if unknown:
        raise RunnerError(
            f"NODES={' '.join(unknown)} is not a pinned package of nodes; known are {', '.join(known)}, or all, or "
            f"{NO_NODES}.",
            2,
        )


def nodes() -> str:
    """Return the packages of nodes to build ComfyUI's image with: $NODES, else those of the image that is there."""
    wish = os.environ.get("NODES")
    if wish:
        return "" if wish.strip() == NO_NODES else wish
    found = engine.inspect("image", image("comfyui"))
    kept = str((found["Config"].get("Labels") or {}).get(NODES_LABEL, "")) if found else ""
    if kept:
        print(
            f"comfyui: with the nodes of the image that is there, {kept} (NODES={NO_NODES} leaves them out)",
            file=sys.stderr,
        )
    return kept


def build_arguments() -> dict[str, str]:
    """Return the variables of compose.yaml that say what each image is made from, for its labels too."""
    return {f"CODE_{stage.upper()}": code(stage) for stage in STAGES} | {"NODES": nodes()}


@functools.cache
def built(stage: str) -> str | None:
    """Return the digest in the label of a stage's image, "" without one, None where there is no such image."""
    found = engine.inspect("image", image(stage))
    return None if found is None else str((found["Config"].get("Labels") or {}).get(LABEL, ""))


def missing() -> list[str]:
    """Return the stages without an image."""
    return [stage for stage in STAGES if built(stage) is None]


def check(service: str) -> None:
    """Raise RunnerError unless a service's image is there and holds this checkout's code."""
    stage = IMAGE_OF.get(service, service)
    have = built(stage)
    if have is None:
        raise RunnerError(f"there is no image {image(stage)}; make it with make build, or use RUNNER=local.")
    if have != code(stage):
        raise RunnerError(
            f"the image {image(stage)} was made from other code than this (its label says '{have}', this is "
            f"'{code(stage)}'); make build brings it up to date, RUNNER=local does without."
        )
