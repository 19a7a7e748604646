"""Which detector: the sizes of YOLOX, and their files."""

from __future__ import annotations

from handoff.errors import MissingError
from handoff.verify import DigestError
from handoff.weights import load_registry
from handoff.weights.places import find_with_digest, present
from posegen.detect.yolox import YoloxDetector

MODELS = {size: f"yolox-{size}" for size in ("nano", "tiny", "s", "m", "l", "x")}
"""A size's name, as a user writes it, and its weight in weights.toml."""

DEFAULT_MODEL = "nano"


def has_detector(size: str) -> bool:
    """Say whether there is a file for a detector's weights (whether it is the right one is not asked)."""
    return any(each.name == MODELS[size] and present(each) is not None for each in load_registry().weights)


def open_detector(size: str, device: str = "auto") -> YoloxDetector:
    """Return a detector, its weights verified.

    Raises MissingError where they are not there, with the other way to say where the object is.
    """
    try:
        path, sha256 = find_with_digest(MODELS[size])
    except DigestError:
        raise
    except MissingError as error:
        raise MissingError(
            f"{error} Without a detector the object's box is given by hand: --bbox x1,y1,x2,y2 --frame n."
        ) from error
    return YoloxDetector(path, sha256, device)
