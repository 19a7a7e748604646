"""What is told beside the verdict and decides nothing. Both keep a few numbers a frame.

`ColourJumps`: does the object's colour jump where windows meet? A model paints a clip in windows (output.json has
them), and users complain most of colours that drift from one to the next. The step over each border is held against
the median step of as many frames elsewhere.

`Leftovers`: does the detector still see the old thing in the new one, and how surely?
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handoff.detections.coco import CLASSES
from handoff.detections.samples import read_samples
from handoff.errors import InputError
from handoff.jsonfile import listing, read_json, record, whole
from handoff.links import check_way
from handoff.masks import Mask, as_bytes, bounds
from handoff.places import Box
from handoff.video import Frame

Windows = Sequence[Sequence[int]]
"""First and last frame of each, in order; they may share frames."""


def output_windows(generated: Path, frames: int) -> Windows:
    """Return the windows that a clip of so many frames was painted in, from output.json beside it.

    None at all where there is no such file, where it is of another kind, and where it has one window.
    """
    path = generated.with_name("output.json")
    frame = whole(0, frames - 1)
    try:
        check_way(path)
        found = read_json(path, record({"windows": listing(listing(frame, 2, 2))}), advice="make the reskin again")
    except InputError:  # decides nothing, and beside a clip from elsewhere it may be anything
        return []
    windows: Windows = found["windows"]
    rising = all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(windows))
    return windows if rising and len(windows) > 1 else []


class ColourJumps:
    """Feed it every frame in order, then ask what the object's colour does where windows meet."""

    def __init__(self) -> None:
        self._means: list[tuple[float, ...] | None] = []

    def feed(self, output: Frame, original: Mask) -> None:
        """Take a frame (H, W, 3) uint8 RGB and G (H, W) bool."""
        x, y, width, height = cv2.boundingRect(as_bytes(original))
        mean = None
        if width:
            box = slice(y, y + height), slice(x, x + width)
            inside = np.ascontiguousarray(original[box])
            colour = np.array(cv2.mean(output[box], as_bytes(inside))[:3], np.float32) / 255
            mean = tuple(map(float, cv2.cvtColor(colour[None, None], cv2.COLOR_RGB2LAB)[0, 0]))
        self._means.append(mean)

    def as_json(self, windows: Windows) -> dict[str, Any] | None:
        """Return "borders" (each with "frame", the later window's first, and "jump") and "elsewhere", the median.

        Jumps are distances in CIE L*a*b*; 2.3 is what a person just sees. None where nothing can be said: fewer than
        two windows, or an object that is not seen on both sides of any border.
        """
        borders, elsewhere = [], []
        spans = [(later[0] - 1, earlier[1] + 1) for earlier, later in itertools.pairwise(windows)]
        for before, after in spans:
            jump = self._jump(before, after)
            if jump is not None:
                borders.append({"frame": before + 1, "jump": round(jump, 2)})
        for length in {after - before for before, after in spans}:
            for first in range(len(self._means) - length):
                jump = self._jump(first, first + length)
                if jump is not None and not any(a < first + length and first < b for a, b in spans):
                    elsewhere.append(jump)
        if not borders:
            return None
        return {"borders": borders, "elsewhere": round(float(np.median(elsewhere)), 2) if elsewhere else None}

    def _jump(self, first: int, last: int) -> float | None:
        if last >= len(self._means):
            return None
        before, after = self._means[first], self._means[last]
        return None if before is None or after is None else math.dist(before, after)


MEETS = 0.5
"""The box IoU from which a detection is of what a mask shows."""


class Leftovers:
    """Feed it G and P of every frame in order, then ask where a detector sees the object's class in both clips."""

    def __init__(self, label: int, source: Path, generated: Path) -> None:
        """label: a number in CLASSES. source, generated: detections.json of each clip."""
        self._label, self._paths = label, (source, generated)
        self._bounds: list[tuple[Box | None, Box | None]] = []

    def feed(self, original: Mask, generated: Mask) -> None:
        """Take G and P of a frame, (H, W) bool."""
        self._bounds.append((bounds(original), bounds(generated)))

    def as_json(self) -> dict[str, Any]:
        """Return "class", and "before" (in G) and "after" (in P).

        Of each: frames, that the detector looked at and that show the mask; seen, in how many of them it sees the
        class there; score, the mean over those, None where there is none. Raises InputError for damaged files.
        """
        before, after = (self._seen(path, which) for which, path in enumerate(self._paths))
        return {"class": CLASSES[self._label], "before": before, "after": after}

    def _seen(self, path: Path, which: int) -> dict[str, Any]:
        frames, scores = 0, []
        for sample in read_samples(path, [self._label]):
            box = self._bounds[sample.frame][which] if sample.frame < len(self._bounds) else None
            if box is not None:
                frames += 1
                scores += [each.score for each in sample.detections if each.box.iou(box) >= MEETS][:1]  # surest first
        mean = round(sum(scores) / len(scores), 3) if scores else None
        return {"frames": frames, "seen": len(scores), "score": mean}


def remark_lines(told: dict[str, Any]) -> list[str]:
    """Return what is told as sentences."""
    return [*_leftover_lines(told), *_colour_lines(told)]


def _leftover_lines(told: dict[str, Any]) -> list[str]:
    if "detector" not in told:
        return []
    found = told["detector"]
    if found is None:
        return ["Old object in the new one: not measured, as no detector looked at both clips for its class"]
    texts = []
    for which, where in (("before", "source"), ("after", "generated clip")):
        each = found[which]
        surely = f" (mean score {each['score']:.2f})" if each["seen"] else ""
        texts.append(f"in {each['seen']} of {each['frames']} frames of the {where}{surely}")
    return [f"Old object in the new one: the detector sees a {found['class']} {texts[0]}, {texts[1]}"]


def _colour_lines(told: dict[str, Any]) -> list[str]:
    colour = told.get("colour")
    if not colour:
        return []
    worst = max(colour["borders"], key=lambda each: float(each["jump"]))
    against = "not known" if colour["elsewhere"] is None else f"{colour['elsewhere']:.1f}"
    return [
        f"Colour of the object where windows meet: it jumps by {worst['jump']:.1f} at most, at frame {worst['frame']}; "
        f"the median elsewhere is {against} (CIE L*a*b*, 2.3 is just seen)"
    ]
