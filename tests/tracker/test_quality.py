"""The status of a frame: what is noticed, and what on exact truth is not mistaken for trouble."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.masks import read_masks
from tracker.quality import StatusLog

Mask = NDArray[np.bool_]


def block(area_rows: int = 10, columns: int = 20) -> Mask:
    mask = np.zeros((60, 80), bool)
    mask[20 : 20 + area_rows, 30 : 30 + columns] = True
    return mask


def followed() -> StatusLog:
    """A log of five frames in which nothing happened."""
    log = StatusLog()
    for index in range(5):
        assert log.add(index, block()) == "tracked"
    return log


def test_an_empty_mask_is_absent_and_so_is_any_mask_with_a_score_at_or_below_zero() -> None:
    log = StatusLog()
    assert log.add(0, np.zeros((60, 80), bool)) == "absent"
    assert log.add(1, block(), score=0.0) == "absent"
    assert log.add(2, block(), score=0.1) == "tracked"


def test_a_mask_of_more_than_half_the_frame_is_suspicious() -> None:
    everything, half = np.ones((60, 80), bool), np.zeros((60, 80), bool)
    half[:, :40] = True
    assert StatusLog().add(0, everything) == "suspicious:whole-frame"
    assert StatusLog().add(0, half) == "tracked"


@pytest.mark.parametrize(
    "rows, status", [(29, "tracked"), (31, "suspicious:area-jump"), (4, "tracked"), (3, "suspicious:area-jump")]
)
def test_three_times_or_a_third_of_the_last_frames_area_is_suspicious(rows: int, status: str) -> None:
    assert followed().add(5, block(rows)) == status


def test_an_object_that_comes_back_may_be_small_but_not_larger_than_ever() -> None:
    for rows, status in ((2, "tracked"), (35, "suspicious:area-jump")):
        log = followed()
        log.add(5, np.zeros((60, 80), bool))
        assert log.add(6, block(rows)) == status


def test_after_a_cut_no_area_is_a_jump() -> None:
    log = followed()
    log.new_shot()
    assert log.add(5, block(35)) == "tracked"


def test_many_parts_or_no_main_part_are_suspicious_and_two_halves_are_not() -> None:
    two = np.zeros((60, 80), bool)
    two[10:20, 10:20], two[10:20, 40:50] = True, True
    three = two.copy()
    three[40:50, 25:35] = True
    crumbs = block(20, 30)
    crumbs[2, ::5] = True
    assert StatusLog().add(0, two) == "tracked"
    assert StatusLog().add(0, three) == "suspicious:components"
    assert StatusLog().add(0, crumbs) == "suspicious:components"


def test_ranges_are_the_same_in_whatever_order_the_frames_came() -> None:
    masks = [block() if index not in (4, 5) else np.zeros((60, 80), bool) for index in range(10)]
    forward, outward = StatusLog(), StatusLog()
    for index in range(10):
        forward.add(index, masks[index])
    for index in (7, 8, 9, 6, 5, 4, 3, 2, 1, 0):
        outward.add(index, masks[index])
    assert forward.ranges() == outward.ranges() == {"tracked": [(0, 3), (6, 9)], "absent": [(4, 5)]}


def test_the_summary_names_the_frames_to_look_at() -> None:
    log = followed()
    assert log.summary() == "tracked 5 of 5 frames"
    log.add(5, block(40))
    log.add(6, np.zeros((60, 80), bool))
    assert log.summary() == (
        "tracked 5 of 7 frames; absent 1 (6), suspicious:area-jump 1 (5); look at them in the overlay"
    )


def test_ten_thousand_frames_make_a_short_record() -> None:
    log = StatusLog()
    for index in range(10_000):
        log.add(index, block())
    assert log.to_json() == {"ranges": {"tracked": [[0, 9999]]}}


def test_scores_are_kept_rounded_in_frame_order_with_null_where_there_was_none() -> None:
    log = StatusLog()
    log.add(2, block(), 7.126)
    log.add(0, block(), -1.5)
    record = log.to_json()
    assert record["scores"] == [-1.5, None, 7.13]
    assert json.loads(json.dumps(record)) == record


def test_on_the_demos_truth_only_the_edge_on_board_and_the_slivers_beside_an_absence_are_suspicious(
    demo_clip: Path,
) -> None:
    log = StatusLog()
    for index, mask in enumerate(read_masks(demo_clip / "truth.mp4")):
        log.add(index, mask)
    assert log.ranges()["absent"] == [(62, 72), (82, 91)]
    assert sum(last - first + 1 for first, last in log.ranges()["suspicious:area-jump"]) <= 4
    assert "suspicious:components" not in log.ranges()
