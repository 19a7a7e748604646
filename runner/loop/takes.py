"""Which windows of a reskin are painted again, and which take of each is kept: decided from verdicts, nothing else.

`Takes` is the core of "paint until it passes": no files, no pictures, no clock. Ask it for the next round, paint what
the round names, composite the takes that it chose, judge the result, and feed it the frames' verdicts:

    takes = Takes(windows, most=4, seed=0)
    while (wanted := takes.proposed()) is not None:
        ...                           # paint, composite and judge what it names
        takes.feed(results)
    takes.best                        # what to keep, though nothing passed

Windows may share frames with their neighbours. Where they are faded into one another (`chained` false) each is painted
by itself. Where the later one is painted on from the earlier one's frames (`chained` true) a new take of a window makes
all later ones new too.

A tracker judges the whole clip, so a frame's verdict may hang on frames before it. So only what was judged as a whole
is ever the outcome: where good takes of several rounds are put together for the first time, that is judged in a round
without paintings. And a tracker that loses the object in one window finds it in none of the later ones, however well
they are painted: such a window waits until the frames before it pass, and is judged again first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

Span = tuple[int, int]
"""A window's frames, first and behind the last."""


@dataclass(frozen=True)
class FrameResult:
    """One frame's verdict. iou, boundary_f: 0..1. lost: it fails, and perhaps only because a frame before it did."""

    passed: bool
    iou: float
    boundary_f: float = 0.0
    lost: bool = False


@dataclass(frozen=True)
class Painting:
    """A take to be painted. window, setting: counted from 0; take: from 1. seed: of this take alone."""

    window: int
    take: int
    seed: int
    setting: int = 0


@dataclass(frozen=True)
class Round:
    """What is to be done: the paintings, none where only a new composite is judged, then the take of each window."""

    number: int
    paintings: tuple[Painting, ...]
    chosen: tuple[int, ...]


@dataclass(frozen=True)
class Joint:
    """One take of each window, and the verdict of every frame of what they make together."""

    chosen: tuple[int, ...]
    results: tuple[FrameResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every frame passed."""
        return all(each.passed for each in self.results)


Rank = tuple[int, float, float]


def rank(results: Sequence[FrameResult]) -> Rank:
    """Return how bad some frames are, to be compared with < : failing frames, then the worst IoU, then the mean F."""
    if not results:
        return 0, -1.0, -1.0
    failing = sum(not each.passed for each in results)
    return failing, -min(each.iou for each in results), -sum(each.boundary_f for each in results) / len(results)


def seed_of(seed: int, take: int) -> int:
    """Return the seed of a take: the first has the seed itself, each other one of its own, 0..2**63-1.

    A server that keeps what it has painted knows none of these for another take's.
    """
    if take == 1:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{take}".encode()).digest()[:8], "big") >> 1


@dataclass
class _Record:
    """What came of one setting: how many takes were judged, and how many of those had no failing frame."""

    judged: int = 0
    passed: int = 0

    @property
    def share(self) -> float:
        """The share that passed, as if one of two had before anything was judged."""
        return (self.passed + 1) / (self.judged + 2)


@dataclass
class Takes:
    """The rounds of one reskin.

    windows: each window's frames, in order; neighbours may share frames, no frame is in three. most: takes of a window,
    at least 1. seed: of every window's first take. settings: how many there are to vary, the given one first. chained:
    a window is painted on from the one before it, whose the frames are that both have. Raises ValueError for windows
    that do not cover the frames in order.
    """

    windows: Sequence[Span]
    most: int
    seed: int
    settings: int = 1
    chained: bool = False
    judged: list[Joint] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        pairs, ends = (
            [*zip(self.windows, self.windows[1:], strict=False)],
            [*zip(self.windows, self.windows[2:], strict=False)],
        )
        in_order = all(a < b for a, b in self.windows) and all(x[0] < y[0] <= x[1] < y[1] for x, y in pairs)
        if not (self.windows and self.windows[0][0] == 0 and in_order and all(x[1] <= z[0] for x, z in ends)):
            raise ValueError(f"windows {list(self.windows)} do not cover a clip's frames in order")
        if self.most < 1 or self.settings < 1:
            raise ValueError(f"most is {self.most} and settings {self.settings}; both are at least 1")
        before = [0, *(stop for _, stop in self.windows)]
        self._own = [(before[i] if self.chained else a, b) for i, (a, b) in enumerate(self.windows)]
        self._painted: list[list[Painting]] = [[] for _ in self.windows]
        self._records = [_Record() for _ in range(self.settings)]
        self._base = Joint((), ())  # the best take of each window, and what is known of each frame with these
        first = tuple(self._new_take(window) for window in range(len(self.windows)))
        self._waiting: Round | None = Round(1, first, (1,) * len(self.windows))

    @property
    def frames(self) -> int:
        """The clip's frames."""
        return self.windows[-1][1]

    @property
    def best(self) -> Joint | None:
        """The best of what was judged as a whole, the earliest of equals; None before the first verdict."""
        return min(self.judged, key=lambda each: rank(each.results), default=None)

    @property
    def paintings(self) -> int:
        """How many takes were asked for so far."""
        return sum(map(len, self._painted))

    def takes_of(self, window: int) -> tuple[Painting, ...]:
        """Return the takes of a window that were asked for, the first one first."""
        return tuple(self._painted[window])

    @property
    def kept(self) -> set[tuple[int, int]]:
        """Which takes, (window, take), may still be chosen: every other one is given up for good.

        Of a window that is the best, the one in the best clip so far, and the one that waits to be judged. Often they
        are one and the same.
        """
        chosen = [self._base.chosen, *(each.chosen for each in (self.best, self._waiting) if each is not None)]
        return {pair for each in chosen for pair in enumerate(each)}

    def left(self) -> list[int]:
        """Return how many takes of each window may still be painted, the waiting round's too; of one that passes 0.

        Where windows are painted on from one another, all from the first failing one on count.
        """
        failing = [window for window in range(len(self.windows)) if self._failing(self._base, window)]
        if self.chained and failing:
            failing = [*range(failing[0], len(self.windows))]
        waiting = {each.window for each in self._waiting.paintings} if self._waiting else set()
        return [
            self.most - len(painted) + (window in waiting) if window in failing else 0
            for window, painted in enumerate(self._painted)
        ]

    def proposed(self) -> Round | None:
        """Return the round that is to be done, the same until it is fed; None where all is done."""
        return self._waiting

    def feed(self, results: Sequence[FrameResult]) -> None:
        """Take the verdict of every frame of the round's composite. Raises ValueError for another number of frames."""
        if self._waiting is None:
            raise ValueError("nothing waits for a verdict")
        if len(results) != self.frames:
            raise ValueError(f"{len(results)} verdicts are not those of {self.frames} frames")
        done = self._waiting
        composite = Joint(done.chosen, tuple(results))
        self.judged.append(composite)
        for each in done.paintings:
            itself, passed = self._fails_itself(composite, each.window), not self._failing(composite, each.window)
            self._records[each.setting].judged += itself or passed  # neither: it waits for one before it
            self._records[each.setting].passed += passed
        kept = self._base if done.paintings and self._base.chosen else composite
        self._base = self._chain(kept, composite) if self.chained else self._joined(kept, composite)
        self._waiting = None if composite.passed else self._next(done.number + 1)

    def _new_take(self, window: int) -> Painting:
        """Ask for one more take of a window: a seed of its own, with the setting whose turn it is."""
        take = len(self._painted[window]) + 1
        tried = [each.setting for each in self._painted[window]]
        turn = min(range(self.settings), key=lambda each: (tried.count(each), -self._records[each].share, each))
        made = Painting(window, take, seed_of(self.seed, take), turn if take > 1 else 0)
        self._painted[window].append(made)
        return made

    def _failing(self, composite: Joint, window: int) -> bool:
        return not all(each.passed for each in self._part(composite, window))

    def _fails_itself(self, composite: Joint, window: int) -> bool:
        """Say whether a frame fails in the window that is not merely lost since a frame before the window."""
        (first, behind), results = self._own[window], composite.results
        carried = first > 0 and not results[first - 1].passed
        for each in results[first:behind]:
            if not each.passed and not (carried and each.lost):
                return True
            carried = carried and not each.passed
        return False

    def _part(self, composite: Joint, first: int, last: int | None = None) -> Sequence[FrameResult]:
        """Return the verdicts of the frames of some windows, the first to the last one."""
        return composite.results[self._own[first][0] : self._own[first if last is None else last][1]]

    def _next(self, number: int) -> Round | None:
        """Return the round after a verdict that some frame failed, None where there is none."""
        again = [window for window in range(len(self.windows)) if self._fails_itself(self._base, window)]
        if self.chained and again:
            again = [*range(again[0], len(self.windows))]  # they hang on it
        if again and all(len(self._painted[window]) < self.most for window in again):
            chosen = list(self._base.chosen)
            paintings = tuple(self._new_take(window) for window in again)
            for each in paintings:
                chosen[each.window] = each.take
            return Round(number, paintings, tuple(chosen))
        if any(each.chosen == self._base.chosen for each in self.judged):
            return None
        return Round(number, (), self._base.chosen)

    def _chain(self, kept: Joint, new: Joint) -> Joint:
        """Return the better of two chains: of the first window that is not the same, then of all from it on."""
        window = next((i for i, (old, now) in enumerate(zip(kept.chosen, new.chosen, strict=True)) if old != now), 0)
        last = len(self.windows) - 1

        def order(each: Joint) -> tuple[Rank, Rank]:
            return rank(self._part(each, window)), rank(self._part(each, window, last))

        return kept if order(kept) < order(new) else new

    def _joined(self, kept: Joint, new: Joint) -> Joint:
        """Return the better take of each window, and what is known of the frames with these takes.

        A window's frames decide, with those of its neighbours that have the same take in both: there it is the joint
        result. In frames of two windows whose takes were never joined, the worse of what is known counts.
        """
        chosen = list(kept.chosen)
        for window, (old, now) in enumerate(zip(kept.chosen, new.chosen, strict=True)):
            first, last = (self._reach(window, step, kept, new) for step in (-1, 1))
            if old != now and rank(self._part(new, first, last)) < rank(self._part(kept, first, last)):
                chosen[window] = now
        results = []
        for frame, (before, after) in enumerate(zip(kept.results, new.results, strict=True)):
            here = [window for window, (start, stop) in enumerate(self._own) if start <= frame < stop]
            if all(chosen[window] == new.chosen[window] for window in here):
                results.append(after)
            elif all(chosen[window] == kept.chosen[window] for window in here):
                results.append(before)
            else:
                results.append(max(before, after, key=lambda each: rank([each])))
        return Joint(tuple(chosen), tuple(results))

    def _reach(self, window: int, step: int, kept: Joint, new: Joint) -> int:
        """Return the neighbour on that side where it has the same take in both, else the window itself."""
        near = window + step
        there = 0 <= near < len(self.windows)
        return near if there and kept.chosen[near] == new.chosen[near] else window
