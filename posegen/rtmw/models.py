"""Which RTMW: names, entries of weights.toml, and the verified file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from handoff.errors import MissingError, UsageError
from handoff.weights import Registry, find_with_digest, load_registry
from handoff.weights.places import present

MODELS = {"rtmw-l": "rtmw-l-384x288", "rtmw-x": "rtmw-x-384x288", "rtmw-m": "rtmw-m-256x192"}
"""Model and its entry in weights.toml."""

DEFAULT_MODEL = "rtmw-l"


@dataclass(frozen=True)
class ModelFile:
    """A verified file. path: the archive or .onnx file. sha256: its digest. onnx_sha256: of the .onnx file inside."""

    model: str
    path: Path
    sha256: str
    onnx_sha256: str | None


def find_model(model: str) -> ModelFile:
    """Return the file of a model, verified; UsageError for an unknown model, MissingError where the file is not."""
    registry = load_registry()
    name = _entry(model, registry)
    path, sha256 = find_with_digest(name, registry)
    return ModelFile(model, path, sha256, registry.weight(name).onnx_sha256)


def has_weights(model: str) -> bool:
    """Say whether there is a file for a model (whether it is the right one is not asked)."""
    registry = load_registry()
    return present(registry.weight(_entry(model, registry))) is not None


def _entry(model: str, registry: Registry) -> str:
    if model not in MODELS:
        raise UsageError(f"there is no pose model '{model}'; there are: {', '.join(MODELS)}.")
    name = MODELS[model]
    if name not in {weight.name for weight in registry.weights}:
        raise MissingError(
            f"weights.toml has no file for {model}, because no SHA-256 of it is known from independent sources; "
            f"use --model {DEFAULT_MODEL}, or add an entry [weights.{name}] with the digest of a file you trust."
        )
    return name
