"""Measure how many paintings it takes until a clip passes, window by window, against painting the whole clip anew.

    make bench-loop

A painter keeps the outline in a window with the chance p. Painting the whole clip anew until all W pass at once
takes W / p^W paintings on average; `runner.loop.takes.Takes` paints again only what failed. Both are simulated with
the same chances, the loop through the very object that the product uses. The last line is one JSON object:
    p, windows         of the ratio
    simulated_ratio    paintings of the whole-clip way over ours, both simulated
    ours               our paintings a window; 1/p is the least that can be
Above it stands a table for W = 1 to 60. Where the whole-clip way is beyond simulating, its average is calculated.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable

from runner.loop.takes import FrameResult, Takes

P, WINDOWS, LENGTH = 0.5, 6, 4
CLIPS = 400
MOST = 1000
"""Takes of a window at most: as good as no limit."""
SIMULATED = 2000.0
"""Paintings up to which the whole-clip way is simulated and not calculated."""
_GOOD, _BAD = FrameResult(True, 0.95, 0.95), FrameResult(False, 0.6, 0.6)

Chance = Callable[[], bool]


def ours(windows: int, good: Chance) -> int:
    """Return how many paintings the loop asks for until all windows pass."""
    takes = Takes([(index * LENGTH, (index + 1) * LENGTH) for index in range(windows)], MOST, 0)
    verdicts: dict[tuple[int, int], bool] = {}
    while (wanted := takes.proposed()) is not None:
        for each in wanted.paintings:
            verdicts[each.window, each.take] = good()
        passed = [verdicts[pair] for pair in enumerate(wanted.chosen)]
        takes.feed([_GOOD if each else _BAD for each in passed for _ in range(LENGTH)])
    return takes.paintings


def whole_clips(windows: int, good: Chance) -> int:
    """Return how many paintings it takes where the whole clip is painted anew until all windows pass at once."""
    clips = 1
    while not all([good() for _ in range(windows)]):
        clips += 1
    return clips * windows


def averages(windows: int, p: float, clips: int = CLIPS) -> tuple[float, float]:
    """Return the average paintings of the loop and of the whole-clip way."""
    numbers = random.Random(f"{windows}/{p}")

    def good() -> bool:
        return numbers.random() < p

    mine = sum(ours(windows, good) for _ in range(clips)) / clips
    whole = windows / p**windows
    if whole < SIMULATED:
        whole = sum(whole_clips(windows, good) for _ in range(clips)) / clips
    return mine, whole


def main() -> None:
    print("   W      p   ours   whole clips    ratio")
    for p in (0.5, 0.8):
        for windows in (1, 2, 3, 6, 10, 20, 40, 60):
            mine, whole = averages(windows, p, CLIPS if windows < 20 else CLIPS // 10)
            print(f"{windows:4d}  {p:5.2f}  {mine:5.1f}  {whole:12.5g}  {whole / mine:7.4g}")
    mine, whole = averages(WINDOWS, P)
    print(json.dumps({"p": P, "windows": WINDOWS, "simulated_ratio": round(whole / mine, 2), "ours": mine / WINDOWS}))


if __name__ == "__main__":
    sys.exit(main())
