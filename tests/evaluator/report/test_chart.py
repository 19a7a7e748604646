"""iou.png, pixel by pixel where it must say something."""

from __future__ import annotations

import numpy as np
import pytest

from evaluator.gate import FrameScore
from evaluator.report.chart import draw_chart
from evaluator.report.pictures import THUMB_HEIGHT, THUMB_WIDTH, Thumbnail
from evaluator.report.result import Result
from handoff.video import Frame

FRAMES, ABSENT = 20, range(5, 10)
LEFT, STEP_PX = 60, (1200 - 60 - 20) / FRAMES


THRESHOLD, FLOOR, IOU, SHADE, FAIL = (200, 30, 30), (235, 140, 30), (20, 90, 200), (228, 232, 240), (220, 0, 0)


def result_of(floor: float | None, ious: dict[int, float] | None = None) -> Result:
    """Twenty frames with IoU 0.95, of which five show no object."""
    scores = []
    for frame in range(FRAMES):
        iou = (ious or {}).get(frame, 0.95)
        area = 0 if frame in ABSENT else 100
        scores.append(FrameScore(frame, iou, 0.99, iou > 0.9, area, area, floor_iou=floor))
    return Result(scores, 0.9, FRAMES, {"original": "a", "generated": "b"})


def row(value: float) -> int:
    """The row of a value in the upper panel, which is 300 px high, from 0.80 at the bottom to 1.00 at row 70."""
    return round(70 + 300 * (1 - (value - 0.8) / 0.2))


def columns(picture: Frame, y: int, colour: tuple[int, int, int]) -> list[int]:
    """Where that colour is in a row, or nearly: smooth lines are mixed with what lies under them."""
    return [int(x) for x in np.flatnonzero((np.abs(picture[y].astype(int) - colour) < 25).all(axis=1))]


def test_the_threshold_is_a_dashed_line_across_the_panel_at_its_height() -> None:
    picture = draw_chart(result_of(None), [])
    found = columns(picture, row(0.9), THRESHOLD)
    assert found[0] == LEFT and found[-1] > 1160 and 0.4 < len(found) / (1200 - LEFT - 20) < 0.75
    assert not columns(picture, row(0.9) - 4, THRESHOLD) and not columns(picture, row(0.9) + 4, THRESHOLD)


def test_the_floor_is_a_curve_where_it_was_measured_and_only_there() -> None:
    with_floor, without = draw_chart(result_of(0.87), []), draw_chart(result_of(None), [])
    found = columns(with_floor, row(0.87), FLOOR)
    first, last = LEFT + STEP_PX / 2, LEFT + STEP_PX * (FRAMES - 0.5)
    assert found[0] == pytest.approx(first, abs=2) and found[-1] == pytest.approx(last, abs=2)
    assert len(found) > 0.98 * (last - first), "joints are mixed twice"
    assert not any(columns(without, y, FLOOR) for y in range(70, 371))


def test_the_ious_curve_stands_at_its_height_and_a_failing_frame_is_a_dot() -> None:
    picture = draw_chart(result_of(None, {15: 0.85}), [])
    assert len(columns(picture, row(0.95), IOU)) > 700
    x = round(LEFT + 15.5 * STEP_PX)
    assert (picture[row(0.85) - 2 : row(0.85) + 3, x - 2 : x + 3] == FAIL).all()
    dots = (picture[70:371] == FAIL).all(axis=2)
    assert np.flatnonzero(dots.any(axis=0)).tolist() == list(range(x - 4, x + 5))


def test_frames_without_an_object_are_shaded_in_both_panels_and_no_others() -> None:
    picture = draw_chart(result_of(None), [])
    for y in (100, 70 + 300 + 64 + 40):
        shaded = columns(picture, y, SHADE)
        assert shaded[0] == LEFT + 5 * STEP_PX and shaded[-1] == LEFT + 10 * STEP_PX
        assert len(shaded) == 5 * STEP_PX + 1
        assert tuple(picture[y, round(LEFT + 3 * STEP_PX)]) == (255, 255, 255)


def test_each_worst_frame_is_there_as_a_picture_side_by_side() -> None:
    scores = result_of(None, {2: 0.5, 15: 0.6}).scores
    pictures = [np.full((THUMB_HEIGHT, THUMB_WIDTH, 3), colour, np.uint8) for colour in ((10, 200, 30), (240, 20, 200))]
    chart = draw_chart(result_of(None), [Thumbnail(scores[i], p) for i, p in zip((2, 15), pictures, strict=True)])
    top = 70 + 300 + 64 + 130 + 40 + 20
    for index, picture in enumerate(pictures):
        left = LEFT + index * (THUMB_WIDTH + 8)
        assert np.array_equal(chart[top : top + THUMB_HEIGHT, left : left + THUMB_WIDTH], picture)
    assert draw_chart(result_of(None), []).shape[0] == top - 20
