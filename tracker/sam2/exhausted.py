"""What is said where the memory of the GPU, or of the machine, does not hold SAM 2.1."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from handoff.errors import MissingError
from tracker.sam2.predictor import first_line


def _is_exhaustion(error: Exception) -> bool:
    """Say whether it is; the allocator of the CPU raises a plain RuntimeError with these words."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in said or "can't allocate memory" in said)
    )


@contextlib.contextmanager
def memory_errors(model: str, device: str) -> Iterator[None]:
    """Turn memory that runs out within the block into a MissingError that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_exhaustion(error):
            raise
        elsewhere = "end what else uses the GPU, or use --device cpu" if device == "cuda" else "end what else runs"
        raise MissingError(
            f"SAM 2.1 {model} found no memory on {device} ({first_line(error)}); {elsewhere}, or a smaller --model "
            f"(tiny, small, base_plus), or a clip of fewer pixels."
        ) from error
