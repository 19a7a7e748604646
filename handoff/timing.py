"""Is a clip's frame rate constant, and which rate is it? Decided from the frames' own time stamps."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

STANDARD_RATES = tuple(
    Fraction(rate) for rate in ("24000/1001", "24", "25", "30000/1001", "30", "48", "50", "60000/1001", "60", "120")
)
_MAX_DISTINCT_STEPS = 1000


class _Grid:
    """How far the time stamps are from a grid of one rate, in frames."""

    def __init__(self, fps: Fraction, time_base: Fraction) -> None:
        self.fps = fps
        self.step = 1 / (fps * time_base)
        self.worst = Fraction(0)

    def feed(self, index: int, ticks: int) -> None:
        self.worst = max(self.worst, abs(ticks / self.step - index))


class RateMeter:
    """Feed it every frame's time stamp in order; it keeps a few numbers, however long the clip.

    time_base: seconds a tick. stated: the rates that the container states, best first.
    """

    def __init__(self, time_base: Fraction, stated: list[Fraction]) -> None:
        self.time_base = time_base
        rates = list(dict.fromkeys([*stated, *STANDARD_RATES]))
        self._grids = [_Grid(rate, time_base) for rate in rates]
        self._steps: Counter[int] = Counter()
        self._first: int | None = None
        self._last = 0
        self.frames = 0

    def feed(self, pts: int) -> None:
        """Take the next frame's time stamp, in ticks."""
        if self._first is None:
            self._first = pts
        elif pts - self._last in self._steps or len(self._steps) < _MAX_DISTINCT_STEPS:
            self._steps[pts - self._last] += 1
        self._last = pts
        for grid in self._grids:
            grid.feed(self.frames, pts - self._first)
        self.frames += 1

    def exact_rate(self) -> Fraction | None:
        """Return the rate on whose grid every frame lies to within one tick, else None."""
        for grid in self._grids:
            if grid.worst * grid.step <= 1:
                return grid.fps
        return None

    def nearly_exact_rate(self) -> Fraction | None:
        """Return a rate at which every frame is nearest to its own place on the grid, else None.

        At that rate no frame has to be repeated or dropped; only the time stamps are evened out.
        """
        best = min(self._grids, key=lambda grid: grid.worst)
        return best.fps if best.worst < Fraction(1, 2) else None

    def nominal_rate(self) -> Fraction:
        """Return the rate of the commonest step between frames, as a standard rate where one is within 2 %."""
        steps = [(count, -step) for step, count in self._steps.items() if step > 0]
        if not steps:
            return self._grids[0].fps
        rate = 1 / (-max(steps)[1] * self.time_base)
        nearest = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
        return nearest if abs(nearest - rate) <= rate / 50 else rate.limit_denominator(1001)
