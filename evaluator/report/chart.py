"""iou.png: the figures over time, what the witnesses say of the original mask, and the worst frames.

Drawn with matplotlib, on an Agg canvas of its own: no pyplot, no window, and no more of it loaded than that. It is
imported where a chart is drawn, and nowhere else. From the bottom of the file up: `write_chart`, `draw_chart`, then the
panels.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluator.report.pictures import THUMB_HEIGHT, THUMB_WIDTH, Thumbnail
from evaluator.report.result import Result
from handoff.command import spans_of
from handoff.files import atomic_file
from handoff.masks import write_png
from handoff.video import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 1200
_DPI = 100
_LEFT, _RIGHT, _GAP, _LEGEND = 100, 20, 40, 24
_LINE, _LETTERS = 20, 150  # px a line of the title, and how many letters it has
_MAIN, _SECOND, _ROW = 300, 130, 16
_BLACK, _GRAY, _GRID, _SHADE, _SILENT = "#141414", "#6e6e6e", "#dedede", "#e4e8f0", "#eeeeee"
_IOU, _SECOND_IOU, _FLOOR, _F, _THRESHOLD, _FAIL = "#145ac8", "#28a0a0", "#eb8c1e", "#969696", "#c81e1e", "#dc0000"
_PANEL = {"not replaced": "#7850c8", "leak": "#be1e8c", "gap": "#1e823c", "clip": "#785014"}
_SMALL, _TEXT, _TITLE = 8, 9, 11

Values = Sequence[float | None]


@contextlib.contextmanager
def only_packaged() -> Iterator[None]:
    """Have matplotlib draw by its own defaults and fonts, whatever the user or the machine has set up.

    It looks for settings and writes a list of fonts, both once in a process. They are turned to a scratch folder:
    nothing is left in HOME, which may not even be there. A `matplotlibrc` in the current folder does not count.
    """
    with tempfile.TemporaryDirectory(prefix="chart-") as scratch:
        own = {"MPLCONFIGDIR": scratch, "MPL_IGNORE_SYSTEM_FONTS": "1", "MPLBACKEND": "agg"}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            import matplotlib

            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _floats(values: Values) -> NDArray[np.float64]:
    """Return values, NaN where there is none: a curve breaks there."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _panel(figure: Figure, top: int, height: int, frames: int, low: float, high: float) -> Axes:
    """Return a plot of frames 0..frames-1 across, low..high upward, in the picture's rows top..top+height."""
    whole = figure.get_figheight() * _DPI
    where = (_LEFT / WIDTH, 1 - (top + height) / whole, (WIDTH - _LEFT - _RIGHT) / WIDTH, height / whole)
    axes = figure.add_axes(where)
    axes.set_xlim(-0.5, frames - 0.5)
    axes.set_ylim(low, high)
    axes.locator_params("x", integer=True, nbins=20)
    axes.tick_params(labelsize=_SMALL, labelcolor=_GRAY, color=_GRAY)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _curve(axes: Axes, values: Values, colour: str, name: str, width: float = 1.0) -> None:
    """Draw a curve that breaks where there is no value; a value between two gaps is a dot."""
    found = _floats(values)
    if np.isnan(found).all():
        return
    axes.plot(found, color=colour, linewidth=width, label=name, zorder=3, clip_on=False)
    before, after = np.r_[np.nan, found[:-1]], np.r_[found[1:], np.nan]
    alone = np.flatnonzero(~np.isnan(found) & np.isnan(before) & np.isnan(after))
    axes.plot(alone, found[alone], ".", color=colour, markersize=2 * width, zorder=3)


def _shade(axes: Axes, absent: Sequence[bool], name: str = "") -> None:
    for first, last in spans_of(frame for frame, each in enumerate(absent) if each):
        axes.axvspan(first - 0.5, last + 0.5, color=_SHADE, linewidth=0, zorder=0, label=name)
        name = ""  # the legend names it once


def _legend(axes: Axes) -> None:
    """Write the curves' names in one row above the panel."""
    handles, names = axes.get_legend_handles_labels()
    style = {"frameon": False, "borderpad": 0.0, "borderaxespad": 0.4, "handlelength": 1.5, "columnspacing": 1.6}
    axes.legend(handles, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(names), fontsize=_TEXT, **style)


def _draw_curves(figure: Figure, result: Result, top: int) -> int:
    """Draw both panels of curves; returns the row under them."""
    scores, frames, threshold = result.scores, result.expected, result.threshold
    ious: list[Values] = [[getattr(s, name) for s in scores] for name in ("iou", "second_iou", "floor_iou")]
    lowest = min([threshold, *(value for each in ious for value in each if value is not None)])
    low = max(0.0, float(np.floor(lowest * 10 - 0.5)) / 10)
    absent = [not score.original_px for score in scores]
    axes = _panel(figure, top, _MAIN, frames, low, 1.0)
    axes.yaxis.set_ticks(np.arange(low, 1.0 + 0.01, 0.05 if low >= 0.6 else 0.1))
    axes.grid(axis="y", color=_GRID, linewidth=0.8, zorder=0)
    axes.axhline(threshold, color=_THRESHOLD, linewidth=1, dashes=(6, 6), label=f"threshold {threshold:g}", zorder=2)
    _curve(axes, [score.boundary_f for score in scores], _F, "boundary F")
    _curve(axes, ious[2], _FLOOR, "noise floor")
    _curve(axes, ious[1], _SECOND_IOU, "second judge's IoU")
    _curve(axes, ious[0], _IOU, "IoU", 2)
    failed = [score for score in scores if not score.passed]
    dots = [score.frame for score in failed], [score.iou for score in failed]
    axes.plot(*dots, "o", color=_FAIL, markersize=6, label="failing frame", zorder=4, clip_on=False)
    _shade(axes, absent, "no object in the original")
    _legend(axes)
    top += _MAIN + _GAP + _LEGEND
    shares: dict[str, Values] = {name: [getattr(score, name) for score in scores] for name in ("leak", "gap", "clip")}
    # what is not new is drawn, as all here is the better the lower
    shares["not replaced"] = [None if score.replaced is None else 1 - score.replaced for score in scores]
    highest = max([0.1, *(value for each in shares.values() for value in each if value is not None)])
    axes = _panel(figure, top, _SECOND, frames, 0.0, float(np.ceil(highest * 10)) / 10)
    axes.yaxis.set_ticks(np.linspace(0.0, axes.get_ylim()[1], 3))
    axes.grid(axis="y", color=_GRID, linewidth=0.8, zorder=0)
    for name, values in shares.items():
        _curve(axes, values, _PANEL[name], name)
    _shade(axes, absent)
    _legend(axes)
    return top + _SECOND + _GAP


def _draw_witnesses(figure: Figure, result: Result, top: int) -> int:
    """Draw the band of the witnesses; returns the row under it."""
    standing, frames = result.trust.standing, result.expected
    names = ("detector", "not on person", "tracked back", "contradicted") if standing else ("", "", "", "")
    axes = _panel(figure, top, _ROW * len(names), frames, len(names), 0.0)
    axes.tick_params("y", length=0, labelcolor=_BLACK)
    axes.yaxis.set_ticks(np.arange(len(names)) + 0.5, names)
    axes.set_facecolor(_SILENT)
    top += _ROW * len(names) + _GAP
    if standing is None:
        why = f"original mask: {result.unmeasured['original mask']}"
        axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", fontsize=_TEXT)
        return top
    values = np.full((3, frames), np.nan)
    for each in standing.frames:
        on = each.on_person if each.above_feet is None else each.above_feet  # a foot on the deck is not a fault
        values[:, each.frame] = _floats((each.box_iou, None if on is None else 1 - on, each.cycle_iou))
    across = (-0.5, frames - 0.5, 3.0, 0.0)
    axes.imshow(values, "RdYlGn", vmin=0, vmax=1, aspect="auto", interpolation="nearest", extent=across)
    axes.set_ylim(len(names), 0.0)
    for first, last in spans_of(standing.contradicted):  # a single frame of thousands is still a pixel wide
        axes.axvspan(first - 0.5, last + 0.5, 0.0, 0.25, color=_FAIL, linewidth=0.7)
    name = f"Witnesses of the original mask: {standing.word} (green agrees, red does not, gray did not speak)"
    axes.set_title(name, loc="left", fontsize=_TEXT, pad=5)
    return top


def draw_chart(result: Result, worst: Sequence[Thumbnail]) -> Frame:
    """Return the chart, (H, WIDTH, 3) uint8 RGB; at least one frame was scored."""
    title = textwrap.wrap(result.sentence, _LETTERS)
    top = 50 + _LINE * len(title)
    height = top + _MAIN + _GAP + _LEGEND + _SECOND + _GAP + _LEGEND + _ROW * 4 + _GAP
    height += THUMB_HEIGHT + 40 if worst else 0
    with only_packaged():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((WIDTH / _DPI, height / _DPI), _DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)

        def write(x: float, y: float, text: str, size: int, *, failed: bool) -> None:
            """Write a text, its left upper corner at (x, y) px."""
            where = x / WIDTH, 1 - y / height
            figure.text(*where, text, fontsize=size, color=_FAIL if failed else _BLACK, va="top", parse_math=False)

        write(14, 12, "\n".join(title), _TITLE, failed=not result.passed)
        top = _draw_curves(figure, result, top)
        top = _draw_witnesses(figure, result, top + _LEGEND)
        for index, each in enumerate(worst):
            x = 60 + index * (THUMB_WIDTH + 8)
            text = f"frame {each.score.frame}: IoU {each.score.iou:.4f} {each.score.state}"
            write(x, top, text, _TEXT, failed=not each.score.passed)
        canvas.draw()  # type: ignore[no-untyped-call]
        picture: Frame = np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    for index, each in enumerate(worst):
        x = 60 + index * (THUMB_WIDTH + 8)
        part = picture[top + 20 : top + 20 + THUMB_HEIGHT, x : x + THUMB_WIDTH]
        part[:] = each.picture[:, : part.shape[1]]
    return picture


def write_chart(path: Path, result: Result, worst: Sequence[Thumbnail]) -> None:
    """Write iou.png, atomically."""
    with atomic_file(path) as partial:
        write_png(partial, draw_chart(result, worst))
