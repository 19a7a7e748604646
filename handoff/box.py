"""Boxes: x1, y1, x2, y2 in pixels of the source frame, the right and lower edges not included."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError


@dataclass(frozen=True)
class Box:
    """A box in pixels; x grows to the right, y downwards."""

    x1: float
    y1: float
    x2: float
    y2: float

    def as_list(self) -> list[float]:
        """Return [x1, y1, x2, y2], whole numbers as int (for JSON)."""
        return [int(v) if float(v).is_integer() else float(v) for v in (self.x1, self.y1, self.x2, self.y2)]

    def __str__(self) -> str:
        return ",".join(f"{v:g}" for v in (self.x1, self.y1, self.x2, self.y2))


def parse_box(text: str) -> Box:
    """Parse "x1,y1,x2,y2", "[x1, y1, x2, y2]" or the same with spaces.

    Raises UsageError when it is not four finite numbers.
    """
    parts = re.split(r"[,\s]+", text.strip().removeprefix("[").removesuffix("]").strip())
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = []
    if len(values) != 4 or not all(math.isfinite(value) for value in values):
        raise UsageError(f"the box '{text}' is not four numbers; write x1,y1,x2,y2 in pixels, such as 120,200,260,240.")
    return Box(*values)


def check_box(box: Box, width: int, height: int) -> Box:
    """Return `box` when it lies in a frame of width x height pixels; raise InputError when it does not."""
    if box.x2 < box.x1 or box.y2 < box.y1:
        mended = Box(min(box.x1, box.x2), min(box.y1, box.y2), max(box.x1, box.x2), max(box.y1, box.y2))
        raise InputError(
            f"the box {box} is reversed: x2 must be right of x1 and y2 below y1; perhaps you meant {mended}."
        )
    if box.x2 - box.x1 < 1 or box.y2 - box.y1 < 1:
        raise InputError(f"the box {box} has no area: it must be at least 1 px wide and 1 px high.")
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise InputError(
            f"the box {box} does not lie inside the frame of {width}x{height} px: "
            f"give x from 0 to {width} and y from 0 to {height}."
        )
    return box


def box_of_mask(mask: NDArray[np.bool_]) -> Box | None:
    """Return the tightest box around a mask (H, W) bool, or None when the mask is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


class _BoxType(click.ParamType[Box]):
    name = "x1,y1,x2,y2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Box:
        return value if isinstance(value, Box) else parse_box(value)


BOX = _BoxType()
"""The click parameter type of a box."""
