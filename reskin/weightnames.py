"""Where a model file that a workflow names can be had: its entry in weights.toml."""

from __future__ import annotations

from pathlib import PurePosixPath

from handoff.weights.registry import load_registry


def where_from(file_name: str) -> str | None:
    """Return what to do to get the model file of that name, None where weights.toml does not list it."""
    for weight in load_registry().weights:
        if PurePosixPath(weight.file).name == file_name:
            return f"fetch it with 'make weights PROFILE={weight.profiles[0]}', which knows {file_name}"
    return None
