"""Which files of a folder are the frames of a sequence, and in which order."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from handoff.errors import InputError
from handoff.files import files_in


def numbered_pngs(folder: Path) -> list[Path]:
    """Return the PNG files of a folder in the order of the last number in their names: 9.png, 10.png.

    Upper case counts as lower case. What Finder and Explorer leave is no frame, nor is a file of another ending. The
    numbers may begin anywhere. InputError for a folder without such files, a name without a number, one that is
    missing or there twice.
    """
    found = files_in(folder)
    files = sorted((_number(path), path) for path in found if path.suffix.lower() == ".png")
    if not files:
        others = sorted({path.suffix.lower() or "no ending" for path in found})
        seen = f" (but {', '.join(others[:5])})" if others else ""
        raise InputError(f"{folder} has no PNG files{seen}; give the folder with the masks frame_00000.png and so on.")
    for (before, first), (number, path) in itertools.pairwise(files):
        if number == before:
            raise InputError(f"{folder} has frame {number} twice: {first.name} and {path.name}; take one away.")
        if number != before + 1:
            raise InputError(f"{folder} has {path.name} after frame {before} ({first.name}): a frame is missing.")
    return [path for _, path in files]


def _number(path: Path) -> int:
    digits = re.findall(r"[0-9]+", path.stem)
    if not digits:
        raise InputError(f"{path} has no frame number in its name; call the masks frame_00000.png and so on.")
    return int(digits[-1])
