"""doubt.png: the frames in which the mask is contradicted most, with the mask and the witnesses drawn on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from handoff.files import atomic_file
from handoff.masks import Mask, bounds, draw_outline, read_masks, write_png
from handoff.places import Box
from handoff.run import Run
from handoff.video import Frame, read_frames
from tracker.witness.body import PERSON_VIDEO
from tracker.witness.detector import Sighting
from tracker.witness.ruling import FrameWitness, Standing, Witnesses, figures_of

DOUBT = "doubt.png"
MOST = 8
_COLUMNS = 2
_WIDTH, _HEIGHT, _BAR = 640, 360, 28  # px of a picture, and of the line above it
_AROUND = 0.5  # of the longer side: what is shown around mask and detection
_GREEN, _RED, _BLUE, _WHITE = (0, 255, 0), (255, 60, 60), (80, 140, 255), (255, 255, 255)
_LEGEND = "green: the mask   red: where the detector sees the object   blue: the skater"


def worst_frames(standing: Standing, most: int = MOST) -> list[FrameWitness]:
    """Return at most so many contradicted frames, ascending: the worst of each part of them, so that all is shown."""
    contradicted = [each for each in standing.frames if each.says == "against"]
    parts = np.array_split(np.arange(len(contradicted)), min(most, len(contradicted)) or 1)
    return [max((contradicted[at] for at in part), key=_badness) for part in parts if len(part)]


def _badness(found: FrameWitness) -> float:
    return max(
        0.0 if found.box_iou is None else 1 - found.box_iou,
        float(bool(found.seen_where_empty)),
        found.on_person or 0.0,
        0.0 if found.cycle_iou is None else 1 - found.cycle_iou,
    )


def write_doubt(run: Run, masks: Path, standing: Standing, witnesses: Witnesses) -> Path | None:
    """Write doubt.png of a run's contradicted frames and return its path; remove it and return None without any.

    masks: the mask sequence that `standing` is of. The clip is read up to the last of the frames.
    """
    path = run.path(DOUBT)
    worst = {each.frame: each for each in worst_frames(standing)}
    if not worst:
        path.unlink(missing_ok=True)
        return None
    tiles = []
    for index, (frame, mask, body) in enumerate(
        zip(read_frames(run.source), read_masks(masks), _bodies(run), strict=False)
    ):
        if index in worst:
            tiles.append(_tile(frame, mask, body, witnesses.sighting(index), f"{index}: {figures_of(worst[index])}"))
        if len(tiles) == len(worst):
            break
    with atomic_file(path) as partial:
        write_png(partial, _sheet(tiles))
    return path


def _bodies(run: Run) -> Iterator[Mask | None]:
    path = run.path(PERSON_VIDEO)
    if path.exists():
        yield from read_masks(path)
    while True:
        yield None


def _tile(frame: Frame, mask: Mask, body: Mask | None, sighting: Sighting | None, caption: str) -> Frame:
    """Return the part of a frame around mask and detection, with both drawn, and a line above it."""
    picture = frame.copy()
    thick = max(1, round(frame.shape[1] / 640))
    for outline, colour in ((body, _BLUE), (mask, _GREEN)):
        if outline is not None:
            draw_outline(picture, outline, colour, thick=thick)
    boxes = [each for each in (bounds(mask), sighting.box if sighting else None) if each is not None]
    if sighting is not None:
        x1, y1, x2, y2 = sighting.box.rounded_out()
        cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), _RED, thick)
    x1, y1, x2, y2 = _view(boxes, frame.shape[1], frame.shape[0])
    tile = np.zeros((_BAR + _HEIGHT, _WIDTH, 3), np.uint8)
    scale = min(_WIDTH / (x2 - x1), _HEIGHT / (y2 - y1))
    size = max(1, min(_WIDTH, round((x2 - x1) * scale))), max(1, min(_HEIGHT, round((y2 - y1) * scale)))
    tile[_BAR : _BAR + size[1], : size[0]] = cv2.resize(picture[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA)
    _write(tile, caption)
    return tile


def _view(boxes: Sequence[Box], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of a frame that shows boxes and what is around them, in a picture's own proportions."""
    if not boxes:
        return 0, 0, width, height
    around = Box(
        min(each.x1 for each in boxes),
        min(each.y1 for each in boxes),
        max(each.x2 for each in boxes),
        max(each.y2 for each in boxes),
    )
    around = around.grown(_AROUND * around.longer_side)
    (x, y), across = around.centre, max(around.width, around.height * _WIDTH / _HEIGHT, width / 4)
    view = Box(x - across / 2, y - across * _HEIGHT / _WIDTH / 2, x + across / 2, y + across * _HEIGHT / _WIDTH / 2)
    return (view.clipped(width, height) or Box(0, 0, width, height)).rounded_out()


def _sheet(tiles: Sequence[Frame]) -> Frame:
    """Return tiles in rows, under a line that says what the colours are."""
    empty = np.zeros_like(tiles[0])
    full = [*tiles, *[empty] * (-len(tiles) % _COLUMNS)]
    rows = [np.hstack(full[at : at + _COLUMNS]) for at in range(0, len(full), _COLUMNS)]
    head = np.zeros((_BAR, rows[0].shape[1], 3), np.uint8)
    _write(head, _LEGEND)
    return np.vstack([head, *rows])


def _write(picture: Frame, text: str) -> None:
    cv2.putText(picture, text, (6, _BAR - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _WHITE, 1, cv2.LINE_AA)
