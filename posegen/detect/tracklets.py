"""People over time: which detection of one frame is whom of the frame before.

Each person is expected where a constant velocity takes him (an alpha-beta filter on the box's centre and size, so a
panning camera is followed too), and held against every detection by distance, size and look; the pairing with the
least total cost wins. Somebody who is not seen goes on being expected for a while. A person who comes back later than
that is a new tracklet, and `posegen.detect.skater` says whose. Read `follow`; `assign` is the pairing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from handoff.detections.coco import PERSON
from handoff.detections.samples import Detection, Sample
from handoff.places import Box
from posegen.detect.appearance import alike, as_shares

Costs = NDArray[np.float64]

IMPOSSIBLE = 1e6
"""The cost of a pair that must not be."""


def assign(costs: Costs) -> list[tuple[int, int]]:
    """Return pairs (row, column) of costs (N, M): as many as possible, the least total; none that is IMPOSSIBLE.

    The Hungarian method with potentials (Kuhn 1955, Jonker and Volgenant 1987); a handful of people, so no more.
    """
    if costs.size == 0:
        return []
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    rows, columns = costs.shape
    owner = np.full(columns + 1, -1)  # of each column; the last one is where a search begins
    row_price, column_price = np.zeros(rows), np.zeros(columns + 1)
    for row in range(rows):
        owner[columns] = row
        column, came_from = columns, np.full(columns, columns)
        slack, done = np.full(columns, np.inf), np.zeros(columns + 1, bool)
        while owner[column] >= 0:
            done[column] = True
            here = owner[column]
            reduced = costs[here] - row_price[here] - column_price[:columns]
            better = ~done[:columns] & (reduced < slack)
            slack[better], came_from[better] = reduced[better], column
            step_to = int(np.where(done[:columns], np.inf, slack).argmin())
            step = slack[step_to]
            row_price[owner[done]] += step
            column_price[done] -= step
            slack[~done[:columns]] -= step
            column = step_to
        while column != columns:
            previous = int(came_from[column])
            owner[column] = owner[previous]
            column = previous
    pairs = [(int(row), column) for column, row in enumerate(owner[:columns]) if row >= 0]
    return sorted((row, column) for row, column in pairs if costs[row, column] < IMPOSSIBLE)


Floats = NDArray[np.float64]

BEGIN = 0.45
"""Score above which a detection begins a new tracklet; below it one can only be gone on with."""

PATIENCE_S = 0.7
"""How long somebody unseen is expected where his velocity takes him."""

_ALPHA, _BETA = 0.75, 0.4  # of the filter: how far a detection moves the place, and the velocity
_REACH = 0.45  # heights of the person: how far from the expected centre he may be, at once
_REACH_LATER = 1.2  # and how much more a second later
_GROWTH = 0.35  # the most that the logarithm of his height may differ from the expected, at once: heights change slowly
_UNLIKE = 0.45  # the most that one minus the likeness may be
_CALM = 0.1  # overlap with another person above which a look is not learned from: it may be the other's
_LEARN = 0.15


@dataclass(eq=False)
class Tracklet:
    """One person for as long as he is followed without a doubt. Boxes are (x1, y1, x2, y2) px."""

    frames: list[int] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    look: NDArray[np.float32] = field(default_factory=lambda: as_shares(b""))
    looked: int = 0
    state: Floats = field(default_factory=lambda: np.zeros(4))  # centre x, y, log width, log height
    speed: Floats = field(default_factory=lambda: np.zeros(4))  # of these, a frame

    def expected(self, frame: int) -> Floats:
        """Return where he should be: centre x, y, log width, log height."""
        ahead = np.asarray(self.state + self.speed * (frame - self.frames[-1]))
        ahead[2:] = self.state[2:]  # a size that goes on shrinking would vanish
        return ahead

    def add(self, frame: int, detection: Detection, calm: bool) -> None:
        """Go on with a detection. calm: nobody else is so near that the look may be his."""
        place = _place(detection.box)
        if self.frames:
            step = frame - self.frames[-1]
            ahead = self.state + self.speed * step
            # the first step says all that is known of the velocity
            self.speed = self.speed + (0.8 if len(self.frames) == 1 else _BETA) * (place - ahead) / step
            self.state = ahead + _ALPHA * (place - ahead)
        else:
            self.state = place
        self.frames.append(frame)
        self.boxes.append(np.array([detection.box.x1, detection.box.y1, detection.box.x2, detection.box.y2]))
        self.scores.append(detection.score)
        if detection.look and (calm or not self.looked):
            share = 1.0 if not self.looked else max(_LEARN, 1 / (self.looked + 1))
            self.look = (1 - share) * self.look + share * as_shares(detection.look)
            self.looked += calm

    def box_at(self, frame: int, bridge: float) -> Box | None:
        """Return his box on a frame, between two detections at most `bridge` frames apart interpolated; else None."""
        after = int(np.searchsorted(self.frames, frame))
        if after == len(self.frames):
            return None
        if self.frames[after] == frame:
            return Box(*(float(side) for side in self.boxes[after]))
        if after == 0 or self.frames[after] - self.frames[after - 1] > bridge:
            return None
        first, last = self.frames[after - 1], self.frames[after]
        share = (frame - first) / (last - first)
        mixed = (1 - share) * self.boxes[after - 1] + share * self.boxes[after]
        return Box(*(float(round(side, 2)) for side in mixed))


def follow(samples: Iterable[Sample], fps: Fraction, every: int = 1) -> list[Tracklet]:
    """Return everybody in the clip as tracklets, in order of their beginnings.

    samples: in order of their frames, `every` frames apart, with their looks. A few numbers a detection are kept.
    """
    patience = max(PATIENCE_S * fps, every)
    gone: list[Tracklet] = []
    here: list[Tracklet] = []
    for frame, detections in samples:
        people = [each for each in detections if each.label == PERSON]
        gone += [each for each in here if frame - each.frames[-1] > patience]
        here = [each for each in here if frame - each.frames[-1] <= patience]
        calm = _calm([each.box for each in people])
        costs = np.array([[_cost(track, frame, each, fps) for each in people] for track in here])
        pairs = assign(costs.reshape(len(here), len(people)))
        for row, column in pairs:
            here[row].add(frame, people[column], calm[column])
        taken = {column for _, column in pairs}
        for column, person in enumerate(people):
            if column not in taken and person.score > BEGIN:
                begun = Tracklet()
                begun.add(frame, person, calm[column])
                here.append(begun)
    return sorted(gone + here, key=lambda each: each.frames[0])


def _place(box: Box) -> Floats:
    width, height = max(1.0, box.width), max(1.0, box.height)
    return np.array([*box.centre, np.log(width), np.log(height)])


def _cost(track: Tracklet, frame: int, person: Detection, fps: Fraction) -> float:
    """Return how badly a detection fits, 0 to 3; IMPOSSIBLE beyond what one may differ."""
    ahead, place = track.expected(frame), _place(person.box)
    seconds = float((frame - track.frames[-1]) / fps)
    away = float(np.hypot(*(place[:2] - ahead[:2]))) / float(np.exp(max(ahead[3], place[3])))
    reach = _REACH + _REACH_LATER * seconds
    growth = abs(float(place[3] - ahead[3])) / (_GROWTH * (1 + seconds))
    unlike = (1 - alike(track.look, as_shares(person.look))) / _UNLIKE
    if away > reach or growth > 1 or unlike > 1:
        return IMPOSSIBLE
    return away / reach + growth + unlike


def _calm(boxes: list[Box]) -> list[bool]:
    """Say of each box whether it overlaps none of the others."""
    return [all(other is box or box.iou(other) < _CALM for other in boxes) for box in boxes]
