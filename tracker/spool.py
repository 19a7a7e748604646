"""A stack of masks on disk, for the pass that runs backward: frames come last first and leave first first."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.errors import storage_errors


class MaskSpool:
    """Push masks (H, W) bool, then pop them in the opposite order. Memory: 8 bytes a mask.

    Packed bits, deflated, in an unnamed temporary file, which the system removes however the process ends.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = shape
        self._starts: list[int] = []

    def __enter__(self) -> MaskSpool:
        with storage_errors(Path(tempfile.gettempdir())):
            self._file = tempfile.TemporaryFile()  # closed in __exit__
        return self

    def push(self, mask: NDArray[np.bool_]) -> None:
        """Put a mask on the stack; StorageError when the disk is full."""
        with storage_errors(Path(tempfile.gettempdir())):
            self._starts.append(self._file.tell())
            self._file.write(zlib.compress(np.packbits(mask).tobytes(), 1))

    def pop(self) -> NDArray[np.bool_]:
        """Take the newest mask off the stack; IndexError when it is empty."""
        start = self._starts.pop()
        end = self._file.tell()
        self._file.seek(start)
        packed = np.frombuffer(zlib.decompress(self._file.read(end - start)), np.uint8)
        self._file.seek(start)
        height, width = self._shape
        return np.unpackbits(packed, count=height * width).reshape(self._shape).astype(bool)

    def __exit__(self, *error: object) -> None:
        self._file.close()
