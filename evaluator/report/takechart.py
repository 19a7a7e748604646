"""takes.png: what became of every take of every window, windows across and takes down.

Green and with a tick where every frame of the window passed, red and with a cross where one failed, with a word for how
most of them did. The number is the worst IoU of the window's frames. A frame marks the takes that output.mp4 is of;
these are shown as they are in it, the others as they were in the round in which fewest of their frames failed. Drawn from takes.json alone, as
chart.py draws: matplotlib is imported where it is needed.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.report.attempts import Attempt, Attempts
from evaluator.report.chart import only_packaged
from handoff.errors import UsageError
from handoff.files import atomic_file, sha256_path
from handoff.masks import write_png
from handoff.run import OUTPUT, RESKINS, Run
from handoff.video import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "takes.png"
_DPI = 100
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 16, 16
_LINE, _LETTER, _KEY_LINE, _KEY_LETTER = 22, 10.6, 16, 6.2  # px a line and a letter of the title, and below
_NARROWEST, _WIDEST, _HIGHEST = 620, 1200, 20_000  # px of the picture, of a row of cells, of all rows
_PASSED, _FAILED, _WAITING, _NONE = "#a5e0cb", "#e8794a", "#d4d4d4", "#f6f6f6"
"""Bluish green and vermilion, the one much lighter than the other: told apart without seeing red or green."""
_BLACK, _GRAY, _BAD = "#141414", "#6e6e6e", "#a3330f"
_WORDS = {"gap": "gap", "leak": "leak", "lost": "lost", "UNCHANGED": "old", "UNPAINTED": "gray"}
"""How a take fails, in a cell; what each means stands under the picture."""
_KEY = (
    "✓ every frame of the window passes, ✗ one fails, ? not judged. Number: the worst IoU of its frames. In a frame: "
    "the takes that output.mp4 is of.",
    "gap: the object does not fill the outline; leak: it leaves it; lost: the tracker is elsewhere; old: nothing new is "
    "painted; gray: left unpainted.",
)


@dataclass(frozen=True)
class _Layout:
    """How large a cell is, px, how many stand in a row, and how high the heads of the columns are.

    texted: whether there is room for words in a cell; where there is none, a stroke is the sign of a failing take.
    """

    wide: int
    high: int
    across: int
    head: int
    texted: bool

    def rows(self, attempts: Attempts) -> list[tuple[range, int]]:
        """Return the windows that stand beside one another, about as many in each row, and their most takes."""
        windows = len(attempts.windows)
        across = -(-windows // -(-windows // self.across))
        takes = [1] * windows
        for each in attempts.takes:
            takes[each.window] = max(takes[each.window], each.take)
        parts = [range(first, min(first + across, windows)) for first in range(0, windows, across)]
        return [(part, max(takes[part.start : part.stop])) for part in parts]

    def height(self, rows: list[tuple[range, int]]) -> int:
        """Return the height of all rows, px."""
        return sum(self.head + most * self.high for _, most in rows)


def _layout_of(attempts: Attempts) -> _Layout:
    wide = max(60, min(96, _WIDEST // len(attempts.windows)))
    found = _Layout(wide, 44, _WIDEST // wide, 96, texted=True)
    if found.height(found.rows(attempts)) <= _HIGHEST:
        return found
    return _Layout(12, 12, _WIDEST // 12, 40, texted=False)


def title_of(attempts: Attempts, shown: dict[str, Any]) -> str:
    """Return what stands over the picture: verdict, rounds and paintings. shown: the round that output.mp4 is of."""
    rounds, paintings = len(attempts.rounds), sum(len(each["paintings"]) for each in attempts.rounds)
    spent = f"{rounds} round{'s' * (rounds != 1)}, {paintings} painting{'s' * (paintings != 1)}"
    if not shown["failing"]:
        return f"PASS after {spent}"
    return (
        f"FAIL after {spent}: {shown['failing']} of {len(shown['results'])} frames, worst IoU "
        f"{shown['worst_iou']:.2f} at frame {shown['worst_frame']}"
    )


def cells_of(attempts: Attempts, shown: dict[str, Any]) -> dict[tuple[int, int], Attempt]:
    """Return each take by window and take; those of the round `shown` as they are in it."""
    cells = {(each.window, each.take): each for each in attempts.takes}
    for window, take in enumerate(shown["chosen"]):
        first, last = attempts.windows[window]
        part = [(first + offset, *each[:2]) for offset, each in enumerate(shown["results"][first : last + 1])]
        failing = tuple(frame for frame, passed, _ in part if not passed)
        before = cells[window, take]
        kind = before.kind if failing else ""
        cells[window, take] = Attempt(window, take, not failing, min(iou for *_, iou in part), failing, kind)
    return cells


def draw_takes(attempts: Attempts, shown: dict[str, Any]) -> Frame:
    """Return the picture, (H, W, 3) uint8 RGB. shown: the round that output.mp4 is of."""
    layout, cells = _layout_of(attempts), cells_of(attempts, shown)
    rows = layout.rows(attempts)
    width = max(_NARROWEST, _LEFT + layout.wide * len(rows[0][0]) + _RIGHT)
    title = textwrap.wrap(title_of(attempts, shown), int((width - _LEFT) / _LETTER))
    key = [line for each in _KEY for line in textwrap.wrap(each, int((width - _LEFT) / _KEY_LETTER))]
    top = _TOP + _LINE * len(title)
    under = top + layout.height(rows) + 16
    height = under + _KEY_LINE * len(key) + _BOTTOM
    with only_packaged():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((width / _DPI, height / _DPI), _DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        verdict = _BAD if shown["failing"] else _BLACK
        _write(axes, _LEFT, _TOP, "\n".join(title), 12, colour=verdict, va="top", weight="bold")
        for part, most in rows:
            top += layout.head
            _draw_heads(axes, attempts, part, layout, top)
            for take in range(1, most + 1) if layout.texted else {1, most}:
                _write(axes, _LEFT - 8, top + (take - 0.5) * layout.high, f"take {take}", 9, ha="right")
            for column, window in enumerate(part):
                for take in range(1, most + 1):
                    corner = _LEFT + column * layout.wide, top + (take - 1) * layout.high
                    _draw_cell(axes, corner, layout, cells.get((window, take)))
                    if take == shown["chosen"][window]:
                        _frame(axes, corner, layout)
            top += most * layout.high
        _write(axes, _LEFT, under, "\n".join(key), 8, colour=_GRAY, va="top")
        canvas.draw()  # type: ignore[no-untyped-call]
        picture: Frame = np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return picture


def _draw_heads(axes: Axes, attempts: Attempts, part: range, layout: _Layout, top: int) -> None:
    """Write the windows' numbers over their columns, and their frames; where there is no room only some numbers."""
    for column, window in [*enumerate(part)][:: 1 if layout.texted else 10]:
        x = _LEFT + (column + 0.5) * layout.wide
        _write(axes, x, top - 12, str(window), 10 if layout.texted else 8)
        if layout.texted:
            first, last = attempts.windows[window]
            _write(axes, x, top - 24, f"{first}-{last}", 8, colour=_GRAY, va="bottom", rotation=90)
    _write(axes, _LEFT - 8, top - 12, "window", 9, ha="right")
    if layout.texted:
        _write(axes, _LEFT - 8, top - 40, "frames", 8, colour=_GRAY, ha="right")


def _draw_cell(axes: Axes, corner: tuple[float, float], layout: _Layout, attempt: Attempt | None) -> None:
    from matplotlib.patches import Rectangle

    (x, y), wide, high = corner, layout.wide, layout.high
    colour, lines = _NONE, ["", ""]
    if attempt is not None:
        iou = "" if attempt.worst_iou is None else f"{attempt.worst_iou:.2f}"
        colour, sign = {True: (_PASSED, "✓"), False: (_FAILED, "✗"), None: (_WAITING, "?")}[attempt.passed]
        lines = [f"{sign} {_WORDS.get(attempt.kind, '')}".strip(), iou]
    gap = 1.0 if layout.texted else 0.5
    axes.add_patch(Rectangle((x + gap, y + gap), wide - 2 * gap, high - 2 * gap, facecolor=colour, linewidth=0))
    if layout.texted:
        for line, share in zip(lines, (0.32, 0.7), strict=True):
            _write(axes, x + wide / 2, y + high * share, line, 9)
    elif attempt is not None and attempt.passed is False:
        axes.plot([x + 3, x + wide - 3], [y + 3, y + high - 3], color=_BLACK, linewidth=1)


def _frame(axes: Axes, corner: tuple[float, float], layout: _Layout) -> None:
    from matplotlib.patches import Rectangle

    (x, y), edge = corner, 1.5 if layout.texted else 1.0
    size = layout.wide - 2 * edge, layout.high - 2 * edge
    axes.add_patch(Rectangle((x + edge, y + edge), *size, fill=False, edgecolor=_BLACK, linewidth=1.3 * edge))


def _write(axes: Axes, x: float, y: float, text: str, size: float, colour: str = _BLACK, **how: Any) -> None:
    if text:
        style: dict[str, Any] = {"ha": "left" if how.get("va") == "top" else "center", "va": "center"} | how
        axes.text(x, y, text, fontsize=size, color=colour, parse_math=False, **style)


def write_takes(path: Path, attempts: Attempts, shown: dict[str, Any]) -> None:
    """Write takes.png, atomically."""
    with atomic_file(path) as partial:
        write_png(partial, draw_takes(attempts, shown))


def renew_takes(folder: Path) -> None:
    """Draw takes.png in a reskin's folder, where a round of its takes.json has judged what output.mp4 is now.

    Raises UsageError where the folder is no reskin's, InputError for a takes.json that cannot be one, BusyError where
    another process is at work there, StorageError.
    """
    run = Run.containing(folder / OUTPUT)
    if run is None or run.relative(folder) != f"{RESKINS}/{folder.name}":
        raise UsageError(f"{folder} is not a reskin's folder in its run; name one: data/runs/RUN/reskins/NAME.")
    with run.reskin(folder.name).lock():
        found = Attempts.beside(folder / OUTPUT, sha256_path)
        if found:
            write_takes(folder / NAME, *found)
