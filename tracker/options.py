"""What a user writes for points and corrections, as click parameter types."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from handoff.box import parse_box
from handoff.errors import UsageError
from handoff.prompts import Place, Point


class _PointType(click.ParamType[Point]):
    name = "x,y[,0|1]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Point:
        return value if isinstance(value, Point) else parse_point(value)


class _CorrectionType(click.ParamType[Place]):
    name = "frame:x1,y1,x2,y2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        return value if isinstance(value, Place) else parse_correction(value)


def parse_point(text: str) -> Point:
    """Parse "190,220" (on the object), "190,220,1" (the same) or "190,260,0" (not on it); UsageError otherwise."""
    parts = re.split(r"[,\s]+", text.strip())
    try:
        x, y, *label = (float(part) for part in parts)
    except ValueError:
        x, y, label = math.nan, math.nan, []
    if not (math.isfinite(x) and math.isfinite(y) and len(label) <= 1 and set(label) <= {0.0, 1.0}):
        raise UsageError(f"the point '{text}' is not x,y or x,y,0 or x,y,1 in pixels, such as 190,220.")
    return Point(x, y, int(label[0]) if label else 1)


def parse_correction(text: str) -> Place:
    """Parse "50:120,200,260,240", the object's box on frame 50; UsageError otherwise."""
    frame, colon, box = text.partition(":")
    if not colon or not frame.strip().isdigit():
        raise UsageError(f"the correction '{text}' is not frame:x1,y1,x2,y2, such as 50:310,190,420,230.")
    return Place(int(frame), parse_box(box))


POINT = _PointType()
CORRECTION = _CorrectionType()
