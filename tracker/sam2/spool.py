"""Low-resolution logits on disk, for frames that are tracked before it is their turn to be handed out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.errors import storage_errors


class LogitSpool:
    """Frame number to (logits, object score), exact, in an unnamed file that goes with the process however it ends.

    The logits are the model's own, (S/4, S/4) float32, before they are resized to the clip: 262 kB a frame for
    S = 1024. Nothing is held in memory. StorageError when the disk is full.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._record_bytes = 4 * (size * size + 1)
        with storage_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in close()

    def put(self, index: int, logits: NDArray[np.float32], score: float) -> None:
        """Keep a frame's logits (S/4, S/4) and score."""
        with storage_errors(self._folder):
            self._file.seek(index * self._record_bytes)
            self._file.write(np.append(logits.ravel(), np.float32(score)).tobytes())
            self._file.flush()

    def get(self, index: int) -> tuple[NDArray[np.float32], float]:
        """What was put for that frame."""
        self._file.seek(index * self._record_bytes)
        record = np.frombuffer(self._file.read(self._record_bytes), np.float32).copy()
        return record[:-1].reshape(self._size, self._size), float(record[-1])

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
