"""The two filters of posegen.smooth as pure numpy: Savitzky-Golay as a table of kernels, one-euro as one step.

Smooth the keypoints of a clip over time, as a stream: each keypoint by itself, never across a gap.

A gap is a frame where the keypoint was not seen (score at most KPT_THR), where nobody was found, or where the person
is another one. Scores, boxes and masks are left as they are. Figures behind the default: docs/how-it-works/pose.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handoff.box import Box
from handoff.errors import UsageError
from handoff.poses import N_KEYPOINTS, Person
from posegen.extractor import FramePose
from posegen.keypoints import KPT_THR

Floats = NDArray[np.float64]

WINDOW = 7
"""Frames that a Savitzky-Golay fit takes in, odd."""

ORDER = 2
"""Degree of the fitted polynomial."""

REACH = WINDOW - 1
"""How many frames before and after a frame can have a part in its value: near the end of a stretch the last WINDOW
frames are fitted, so its first of them reaches that far."""

MIN_CUTOFF_HZ = 1.0
"""One-euro: how low frequencies may be cut at standstill; lower is calmer, and later."""

BETA = 0.05
"""One-euro: how much the cutoff rises with speed, Hz per px/s; higher follows fast movement more closely."""

D_CUTOFF_HZ = 1.0
"""One-euro: the cutoff for the speed itself, the paper's own value."""


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


@dataclass(frozen=True)
class EuroState:
    """What the one-euro filter knows after a frame: points (N, 2) px filtered, speeds (N, 2) px/s filtered, seen (N,).

    Where `seen` is false, the point is as it came and its speed is 0.
    """

    points: Floats
    speeds: Floats
    seen: NDArray[np.bool_]


def _alpha(cutoff_hz: Floats | float, rate_hz: float) -> Floats:
    """Return the weight of a new value in exponential smoothing with this cutoff at this rate."""
    tau = 1 / (2 * math.pi * np.asarray(cutoff_hz, np.float64))
    return np.asarray(1 / (1 + tau * rate_hz), np.float64)


def one_euro(points: Floats, seen: NDArray[np.bool_], before: EuroState | None, rate_hz: float) -> EuroState:
    """Return the state after points (N, 2) px of which `seen` (N,) are there; before: of the frame before, or None.

    Casiez, Roussel and Vogel, "1 euro filter", CHI 2012, algorithm 1, for each coordinate: the speed is the difference
    to the last filtered value. A point that was not seen in the frame before starts anew.
    """
    if before is None:
        return EuroState(points, np.zeros_like(points), seen)
    going_on = (seen & before.seen)[:, None]
    change = (points - before.points) * rate_hz
    part = _alpha(D_CUTOFF_HZ, rate_hz)
    speeds = np.where(going_on, part * change + (1 - part) * before.speeds, 0.0)
    weight = _alpha(MIN_CUTOFF_HZ + BETA * np.abs(speeds), rate_hz)
    filtered = np.where(going_on, weight * points + (1 - weight) * before.points, points)
    return EuroState(filtered, speeds, seen)


METHODS = ("savgol", "one-euro", "none")
"""The first is the default."""

LONGEST_STEP = 0.5
"""The same person's box has moved by less than this share of its longer side between two frames: half a body's height
in a 24th of a second would be 20 m/s."""

_KERNELS = savgol_kernels()


def parameters(method: str) -> dict[str, Any]:
    """Return the method and what it works with, for pose.json and run.json."""
    if method == "savgol":
        return {"method": method, "window": WINDOW, "order": ORDER}
    if method == "one-euro":
        return {"method": method, "min_cutoff_hz": MIN_CUTOFF_HZ, "beta": BETA, "d_cutoff_hz": D_CUTOFF_HZ}
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
    """Return the person at distance 0 with its places fitted to those of the frames around it."""
    points = np.zeros((2 * REACH + 1, N_KEYPOINTS, 2))
    seen = np.zeros((2 * REACH + 1, N_KEYPOINTS), np.bool_)
    for distance, person in people.items():
        points[REACH + distance] = person.keypoints
        seen[REACH + distance] = person.scores > KPT_THR
    before = np.logical_and.accumulate(seen[:REACH][::-1]).sum(axis=0)
    after = np.logical_and.accumulate(seen[REACH + 1 :]).sum(axis=0)
    fitted = np.einsum("kt,tkd->kd", _KERNELS[before, after], points)
    person = people[0]
    return _smoothed(person, fitted)


def _smoothed(person: Person, points: Floats) -> Person:
    """Return the person with the seen keypoints at new places, and the old places beside them."""
    seen = person.scores[:, None] > KPT_THR
    keypoints = np.where(seen, points, person.keypoints).astype(np.float32)
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


def _one_euro(moments: Iterable[_Moment], rate_hz: float) -> Iterator[FramePose]:
    states: list[EuroState] = []
    for moment in moments:
        before = [None if place is None else states[place] for place in moment.links]
        states = [
            one_euro(person.keypoints.astype(np.float64), person.scores > KPT_THR, state, rate_hz)
            for person, state in zip(moment.pose.people, before, strict=True)
        ]
        people = [_smoothed(*each) for each in zip(moment.pose.people, [s.points for s in states], strict=True)]
        yield replace(moment.pose, people=people)


def smooth(poses: Iterable[FramePose], method: str, fps: Fraction | float) -> Iterator[FramePose]:
    """Yield every frame's people with smoothed keypoints, as many frames as come in and in their order.

    method: one of METHODS. "savgol" fits a polynomial of degree 2 to 7 frames and runs REACH frames behind; "one-euro"
    needs no later frame and lags behind fast movement; "none" changes nothing. fps: the clip's, frames/s. With either
    filter a person gets `raw`, the places before. Keypoints that are no finite numbers become not seen, whatever the
    method. Memory does not grow with the clip. Raises UsageError for another method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no smoothing '{method}'; choose one of: {', '.join(METHODS)}.")
    moments = _moments(poses)
    if method == "savgol":
        return _savgol(moments)
    if method == "one-euro":
        return _one_euro(moments, float(fps))
    return (moment.pose for moment in moments)
