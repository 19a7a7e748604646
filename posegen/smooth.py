"""Smooth the keypoints of a clip over time, as a stream: each keypoint by itself, never across a gap.

A gap is a frame where the keypoint was not seen (score at most KPT_THR), where nobody was found, or where the person
is another one. Scores, boxes and masks are left as they are. Figures behind the method: docs/measurements.md.
Read `smooth`, then `link` (who is whom of the frame before), then the filter: `savgol_kernels` is its table.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handoff.errors import UsageError
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person
from posegen.backend import FramePose
from posegen.choice import METHODS
from posegen.keypoints import KPT_THR

Floats = NDArray[np.float64]

WINDOW = 7
"""Frames that a Savitzky-Golay fit takes in, odd."""

ORDER = 2
"""Degree of the fitted polynomial."""

REACH = WINDOW - 1
"""How many frames before and after a frame can have a part in its value: near the end of a stretch the last WINDOW
frames are fitted, so its first of them reaches that far."""


LONGEST_STEP = 0.5
"""The same person's box has moved by less than this share of its longer side between two frames: half a body's height
in a 24th of a second would be 20 m/s."""


def smooth(poses: Iterable[FramePose], method: str) -> Iterator[FramePose]:
    """Yield every frame's people with smoothed keypoints, as many frames as come in and in their order.

    method: one of posegen.choice.METHODS. "savgol" fits a polynomial of degree ORDER to WINDOW frames and runs REACH
    frames behind; a person gets `raw`, the places before. "none" changes nothing. Keypoints that are no finite numbers
    become not seen, whatever the method. Memory does not grow with the clip. Raises UsageError for another method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no smoothing '{method}'; choose one of: {', '.join(METHODS)}.")
    moments = _moments(poses)
    return _savgol(moments) if method == "savgol" else (moment.pose for moment in moments)


def parameters(method: str) -> dict[str, Any]:
    """Return the method and what it works with, for pose.json and run.json."""
    if method == "savgol":
        return {"method": method, "window": WINDOW, "order": ORDER}
    return {"method": method}


def clean(person: Person) -> Person:
    """Return the person with a keypoint whose place or score is no finite number as not seen: score 0, at (0, 0)."""
    finite = np.isfinite(person.scores) & np.isfinite(person.keypoints).all(axis=1)
    if finite.all():
        return person
    keypoints = np.where(finite[:, None], person.keypoints, 0).astype(np.float32)
    return replace(person, keypoints=keypoints, scores=np.where(finite, person.scores, 0).astype(np.float32))


def _step(before: Box, now: Box) -> float:
    """Return how far the box's middle moved, as a share of the longer side of the larger box."""
    dx = (now.x1 + now.x2 - before.x1 - before.x2) / 2
    dy = (now.y1 + now.y2 - before.y1 - before.y2) / 2
    side = max(before.longer_side, now.longer_side)
    return math.hypot(dx, dy) / side if side > 0 else math.inf


def link(before: Sequence[Person], now: Sequence[Person]) -> list[int | None]:
    """Return, for each person now, which one of the frame before it is; None for somebody new. Nearest first."""
    steps = sorted(
        (_step(earlier.box, later.box), index, place)
        for place, earlier in enumerate(before)
        for index, later in enumerate(now)
    )
    links: list[int | None] = [None] * len(now)
    for step, index, place in steps:
        if step < LONGEST_STEP and links[index] is None and place not in links:
            links[index] = place
    return links


@dataclass
class _Moment:
    """One frame on its way through: what was found, and for each person which one it was in the frame before."""

    pose: FramePose
    links: list[int | None]


def _moments(poses: Iterable[FramePose]) -> Iterator[_Moment]:
    before: list[Person] = []
    for pose in poses:
        people = [clean(person) for person in pose.people]
        yield _Moment(replace(pose, people=people), link(before, people))
        before = people


def _neighbours(window: Sequence[_Moment | None], index: int) -> dict[int, Person]:
    """Return person `index` of the window's middle frame, by distance in frames, as far as the links reach."""
    middle = window[REACH]
    if middle is None:
        return {}
    found = {0: middle.pose.people[index]}
    place: int | None = index
    for distance in range(REACH):
        moment, earlier = window[REACH - distance], window[REACH - distance - 1]
        place = None if moment is None or place is None else moment.links[place]
        if place is None or earlier is None:
            break
        found[-distance - 1] = earlier.pose.people[place]
    place = index
    for distance in range(1, REACH + 1):
        later = window[REACH + distance]
        if later is None or place not in later.links:
            break
        place = later.links.index(place)
        found[distance] = later.pose.people[place]
    return found


def _fitted(people: dict[int, Person]) -> Person:
    """Return the person at distance 0 with its seen keypoints fitted to the frames around it, and the places before."""
    points = np.zeros((2 * REACH + 1, N_KEYPOINTS, 2))
    seen = np.zeros((2 * REACH + 1, N_KEYPOINTS), np.bool_)
    for distance, person in people.items():
        points[REACH + distance] = person.keypoints
        seen[REACH + distance] = person.scores > KPT_THR
    before = np.logical_and.accumulate(seen[:REACH][::-1]).sum(axis=0)
    after = np.logical_and.accumulate(seen[REACH + 1 :]).sum(axis=0)
    fitted = np.einsum("kt,tkd->kd", _KERNELS[before, after], points)
    person = people[0]
    keypoints = np.where(person.scores[:, None] > KPT_THR, fitted, person.keypoints).astype(np.float32)
    return replace(person, keypoints=keypoints, raw=person.keypoints)


def _savgol(moments: Iterable[_Moment]) -> Iterator[FramePose]:
    window: deque[_Moment | None] = deque([None] * (2 * REACH + 1), maxlen=2 * REACH + 1)

    def middle() -> Iterator[FramePose]:
        moment = window[REACH]
        if moment is not None:
            people = [_fitted(_neighbours(window, index)) for index in range(len(moment.pose.people))]
            yield replace(moment.pose, people=people)
            # frames that have been handed on are still needed for their keypoints, never for their masks
            moment.pose = replace(moment.pose, person_mask=None)

    for moment in moments:
        window.append(moment)
        yield from middle()
    for _ in range(REACH):
        window.append(None)
        yield from middle()


def _window(length: int) -> int:
    """Return the window for a stretch of `length` frames: the longest odd one that fits, 1 where none smooths."""
    window = min(WINDOW, length - (length + 1) % 2)
    return window if window > ORDER + 1 else 1  # through ORDER + 1 points the polynomial goes exactly


def _fit(window: int) -> Floats:
    """Return (window, window): row p holds the weights that give a least-squares polynomial's value at point p.

    The middle row is Savitzky and Golay's filter (Analytical Chemistry 36, 1964); the other rows are its edges.
    """
    powers = np.vander(np.arange(window) - window // 2, min(ORDER, window - 1) + 1).astype(np.float64)
    return np.asarray(powers @ np.linalg.pinv(powers), np.float64)


def savgol_kernels() -> Floats:
    """Return (REACH + 1, REACH + 1, 2 * REACH + 1): the weights for a frame with `before`, `after` neighbours.

    kernels[before, after] belongs to a frame that has that many seen frames without a gap on either side (counted up
    to REACH); its entry REACH + d weighs the frame at distance d. Inside a stretch that is the symmetric filter; within
    half a window of its ends the value of the polynomial through the first or last WINDOW frames.
    """
    kernels = np.zeros((REACH + 1, REACH + 1, 2 * REACH + 1))
    for before in range(REACH + 1):
        for after in range(REACH + 1):
            window = _window(before + 1 + after)
            half = window // 2
            place = before if before < half else window - 1 - after if after < half else half
            start = REACH - place
            kernels[before, after, start : start + window] = _fit(window)[place]
    return kernels


_KERNELS = savgol_kernels()
