"""takes.png: what became of every take of every window, windows across and takes down.

Green and with a tick where every frame of the window passed, red and with a cross where one failed, with a word for how
most of them did. The number is the worst IoU of the window's frames. A frame marks the takes that output.mp4 is of:
these are shown as they are in it, the others as they were in their best round.

Drawn from takes.json alone. The letters are matplotlib's, which is imported where it is needed, as in chart.py.
"""

from __future__ import annotations

import string
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from evaluator.report.attempts import Attempt, Attempts
from evaluator.report.chart import only_packaged
from handoff.command import span_text
from handoff.errors import UsageError
from handoff.files import atomic_file, sha256_path
from handoff.masks import write_png
from handoff.run import OUTPUT, RESKINS, Run
from handoff.video import Frame

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
    "gap: the object does not fill the outline; leak: it leaves it; lost: the tracker is elsewhere; old: nothing new "
    "is painted; gray: left unpainted.",
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
    rounds, paintings = len(attempts.rounds), sum(map(attempts.paintings, attempts.rounds))
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
        worst = min(iou for *_, iou in part)
        cells[window, take] = Attempt(window, take, not failing, worst, failing, kind, before.setting)
    return cells


def draw_takes(attempts: Attempts, shown: dict[str, Any]) -> Frame:
    """Return the picture, (H, W, 3) uint8 RGB. shown: the round that output.mp4 is of."""
    layout, cells = _layout_of(attempts), cells_of(attempts, shown)
    rows = layout.rows(attempts)
    width = max(_NARROWEST, _LEFT + layout.wide * len(rows[0][0]) + _RIGHT)
    title = textwrap.wrap(title_of(attempts, shown), int((width - _LEFT) / _LETTER))
    key = [
        line
        for each in (*_KEY, *_settings_key(attempts.settings))
        for line in textwrap.wrap(each, int((width - _LEFT) / _KEY_LETTER))
    ]
    top = _TOP + _LINE * len(title)
    under = top + layout.height(rows) + 16
    picture: Frame = np.full((under + _KEY_LINE * len(key) + _BOTTOM, width, 3), 255, np.uint8)
    verdict = _BAD if shown["failing"] else _BLACK
    texts = [_Text(_LEFT, _TOP, "\n".join(title), 12, verdict, {"ha": "left", "va": "top", "weight": "bold"})]
    for part, most in rows:
        top += layout.head
        texts += _heads(attempts, part, layout, top)
        for take in range(1, most + 1) if layout.texted else {1, most}:
            texts.append(_Text(_LEFT - 8, top + (take - 0.5) * layout.high, f"take {take}", 9, how={"ha": "right"}))
        for column, window in enumerate(part):
            for take in range(1, most + 1):
                corner = _LEFT + column * layout.wide, top + (take - 1) * layout.high
                attempt = cells.get((window, take))
                _draw_cell(picture, corner, layout, attempt, framed=take == shown["chosen"][window])
                texts += _words(attempt, corner, layout, len(attempts.settings)) if attempt and layout.texted else []
        top += most * layout.high
    texts.append(_Text(_LEFT, under, "\n".join(key), 8, _GRAY, {"ha": "left", "va": "top"}))
    return _lettered(picture, texts)


@dataclass(frozen=True)
class _Text:
    """A text at x, y px, its middle unless `how` says else."""

    x: float
    y: float
    text: str
    size: float
    colour: str = _BLACK
    how: dict[str, Any] = field(default_factory=dict)


def _lettered(picture: Frame, texts: list[_Text]) -> Frame:
    """Return a picture (H, W, 3) uint8 RGB with texts on it."""
    height, width = picture.shape[:2]
    with only_packaged():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure((width / _DPI, height / _DPI), _DPI)
        canvas = FigureCanvasAgg(figure)
        figure.figimage(picture)
        for each in texts:
            where, style = (each.x / width, 1 - each.y / height), {"ha": "center", "va": "center"} | each.how
            figure.text(*where, each.text, fontsize=each.size, color=each.colour, parse_math=False, **style)
        canvas.draw()  # type: ignore[no-untyped-call]
        lettered: Frame = np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
    return lettered


def _heads(attempts: Attempts, part: range, layout: _Layout, top: int) -> list[_Text]:
    """Return the windows' numbers over their columns, and their frames; where there is no room only some numbers."""
    texts = [_Text(_LEFT - 8, top - 12, "window", 9, how={"ha": "right"})]
    if layout.texted:
        texts.append(_Text(_LEFT - 8, top - 40, "frames", 8, _GRAY, {"ha": "right"}))
    for column, window in [*enumerate(part)][:: 1 if layout.texted else 10]:
        x = _LEFT + (column + 0.5) * layout.wide
        texts.append(_Text(x, top - 12, str(window), 10 if layout.texted else 8))
        if layout.texted:
            first, last = attempts.windows[window]
            texts.append(_Text(x, top - 24, span_text(first, last), 8, _GRAY, {"va": "bottom", "rotation": 90}))
    return texts


_SIGNS = {True: (_PASSED, "✓"), False: (_FAILED, "✗"), None: (_WAITING, "?")}


def _settings_key(settings: list[str]) -> list[str]:
    """Return what each setting's letter stands for; nothing where there is one setting."""
    said = [f"{_letter(place)}: {each}" for place, each in enumerate(settings)]
    return [f"Letter: the setting. {'; '.join(said)}."] if len(said) > 1 else []


def _letter(place: int) -> str:
    return string.ascii_lowercase[place] if place < len(string.ascii_lowercase) else str(place)


def _words(attempt: Attempt, corner: tuple[int, int], layout: _Layout, settings: int) -> list[_Text]:
    """Return the two lines of a cell: its sign and how it fails; the worst IoU and, of several, the setting."""
    sign = f"{_SIGNS[attempt.passed][1]} {_WORDS.get(attempt.kind, '')}".strip()
    iou = "" if attempt.worst_iou is None else f"{attempt.worst_iou:.2f}"
    iou += f" {_letter(attempt.setting)}" if settings > 1 else ""
    x = corner[0] + layout.wide / 2
    return [_Text(x, corner[1] + layout.high * share, line, 9) for line, share in ((sign, 0.32), (iou, 0.7)) if line]


def _draw_cell(
    picture: Frame, corner: tuple[int, int], layout: _Layout, attempt: Attempt | None, *, framed: bool
) -> None:
    (x, y), gap = corner, 1 if layout.texted else 0
    last = x + layout.wide - 1 - gap, y + layout.high - 1 - gap
    colour = _NONE if attempt is None else _SIGNS[attempt.passed][0]
    cv2.rectangle(picture, (x + gap, y + gap), last, _rgb(colour), cv2.FILLED)
    if not layout.texted and attempt is not None and attempt.passed is False:
        cv2.line(picture, (x + 3, y + 3), (last[0] - 3, last[1] - 3), _rgb(_BLACK))
    if framed:
        for inner in range(gap, gap + (3 if layout.texted else 2)):
            cv2.rectangle(picture, (x + inner, y + inner), (last[0] + gap - inner, last[1] + gap - inner), _rgb(_BLACK))


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


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
