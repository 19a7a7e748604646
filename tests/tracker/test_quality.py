"""The status of a frame: what is noticed, and what is no trouble; and tracking back: doubt where it drifted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.masks import MaskSequenceWriter, read_masks
from handoff.places import Box
from handoff.video import probe
from tests.tracker.helpers import bouncing_board, iou, make_scene
from tracker.embedded.backend import EmbeddedBackend
from tracker.embedded.classical import EmbeddedTracker
from tracker.quality import Retrack, StatusLog, ends_of, verify

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


def at(x: int) -> Mask:
    mask = np.zeros((40, 120), bool)
    mask[10:20, x : x + 20] = True
    return mask


NOTHING = np.zeros((40, 120), bool)


def write(masks: list[Mask], folder: Path) -> Path:
    height, width = masks[0].shape
    with MaskSequenceWriter(folder / "mask.mp4", folder / "mask", Fraction(25), width, height) as writer:
        for mask in masks:
            writer.write(mask)
    return folder / "mask.mp4"


class Replay:
    """A retrack that gives prepared masks and remembers what it was asked for."""

    def __init__(self, masks: list[Mask]) -> None:
        self.masks, self.calls = masks, list[tuple[int, range]]()

    def __call__(self, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        self.calls.append((start, frames))
        for index in frames:
            yield index, mask if index == start else self.masks[index]


def test_the_second_pass_runs_from_both_ends_to_the_prompt_frame_and_its_starts_are_not_compared(
    tmp_path: Path,
) -> None:
    masks = [at(index) for index in range(10)]
    retrack = Replay(masks)
    log = verify(write(masks, tmp_path), 4, range(10), retrack)
    assert sorted(retrack.calls) == [(0, range(5)), (9, range(4, 10))]
    assert log.ious == dict.fromkeys(range(1, 9), 1.0)
    assert "no sign of drift" in log.summary()


def test_where_the_passes_part_the_iou_says_by_how_much(tmp_path: Path) -> None:
    first, second = [at(20)] * 10, [at(20)] * 3 + [at(30)] * 7
    log = verify(write(first, tmp_path), 0, range(10), Replay(second))
    assert log.ious[2] == 1.0
    assert log.ious[3] == pytest.approx(1 / 3)
    assert log.doubtful() == [3, 4, 5, 6, 7, 8]
    assert "look at frames 3, 4" in log.summary()


def test_a_sliver_before_the_object_goes_is_not_started_from(tmp_path: Path) -> None:
    sliver = at(30)
    sliver[:, 37:] = False
    masks = [*[at(30)] * 6, sliver, sliver, NOTHING, NOTHING]
    retrack = Replay(masks)
    verify(write(masks, tmp_path), 0, range(10), retrack)
    assert retrack.calls == [(5, range(6))]


def test_an_absence_parts_the_clip_and_each_stretch_is_verified_by_itself(tmp_path: Path) -> None:
    masks = [*[at(10)] * 4, NOTHING, NOTHING, *[at(30)] * 4]
    retrack = Replay(masks)
    log = verify(write(masks, tmp_path), 1, range(10), retrack)
    assert sorted(retrack.calls) == [(0, range(2)), (3, range(1, 4)), (9, range(6, 10))]
    assert sorted(log.ious) == [1, 2, 6, 7, 8]


def test_only_the_shot_of_the_prompt_is_looked_at(tmp_path: Path) -> None:
    masks = [at(index) for index in range(12)]
    retrack = Replay(masks)
    verify(write(masks, tmp_path), 5, range(4, 9), retrack)
    assert sorted(retrack.calls) == [(4, range(4, 6)), (8, range(5, 9))]


def test_masks_shorter_than_the_shot_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 3 masks and frame 9 is needed"):
        verify(write([at(1)] * 3, tmp_path), 0, range(10), Replay([]))


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    log = verify(write([at(1), NOTHING, NOTHING], tmp_path), 0, range(3), Replay([]))
    assert "no frame could be compared" in log.summary()
    assert log.to_json()["mean"] is None


def test_the_record_has_one_number_a_frame_and_null_where_nothing_was_compared(tmp_path: Path) -> None:
    masks = [at(20)] * 4
    record = verify(write(masks, tmp_path), 1, range(4), Replay([at(20), at(30), at(30), at(20)])).to_json()
    assert record["ious"] == [None, 0.333, 0.333]
    assert record["doubtful"] == [1, 2]
    assert record["frames"] == 2


def test_the_ends_of_a_shot_are_its_first_and_last_whole_masks_with_their_boxes() -> None:
    sliver = at(30)
    sliver[:, 37:] = False
    shots = [range(8), range(8, 10), range(10, 14)]
    first = [NOTHING, sliver, at(31), NOTHING, at(32), at(32), at(33), sliver]
    masks = [*first, NOTHING, NOTHING, *map(at, (50, 51, 52, 53))]
    ends = [[(place.frame, place.box) for place in pair] for pair in ends_of(masks, shots)]
    assert ends == [
        [(2, Box(31, 10, 51, 20)), (6, Box(33, 10, 53, 20))],
        [(10, Box(50, 10, 70, 20)), (13, Box(53, 10, 73, 20))],
    ]


def test_where_no_mask_can_be_trusted_any_will_do() -> None:
    everything = np.ones((40, 120), bool)
    (ends,) = ends_of([NOTHING, everything, everything, NOTHING], [range(4)])
    assert [place.frame for place in ends] == [1, 2]


def embedded(clip: Path) -> Retrack:
    return partial(EmbeddedBackend().retrack, clip, probe(clip))


@pytest.mark.parametrize("prompt", [0, 9])
def test_the_embedded_tracker_comes_back_to_a_good_track(prompt: int, tmp_path: Path) -> None:
    scene = make_scene(14, bouncing_board)
    clip = scene.write(tmp_path / "clip.mp4")
    log = verify(write(scene.truth, tmp_path), prompt, range(14), embedded(clip))
    assert len(log.ious) >= 12
    assert min(log.ious.values()) > 0.8


def test_a_first_pass_that_drifted_to_the_ground_is_found_out(tmp_path: Path) -> None:
    scene = make_scene(14, bouncing_board)
    clip = scene.write(tmp_path / "clip.mp4")
    drifted = [
        mask if index < 5 else np.roll(scene.truth[4], (25, 0), (0, 1)) for index, mask in enumerate(scene.truth)
    ]
    log = verify(write(drifted, tmp_path), 0, range(14), embedded(clip))
    assert set(range(1, 5)) <= set(log.doubtful())


def test_the_embedded_tracker_can_start_from_a_mask() -> None:
    scene = make_scene(3, bouncing_board)
    tracker = EmbeddedTracker()
    begun = tracker.resume(scene.frames[0], scene.truth[0])
    assert np.array_equal(begun, scene.truth[0])
    assert iou(tracker.step(scene.frames[1]), scene.truth[1]) > 0.8
