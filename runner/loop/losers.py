"""The pictures of takes that nobody will choose any more: removed, so that the disk does not grow with the rounds.

The reskin stage keeps a window's pictures in reskins/NAME/.windows/0003-KEY. KEY is a hash of all that it was painted
from, so no two takes have one folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

from runner import runs

FOLDER, FIRST = ".windows", "frame_00000.png"
_KEPT = re.compile(r"\d{4,}-[0-9a-f]{32}")


def is_kept(name: object) -> bool:
    """Say whether this can be the name of a window's folder, which comes from a file that anybody may have written."""
    return isinstance(name, str) and _KEPT.fullmatch(name) is not None


def are_there(reskin: Path, name: str | None) -> bool:
    """Say whether a take's pictures are there. name: of their folder, None where it is not known."""
    return name is not None and (reskin / FOLDER / name / FIRST).is_file()


def drop(reskin: Path, names: Collection[str]) -> None:
    """Remove the pictures of some takes. RunnerError for a link where their folder should be."""
    runs.check_way(reskin / FOLDER)
    for name in names:
        shutil.rmtree(reskin / FOLDER / name, ignore_errors=True)


def drop_all_but(reskin: Path, names: Collection[str]) -> None:
    """Remove the pictures of all takes but some; what is being written stays. RunnerError as `drop`."""
    runs.check_way(reskin / FOLDER)
    try:
        there = os.listdir(reskin / FOLDER)
    except FileNotFoundError:
        return
    drop(reskin, [each for each in there if is_kept(each) and each not in names])
