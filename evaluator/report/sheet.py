"""One picture of a sweep's contact sheet: prompts across, clips down, in each place the best take's worst frame.

Under a frame stand verdict and seed, and its worst IoU; the original object's outline is green, as in overlay.mp4. Of
each clip that one frame is decoded and scaled at once, so only the picture itself is held. The letters are the font
that matplotlib brings, as in chart.py, measured before they are drawn: nothing overlaps, what is too long is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from evaluator.report.chart import only_packaged
from evaluator.report.pictures import GREEN, Colour
from handoff.errors import InputError, MissingError
from handoff.links import confine_run_of
from handoff.masks import Mask, draw_outline
from handoff.picture.levels import frame_to_samples, read_objects
from handoff.picture.png import Samples
from handoff.video import Frame, read_frames, read_pictures

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

    from evaluator.report.contact import Page

MASK = "mask.mp4"
THUMB_PX = 320
"""The width of a frame in the picture, and its height at most."""
_EMPTY_HEIGHT = 180
_GAP, _MARGIN, _HEAD = 14, 18, 130  # px: between frames, around all, of a clip's name
_LEAST_WIDTH = 640
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 85),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),  # else a thin green line is gray
)
_DPI = 100
_BLACK, _GRAY, _WHITE, _TILE = (20, 20, 20), (110, 110, 110), (255, 255, 255), (225, 225, 225)
_PASSED, _FAILED = (165, 224, 203), (232, 121, 74)
"""The colours of takes.png: told apart without seeing red or green."""
_NO_LETTER = "□"
_MOST = 500
"""Characters of a text at most; no place has room for more."""
_PARTS = re.compile(r"[^_/-]+[_/-]*|[_/-]+")
"""What a long name is parted into before it is parted anywhere."""


def draw_page(page: Page) -> bytes:
    """Return the picture of a page as a JPEG."""
    with only_packaged():
        strips = [cv2.cvtColor(each, cv2.COLOR_RGB2BGR) for each in _strips(page)]
    done, data = cv2.imencode(".jpg", np.concatenate(strips), _JPEG)
    if not done:
        raise MissingError(f"the contact sheet of {page.name} cannot be made a JPEG; free memory.")
    return data.tobytes()


@dataclass
class _Pen:
    """Letters of one size. size: pt. A letter that the font does not have is a box."""

    size: float
    bold: bool = False

    def __post_init__(self) -> None:
        import matplotlib
        from matplotlib.ft2font import FT2Font

        name = "DejaVuSans-Bold.ttf" if self.bold else "DejaVuSans.ttf"
        self._font: FT2Font = FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/{name}")
        self._font.set_size(self.size, _DPI)
        self._known = self._font.get_charmap()
        self.line = round(self.size * _DPI / 72 * 1.4)

    def width(self, text: str) -> float:
        """Return how wide a line is, px."""
        self._font.set_text(self._drawable(text))
        return float(self._font.get_width_height()[0]) / 64

    def wrapped(self, text: str, width: int, most: int) -> list[str]:
        """Return a text as at most `most` lines of that width, px, parted between words where that is possible."""
        lines: list[str] = [""]
        for word in (text if len(text) <= _MOST else f"{text[:_MOST]}…").split():
            longer = f"{lines[-1]} {word}".strip()
            if self.width(longer) <= width:
                lines[-1] = longer
                continue
            lines += [""] if lines[-1] else []
            for part in _PARTS.findall(word):
                if self.width(lines[-1] + part) > width:
                    lines += [""] if lines[-1] else []
                for letter in part:
                    if self.width(lines[-1] + letter) > width:
                        lines.append("")
                    lines[-1] += letter
            if len(lines) > most:
                break
        if len(lines) <= most:
            return lines
        last = lines[most - 1]
        while last and self.width(f"{last}…") > width:
            last = last[:-1]
        return [*lines[: most - 1], f"{last}…"]

    def draw(self, picture: Frame, text: str, x: float, y: float, colour: Colour = _BLACK) -> None:
        """Draw a line on a picture (H, W, 3) uint8 RGB, its left upper corner at x, y."""
        font = self._font
        font.set_text(self._drawable(text))
        font.draw_glyphs_to_bitmap(antialiased=True)
        ink = np.asarray(font.get_image(), np.float32) / 255
        above = (self.line + self.size * _DPI / 72 * 0.75) / 2  # of the line on which letters stand
        top = round(y + above - ink.shape[0] + font.get_descent() / 64)
        left, top = max(0, round(x)), max(0, top)
        part = picture[top : top + ink.shape[0], left : left + ink.shape[1]]
        share = ink[: part.shape[0], : part.shape[1], None]
        part[:] = np.rint(part * (1 - share) + np.asarray(colour, np.float32) * share)

    def _drawable(self, text: str) -> str:
        shown = "".join(each for each in text if each.isprintable() or each.isspace())
        return "".join(each if ord(each) in self._known else _NO_LETTER for each in shown)


def _strips(page: Page) -> Iterator[Frame]:
    """Yield the picture from the top down, a piece for the heads and one for each clip, all of one width."""
    title, small, text, strong = _Pen(12, bold=True), _Pen(8), _Pen(9), _Pen(9, bold=True)
    columns = [_MARGIN + _HEAD + _GAP + place * (THUMB_PX + _GAP) for place in range(len(page.prompts))]
    width = max(_LEAST_WIDTH, columns[-1] + THUMB_PX + _MARGIN)
    yield _lines(title, [f"{page.name}: of each clip and prompt the best take, its worst frame"], width, _MARGIN, 4)
    yield _lines(small, _key(page), width, 2, _GAP, _GRAY)
    heads = [strong.wrapped(f"{number}. {prompt}", THUMB_PX, 4) for number, prompt in page.prompts]
    head = _blank(max(map(len, heads)) * strong.line + 6, width)
    for x, lines in zip(columns, heads, strict=True):
        for place, line in enumerate(lines):
            strong.draw(head, line, x, place * strong.line)
    yield head
    for (_, clip), cells in zip(page.clips, page.cells, strict=True):
        frames = [_frame_of(cell, text) for cell in cells]
        high = max(frame.shape[0] for frame in frames)
        strip = _blank(high + 2 * text.line + 8 + _GAP, width)
        for place, line in enumerate(strong.wrapped(clip, _HEAD, max(1, high // strong.line))):
            strong.draw(strip, line, _MARGIN, place * strong.line)
        for x, frame, cell in zip(columns, frames, cells, strict=True):
            left = x + (THUMB_PX - frame.shape[1]) // 2
            strip[high - frame.shape[0] : high, left : left + frame.shape[1]] = frame
            if cell is not None and cell["verdict"] in _SIGNS:
                _caption(strip[high : high + 2 * text.line + 8, x : x + THUMB_PX], cell, text, strong)
        yield strip
    yield _blank(_MARGIN - _GAP, width)


_WORDS = {"failed": "the job failed", "not yet": "not yet"}
_SIGNS = {"pass": (_PASSED, "✓ PASS"), "FAIL": (_FAILED, "✗ FAIL")}


def _caption(place: Frame, cell: dict[str, Any], text: _Pen, strong: _Pen) -> None:
    """Draw verdict, seed, worst IoU and its frame, and how many frames fail."""
    colour, sign = _SIGNS[cell["verdict"]]
    place[:] = colour
    said = f"{sign}, seed {cell['seed']}"
    strong.draw(place, strong.wrapped(said, THUMB_PX - 12, 1)[0], 6, 4)
    parts = []
    if cell.get("worst_iou") is not None:
        at = "" if cell.get("frame") is None else f" at frame {cell['frame']}"
        parts.append(f"worst IoU {cell['worst_iou']:.2f}{at}")
    if cell.get("failing"):
        parts.append(f"{cell['failing']} frame{'s fail' if cell['failing'] > 1 else ' fails'}")
    text.draw(place, text.wrapped(", ".join(parts), THUMB_PX - 12, 1)[0], 6, 4 + text.line)


def _key(page: Page) -> list[str]:
    said = "Green: the original object's outline. Under a frame: verdict, seed, the clip's lowest IoU and where it is."
    parts = []
    for what, shown, count in (("clips", page.clips, page.all_clips), ("prompts", page.prompts, page.all_prompts)):
        if len(shown) < count:
            parts.append(f"{what} {shown[0][0]} to {shown[-1][0]} of {count}")
    return [said, *([f"Here {' and '.join(parts)}."] if parts else [])]


def _lines(pen: _Pen, texts: Sequence[str], width: int, above: int, under: int, colour: Colour = _BLACK) -> Frame:
    """Return texts as a piece of the picture, with so many px above and under them."""
    lines = [line for each in texts for line in pen.wrapped(each, width - 2 * _MARGIN, 3)]
    piece = _blank(above + len(lines) * pen.line + under, width)
    for place, line in enumerate(lines):
        pen.draw(piece, line, _MARGIN, above + place * pen.line, colour)
    return piece


def _blank(height: int, width: int, colour: Colour = _WHITE) -> Frame:
    return np.full((height, width, 3), colour, np.uint8)


def _frame_of(cell: dict[str, Any] | None, pen: _Pen) -> Frame:
    """Return a cell's frame with the outline, at most THUMB_PX wide and high; a gray tile where there is none."""
    if cell is None or cell.get("video") is None or cell.get("frame") is None:
        verdict = "not yet" if cell is None else cell["verdict"]
        return _tile("the frame is not known" if verdict in _SIGNS else _WORDS[verdict], pen)
    try:
        return _thumbnail(Path(cell["video"]), cell["frame"])
    except InputError:
        return _tile("output.mp4 cannot be read", pen)


def _thumbnail(video: Path, index: int) -> Frame:
    confine_run_of(video)
    frame = next(read_frames(video, index, index + 1), None)
    if frame is None:
        raise InputError(f"{video} has no frame {index}.")
    height, width = frame.shape[:2]
    scale = min(THUMB_PX / width, THUMB_PX / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small: Frame = np.asarray(cv2.resize(frame, size, None, 0, 0, cv2.INTER_AREA), np.uint8)
    mask = _mask_of(video, index)
    if mask is not None and mask.shape == (height, width):
        draw_outline(small, mask, GREEN, scale=scale)
    return small


def _mask_of(video: Path, index: int) -> Mask | None:
    """Return the original object's mask of a frame, (H, W) bool; None where the run has none that can be read.

    video: RUN/reskins/NAME/output.mp4.
    """
    if len(video.parts) < 5:
        return None
    path = video.parents[2] / MASK

    def one() -> Iterator[tuple[str, Samples]]:
        for frame in read_pictures(path, index, index + 1):
            yield MASK, frame_to_samples(frame, MASK)

    try:
        return next(iter(list(read_objects(MASK, one))), None)
    except InputError:
        return None


def _tile(said: str, pen: _Pen) -> Frame:
    tile = _blank(_EMPTY_HEIGHT, THUMB_PX, _TILE)
    pen.draw(tile, said, (THUMB_PX - pen.width(said)) / 2, (_EMPTY_HEIGHT - pen.line) / 2, _GRAY)
    return tile
