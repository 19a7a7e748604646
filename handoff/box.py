"""Boxes: x1, y1, x2, y2 in pixels of the source frame, the right and lower edges not included."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from handoff.errors import InputError, UsageError


@dataclass(frozen=True)
class Box:
    """A box in pixels; x grows to the right, y downwards."""

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def of(cls, values: Any) -> Box | None:
        """Return the box of four finite numbers x1, y1, x2, y2, as text or not; None for anything else."""
        try:
            numbers = [] if isinstance(values, str | bytes) else [float(each) for each in values]
        except (TypeError, ValueError):
            return None
        return cls(*numbers) if len(numbers) == 4 and all(map(math.isfinite, numbers)) else None

    def as_list(self) -> list[float]:
        """Return [x1, y1, x2, y2], whole numbers as int (for JSON)."""
        return [int(v) if float(v).is_integer() else float(v) for v in (self.x1, self.y1, self.x2, self.y2)]

    @property
    def width(self) -> float:
        """x2 - x1, px."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """y2 - y1, px."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Width times height, px."""
        return self.width * self.height

    @property
    def longer_side(self) -> float:
        """The larger of width and height, px."""
        return max(self.width, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle, px."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def contains(self, x: float, y: float) -> bool:
        """Say whether a point lies in the box; the right and lower edges are outside."""
        return self.x1 <= x < self.x2 and self.y1 <= y < self.y2

    def iou(self, other: Box) -> float:
        """Return the intersection over the union of two boxes, 0..1."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.area + other.area - width * height)

    def clipped(self, width: int, height: int) -> Box | None:
        """Return the part inside a frame of width x height px; None where less than a pixel either way is left."""
        cut = Box(max(0.0, self.x1), max(0.0, self.y1), min(float(width), self.x2), min(float(height), self.y2))
        return cut if cut.width >= 1 and cut.height >= 1 else None

    def grown(self, px: float) -> Box:
        """Return the box with `px` more on every side."""
        return Box(self.x1 - px, self.y1 - px, self.x2 + px, self.y2 + px)

    def rounded(self) -> Box:
        """Return the box on the nearest whole pixels, as a person would write it down."""
        return Box(*(round(value) for value in (self.x1, self.y1, self.x2, self.y2)))

    def rounded_out(self) -> tuple[int, int, int, int]:
        """Return x1, y1, x2, y2 of the smallest box of whole pixels around this one."""
        return math.floor(self.x1), math.floor(self.y1), math.ceil(self.x2), math.ceil(self.y2)

    def __str__(self) -> str:
        return ",".join(f"{v:g}" for v in (self.x1, self.y1, self.x2, self.y2))


def parse_box(text: str) -> Box:
    """Parse "x1,y1,x2,y2", "[x1, y1, x2, y2]" or the same with spaces.

    Raises UsageError when it is not four finite numbers.
    """
    box = Box.of(re.split(r"[,\s]+", text.strip().removeprefix("[").removesuffix("]").strip()))
    if box is None:
        raise UsageError(f"the box '{text}' is not four numbers; write x1,y1,x2,y2 in pixels, such as 120,200,260,240.")
    return box


def check_box(box: Box, width: int, height: int) -> Box:
    """Return `box` when it lies in a frame of width x height pixels; raise InputError when it does not."""
    if box.x2 < box.x1 or box.y2 < box.y1:
        mended = Box(min(box.x1, box.x2), min(box.y1, box.y2), max(box.x1, box.x2), max(box.y1, box.y2))
        raise InputError(
            f"the box {box} is reversed: x2 must be right of x1 and y2 below y1; perhaps you meant {mended}."
        )
    if box.width < 1 or box.height < 1:
        raise InputError(f"the box {box} has no area: it must be at least 1 px wide and 1 px high.")
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise InputError(
            f"the box {box} does not lie inside the frame of {width}x{height} px: "
            f"give x from 0 to {width} and y from 0 to {height}."
        )
    return box
