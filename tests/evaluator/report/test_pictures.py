"""overlay.mp4, and which frames iou.png shows as the worst."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from evaluator.gate import FrameScore
from evaluator.report.pictures import THUMB_HEIGHT, THUMB_WIDTH, WorstFrames, thumbnail_of
from handoff.masks import Mask
from handoff.run import Run
from handoff.video import probe, read_frames
from tests.evaluator.helpers import FRAMES

Command = Callable[..., Result]


def test_both_outlines_are_drawn_on_both_halves_of_the_overlay(gate: Command, report: Path, run: Run) -> None:
    gate()
    source, output = (next(read_frames(path)) for path in (run.source, run.path("reskins/drone/output.mp4")))
    picture = next(read_frames(report / "overlay.mp4")).astype(int)
    for half, plain in ((picture[28:, :160], source), (picture[28:, 160:], output)):
        white = (half.min(axis=2) > 200) & (plain.min(axis=2) < 150)
        assert np.count_nonzero(white) > 50


def test_outside_a_run_the_overlay_shows_the_output_once(gate: Command, report: Path, run: Run) -> None:
    run.path("run.json").unlink()
    gate()
    info = probe(report / "overlay.mp4")
    assert (info.frames, info.width, info.height) == (FRAMES, 160, 120 + 28)
    picture = next(read_frames(report / "overlay.mp4"))[28:].astype(int)
    plain = next(read_frames(run.path("reskins/drone/output.mp4"))).astype(int)
    drawn = np.abs(picture - plain).max(axis=2) > 60
    assert 50 < np.count_nonzero(drawn) < 800


@pytest.fixture
def square() -> Mask:
    mask = np.zeros((90, 160), bool)
    mask[40:50, 70:90] = True
    return mask


def test_the_worst_frames_are_the_lowest_of_their_surroundings_four_at_most_in_the_clips_order(square: Mask) -> None:
    """12 is worse than its neighbour 10, and 30 than 33; 38 is one too many; 25 is like the rest."""
    low = {0: 0.6, 10: 0.2, 12: 0.1, 20: 0.5, 30: 0.3, 33: 0.35, 38: 0.7}
    worst, empty = WorstFrames(), np.zeros_like(square)
    picture = np.zeros((*square.shape, 3), np.uint8)
    for frame in range(40):
        worst.offer(picture, square, square, FrameScore(frame, low.get(frame, 0.95), 1.0, True, 200, 200))
    worst.offer(picture, empty, empty, FrameScore(40, 0.0, 1.0, True, 0, 0))
    assert [(each.score.frame, each.score.iou) for each in worst.thumbnails] == [
        (0, 0.6),
        (12, 0.1),
        (20, 0.5),
        (30, 0.3),
    ]


def test_a_frame_that_fails_by_something_else_is_worse_than_one_with_a_lower_iou(square: Mask) -> None:
    worst, picture = WorstFrames(), np.zeros((*square.shape, 3), np.uint8)
    for frame in range(60):
        iou = 0.91 if frame % 10 == 0 else 0.95
        worst.offer(picture, square, square, FrameScore(frame, iou, 1.0, frame not in (33, 34), 200, 200))
    assert 33 in [each.score.frame for each in worst.thumbnails]


def test_a_thumbnail_is_the_surroundings_of_both_outlines(square: Mask) -> None:
    picture = np.full((90, 160, 3), 50, np.uint8)
    picture[:, :20] = picture[:, 140:] = (255, 0, 0)
    found = thumbnail_of(picture, square, np.roll(square, 3, axis=1))
    assert found.shape == (THUMB_HEIGHT, THUMB_WIDTH, 3) and not (found == (255, 0, 0)).all(axis=2).any()
    assert (found == (0, 255, 0)).all(axis=2).any() and (found == (255, 255, 255)).all(axis=2).any()
