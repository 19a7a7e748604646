"""Where model files lie, and the one way to one: verified each time.

The SHA-256 is computed at every use, 0.75 s for the 898 MB of SAM 2.1 Hiera-L in the page cache (measured, one core
with SHA instructions). A stamp by size and date would save that and miss the file that was swapped or has rotted.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from handoff.errors import MissingWeightsError
from handoff.files import verify_file
from handoff.weights.registry import ROOT, Registry, Weight, load_registry


def models_dir() -> Path:
    """Return the models folder: $MODELS_DIR, else models/ of $DATA_DIR, else data/models of the project."""
    data = Path(os.environ.get("DATA_DIR") or ROOT / "data")
    return Path(os.environ.get("MODELS_DIR") or data / "models")


def place_of(weight: Weight) -> Path:
    """Return where a weight belongs."""
    return models_dir() / weight.file


def dropped_at(weight: Weight) -> Path:
    """Return where a weight may be dropped by hand as well: straight into the models folder."""
    return models_dir() / PurePosixPath(weight.file).name


def present(weight: Weight) -> Path | None:
    """Return the file that is there for a weight, in its place or dropped, not verified; None when there is none."""
    return next((path for path in (place_of(weight), dropped_at(weight)) if path.is_file()), None)


def verify(weight: Weight, path: Path) -> str:
    """Return the SHA-256 of the file; raise DigestError, with both digests, unless it is this weight."""
    return verify_file(
        path,
        weight.sha256,
        weight.size_bytes,
        f"move it away, then run make weights PROFILE={weight.profiles[0]}, or put the file from {weight.url} there",
        weight.also,
    )


def find_weight(name: str, registry: Registry | None = None) -> Path:
    """Return the verified file of a weight, by its name in weights.toml. Nothing is downloaded and nothing is moved.

    Raises MissingWeightsError when it is not there, DigestError (a MissingError, with both digests) when it is another
    file, UsageError for a name that weights.toml does not have.
    """
    return find_with_digest(name, registry)[0]


def find_with_digest(name: str, registry: Registry | None = None) -> tuple[Path, str]:
    """Return what `find_weight` does, and the SHA-256 that the file really has: a weight may have several good ones."""
    weight = (registry or load_registry()).weight(name)
    path = present(weight)
    if path is None:
        raise MissingWeightsError(
            f"{weight.file} is not in {models_dir()}; run make weights PROFILE={weight.profiles[0]}, "
            f"or put the file from {weight.url} there by hand."
        )
    return path, verify(weight, path)
