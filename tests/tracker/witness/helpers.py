"""A run of a plain clip with detections, a skater and a mask that a test makes up, and what the witnesses say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.detections.coco import CLASSES
from handoff.detections.samples import Detection, DetectionWriter, Header, Sample
from handoff.ingest import ingest
from handoff.masks import MaskSequenceWriter
from handoff.places import Box, Prompt, write_prompt
from handoff.poses import N_KEYPOINTS, Person
from handoff.run import Run
from tests.helpers import vouch_for, write_clip
from tracker.witness.ruling import Standing, Witnesses

Mask = NDArray[np.bool_]
WIDTH, HEIGHT, FRAMES = 320, 240, 90
BOARD = CLASSES.index("skateboard")


def board_box(frame: int) -> Box:
    """A board, 80 x 24 px, that rolls to the right by 2 px a frame."""
    return Box(40 + 2 * frame, 150, 120 + 2 * frame, 174)


def filled(box: Box | None) -> Mask:
    """The mask of a box; an empty one for None."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if box is not None:
        x1, y1, x2, y2 = box.rounded_out()
        mask[max(0, y1) : max(0, y2), max(0, x1) : max(0, x2)] = True
    return mask


def board(frame: int) -> Mask:
    return filled(board_box(frame))


def moved(box: Box, dx: float, dy: float) -> Box:
    return Box(box.x1 + dx, box.y1 + dy, box.x2 + dx, box.y2 + dy)


def legs(frame: int) -> Mask:
    """The skater's two legs, each 20 px wide, that stand on the board."""
    x = 2 * frame
    return filled(Box(60 + x, 60, 80 + x, 160)) | filled(Box(90 + x, 60, 110 + x, 160))


def skater(frame: int) -> list[Person]:
    """Who the legs are of."""
    keypoints, scores = np.zeros((N_KEYPOINTS, 2), np.float32), np.zeros(N_KEYPOINTS, np.float32)
    for x, chain in ((70, (5, 11, 13, 15, 17, 19)), (100, (6, 12, 14, 16, 20, 22))):
        for index, y in zip(chain, (20, 60, 105, 148, 154, 154), strict=True):
            keypoints[index], scores[index] = (x + 2 * frame, y), 0.9
    return [Person(Box(50 + 2 * frame, 10, 120 + 2 * frame, 160), keypoints, scores)]


def seen(boxes: Iterable[Box | tuple[Box, float]], label: int = BOARD) -> list[Detection]:
    """Detections of boxes, each with its score, else 0.8."""
    pairs = (each if isinstance(each, tuple) else (each, 0.8) for each in boxes)
    return [Detection(label, score, box) for box, score in pairs]


def make_run(folder: Path, prompt: Prompt | None = None) -> Run:
    """A run of FRAMES gray frames at 30 frames/s; the prompt is the board's own box on frame 4, unless another is."""
    folder.mkdir(exist_ok=True)
    picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    run = ingest(write_clip(folder / "clip.mp4", [picture] * FRAMES, fps=Fraction(30)), folder / "run")
    with run.lock():
        write_prompt(run, "object", prompt or Prompt(board_box(4), 4, "flag"))
    return run


def write_detections(run: Run, found: Callable[[int], Sequence[Detection]], every: int = 2) -> None:
    info = run.info
    header = Header("yolox-nano", "0" * 64, 0.1, every, info.width, info.height, "30/1", info.frames)
    path = run.path("detections.json")
    with DetectionWriter(path, header) as writer:
        for frame in range(info.frames):
            if frame % every == 0 or frame == info.frames - 1:
                writer.write(Sample(frame, list(found(frame))))
    vouch_for(path)


def write_person(run: Run, where: Callable[[int], Mask], folder: Path) -> None:
    info, path = run.info, run.path("person_mask.mp4")
    with MaskSequenceWriter(path, folder / "person", info.fps, info.width, info.height) as writer:
        for frame in range(info.frames):
            writer.write(where(frame))
    vouch_for(path)


def hear(run: Run, mask: Callable[[int], Mask], cycle: Mapping[int, float] | None = None) -> Standing:
    """What the witnesses of a run say of a mask."""
    witnesses = Witnesses(Run.open(run.dir), run.info, cycle)
    for frame in range(run.info.frames):
        witnesses.feed(frame, mask(frame))
    return witnesses.conclude()
