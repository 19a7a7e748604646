"""Finished windows of a reskin that is not finished: a killed command goes on with the next window.

The pictures lie as the server gave them in reskins/NAME/.windows/0003-KEY/, where KEY is the SHA-256 of all that the
server was given for that window, and are removed when run.json has the reskin. At most 3 bytes a px of the model's
picture, for each frame of each window and each pass: 1.2 MB a picture of 832x480.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from handoff.atomic import atomic_dir

FOLDER = ".windows"


class KeptWindows:
    """The finished windows below `folder`, a reskin's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def place(self, index: int, key: str) -> Path:
        """Return where window `index` made from this input lies; a folder of that name is complete."""
        return self.folder / f"{index:04d}-{key[:32]}"

    @contextlib.contextmanager
    def make(self, index: int, key: str) -> Iterator[Path]:
        """Yield a folder for the window's pictures that gets its name on a clean exit; older ones of it go."""
        for old in self.folder.glob(f"{index:04d}-*"):
            shutil.rmtree(old, ignore_errors=True)
        with atomic_dir(self.place(index, key)) as folder:
            yield folder

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)
