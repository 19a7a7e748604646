"""The gate: IoU as the textbook has it, strict above the threshold, every frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluator import calculate_iou
from evaluator.gate import FrameScore, Gate, judge
from evaluator.replaced import Replaced
from evaluator.report.result import Result
from evaluator.report.texts import summary_md
from handoff.errors import InputError
from handoff.masks import mask_iou

shapes = st.tuples(st.integers(1, 20), st.integers(1, 20))
pairs = shapes.flatmap(lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape)))


@given(pairs)
def test_iou_is_intersection_over_union_of_the_pixel_sets(pair: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = (set(zip(*np.nonzero(mask), strict=True)) for mask in pair)
    expected = len(first & second) / len(first | second) if first | second else 1.0
    assert mask_iou(*pair) == expected
    assert mask_iou(*pair[::-1]) == expected


@given(pairs, st.tuples(*[st.tuples(st.integers(0, 254), st.integers(1, 255))] * 2))
def test_two_masks_of_any_two_levels_have_the_iou_of_their_pixel_sets(
    pair: tuple[np.ndarray, np.ndarray], levels: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    """0 and 1 against 0 and 255, 16 and 235, bool: in each, the higher level is the object."""
    both = zip(pair, levels, strict=True)
    drawn = [np.where(mask, max(low, high), min(low, high)).astype(np.uint8) for mask, (low, high) in both]
    known = [(low != high and mask.any() and not mask.all()) for mask, (low, high) in zip(pair, levels, strict=True)]
    expected = mask_iou(*pair)
    if all(known):
        assert calculate_iou(*drawn) == calculate_iou(drawn[0], pair[1]) == calculate_iou(pair[0], drawn[1]) == expected
    assert calculate_iou(*pair) == expected


@given(pairs, st.booleans(), st.booleans())
def test_masks_of_0_and_1_and_of_0_and_255_may_be_mixed(
    pair: tuple[np.ndarray, np.ndarray], first: bool, second: bool
) -> None:
    drawn = [mask.astype(np.uint8) * (255 if white else 1) for mask, white in zip(pair, (first, second), strict=True)]
    assert calculate_iou(*drawn) == mask_iou(*pair)
    assert calculate_iou(np.asfortranarray(drawn[0]), drawn[1]) == mask_iou(*pair)
    assert calculate_iou(drawn[0][::-1, ::-1], drawn[1][::-1, ::-1]) == mask_iou(*pair)


def test_the_value_that_a_mask_of_0_and_255_has_against_one_of_bool() -> None:
    first, second = strip(100), strip(90)
    white = second.astype(np.uint8) * np.uint8(255)
    assert calculate_iou(first, white) == calculate_iou(white, first) == 0.9
    assert calculate_iou(white, np.zeros((1, 100), np.uint8)) == 0.0
    assert calculate_iou(np.zeros((1, 100), np.uint8), np.zeros((1, 100), bool)) == 1.0
    assert calculate_iou(np.full((4, 4), 255, np.uint8), np.ones((4, 4), np.uint8)) == 1.0


def test_more_than_two_levels_have_no_outline_and_are_named() -> None:
    matte = np.array([[0, 7, 200, 255]], np.uint8)
    with pytest.raises(InputError, match=r"has 4: 0, 7, 200, 255; say which of them are the object"):
        calculate_iou(matte, matte > 100)
    with pytest.raises(InputError, match=r"has 256: 0, 1, 2, 3, 4, 5, 6, 7, \.\.\."):
        calculate_iou(np.zeros((16, 16), bool), np.arange(256, dtype=np.uint8).reshape(16, 16))


@pytest.mark.parametrize(
    "wrong",
    [
        np.ones((4, 4), np.float32),
        np.ones((4, 4), np.int64),
        np.ones((4, 4, 3), np.uint8),
        np.ones(16, bool),
        [[True, False]],
        None,
    ],
    ids=["float", "int64", "colour", "one-dimensional", "list", "None"],
)
def test_what_is_no_mask_is_refused_and_not_converted(wrong: object) -> None:
    for pair in ((wrong, np.ones((4, 4), bool)), (np.ones((4, 4), bool), wrong)):
        with pytest.raises(InputError, match=r"a mask is an array \(H, W\) of bool, or of uint8 with two levels, not"):
            calculate_iou(*pair)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\(4, 4\) and \(4, 5\)"):
        calculate_iou(np.ones((4, 4), bool), np.ones((4, 5), np.uint8))


def test_the_exact_function_behind_it_takes_bool_only() -> None:
    mask = strip(90)
    for other in (mask.astype(np.uint8), mask.astype(np.float32), mask.astype(np.uint8) * np.uint8(255)):
        for pair in ((mask, other), (other, mask), (other, other)):
            with pytest.raises(InputError, match=r"a mask is an array \(H, W\) of bool, not .*picture > 127"):
                mask_iou(*pair)
    with pytest.raises(InputError, match=r"not bool .* and bool"):
        mask_iou(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool))


def strip(pixels: int) -> np.ndarray:
    mask = np.zeros((1, 100), bool)
    mask[0, :pixels] = True
    return mask


def test_exactly_the_threshold_fails_and_one_pixel_more_passes() -> None:
    gate = Gate(0.90)
    assert gate.feed_frame(strip(100), strip(90)).iou == 0.90
    assert not gate.scores[0].passed
    assert gate.feed_frame(strip(100), strip(91)).passed


def test_both_empty_counts_one_and_only_one_empty_counts_zero() -> None:
    gate = Gate()
    assert gate.feed_frame(strip(0), strip(0)).iou == 1.0
    assert gate.feed_frame(strip(50), strip(0)).iou == 0.0
    assert gate.feed_frame(strip(0), strip(1)).iou == 0.0


def test_the_first_and_the_last_frame_count() -> None:
    for bad in (0, 4):
        gate = Gate()
        for index in range(5):
            gate.feed_frame(strip(100), strip(50 if index == bad else 100))
        verdict = gate.conclude()
        assert not verdict.passed
        assert (verdict.failed, verdict.first_failure, verdict.minimum_frame) == (1, bad, bad)
        assert verdict.minimum == 0.5 and verdict.mean == pytest.approx(0.9)


def test_the_lines_say_what_was_measured() -> None:
    gate = Gate()
    gate.feed_frame(strip(100), strip(95))
    gate.feed_frame(strip(100), strip(40))
    assert [score.line() for score in gate.scores] == [
        "Frame 0000: IoU = 0.9500 [PASS]",
        "Frame 0001: IoU = 0.4000 [FAIL]",
    ]
    text = "\n".join(gate.conclude().lines())
    assert "Minimum IoU = 0.4000 at frame 1" in text
    assert "Failures: 1 of 2 frames, the first is frame 1" in text
    assert "Gate: FAIL" in text


def test_other_sizes_an_empty_original_and_no_frames_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 100\) and \(2, 50\)"):
        mask_iou(strip(3), np.zeros((2, 50), bool))
    gate = Gate()
    with pytest.raises(InputError, match="no frame"):
        gate.conclude()
    gate.feed_frame(strip(0), strip(0))
    with pytest.raises(InputError, match="empty in every frame"):
        gate.conclude()


NEW = {
    "new": (Replaced(1.0, 0.0), "PASS"),
    "just enough": (Replaced(0.75, 0.25), "PASS"),
    "too little, the rest as it was": (Replaced(0.74, 0.0), "UNCHANGED"),
    "too little, the rest gray": (Replaced(0.5, 0.4), "UNPAINTED"),
    "more of the rest as it was": (Replaced(0.3, 0.3), "UNCHANGED"),
    "nothing": (Replaced(0.0, 0.0), "UNCHANGED"),
    "gray": (Replaced(0.0, 1.0), "UNPAINTED"),
    "not measured": (None, "PASS"),
}


@pytest.mark.parametrize("name", NEW)
def test_a_frame_passes_where_enough_of_the_object_is_new_and_is_named_by_what_the_rest_is(name: str) -> None:
    new, state = NEW[name]
    gate = Gate()
    score = gate.feed_frame(strip(100), strip(95), new=new)
    assert (score.state, score.passed) == (state, state == "PASS")
    share = f" {score.unpainted:.2f} of it flat gray" if state == "UNPAINTED" else ""
    assert score.line() == f"Frame 0000: IoU = 0.9500 [{state}]{share}"
    assert (score.replaced, score.unpainted) == (new or Replaced())
    assert gate.conclude().passed == score.passed


def test_a_share_of_0_asks_for_nothing_new_and_another_one_for_that_much() -> None:
    for min_replaced, passes in ((0.0, True), (0.2, True), (0.21, False), (1.0, False)):
        gate = Gate(min_replaced=min_replaced)
        score = gate.feed_frame(strip(100), strip(100), new=Replaced(0.2, 0.0))
        assert score.passed == passes and score.renewed == (passes if min_replaced else None)
        assert gate.conclude().min_replaced == min_replaced


def test_the_verdict_counts_what_fails_by_its_outline_and_what_by_its_pictures() -> None:
    gate = Gate()
    for found, new in ((95, 1.0), (95, 0.1), (40, 1.0), (40, 0.1), (95, 0.0)):
        gate.feed_frame(strip(100), strip(found), new=Replaced(new, 1.0 if new == 0 else 0.0))
    verdict = gate.conclude()
    assert [score.state for score in gate.scores] == ["PASS", "UNCHANGED", "FAIL", "UNCHANGED", "UNPAINTED"]
    assert (verdict.failed, verdict.below, verdict.unchanged, verdict.unpainted, verdict.first_failure) == (
        4,
        2,
        2,
        1,
        1,
    )
    assert verdict.recall == 3 / 5, "of the frames' outlines"
    assert verdict.benchmark == "FAILED: 2 frames dropped below 0.90 IoU."
    text = "\n".join(verdict.lines())
    assert "Failures: 4 of 5 frames, the first is frame 1" in text
    assert "Not new: 2 frames unchanged, 1 unpainted; at least 0.75 of the object must differ" in text


def test_where_every_outline_is_right_the_last_line_does_not_speak_of_iou() -> None:
    gate = Gate()
    gate.feed_frame(strip(100), strip(100), new=Replaced(0.0, 0.0))
    gate.feed_frame(strip(0), strip(0), new=Replaced())
    verdict = gate.conclude()
    assert not verdict.passed and verdict.below == 0 and gate.scores[1].state == "PASS"
    assert verdict.benchmark == "FAILED: 1 frames show no new object."
    assert verdict.lines()[-1] == "Gate: FAIL (IoU > 0.9 is needed in every frame, and a new object)"


def test_a_stored_score_is_judged_by_its_figures_whatever_it_says_itself() -> None:
    """As a report that anybody may have written is."""
    lying = FrameScore(0, 1.0, 1.0, True, 100, 100, replaced=0.0, unpainted=0.0, renewed=True)
    result = Result([lying], 0.9, 1, {"original": "a", "generated": "b"})
    again = result.judged_again(0.9, 1, 0.75)
    assert not again.passed and again.scores[0].state == "UNCHANGED"
    assert result.judged_again(0.9, 1, 0.0).passed
    for share in (1.5, -0.1, float("nan")):
        forged = dataclasses.replace(lying, replaced=share)
        with pytest.raises(InputError, match="new share of frame 0"):
            dataclasses.replace(result, scores=[forged]).judged_again(0.9, 1, 0.75)


def scored(ious: list[float], outlines: list[float]) -> list[FrameScore]:
    pairs = enumerate(zip(ious, outlines, strict=True))
    return [FrameScore(i, iou, f, iou > 0.9, original_px=100, generated_px=100) for i, (iou, f) in pairs]


def test_a_run_s_figures_are_those_that_one_works_out_by_hand() -> None:
    """Eight frames: DAVIS's quarters are the frames 0 to 2 and 5 to 7, the border frames in both."""
    ious = [1.00, 0.96, 0.92, 0.90, 0.88, 0.94, 0.80, 0.60]
    scores = scored(ious, [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5])
    verdict = judge(scores, 0.9)
    assert verdict.mean == pytest.approx(7.00 / 8)
    assert verdict.recall == 4 / 8, "0.90 is not above 0.90"
    assert verdict.decay == pytest.approx(0.96 - 0.78)
    assert verdict.boundary_f == 0.75 and verdict.j_and_f == pytest.approx((0.875 + 0.75) / 2)
    assert (verdict.minimum, verdict.minimum_frame, verdict.failed, verdict.first_failure) == (0.60, 7, 4, 3)
    result = Result(scores, 0.9, 8, {"original": "a", "generated": "b"})
    assert "Recall at 0.9: 0.5000; decay: +0.1800; J&F over all frames: 0.8125" in summary_md(result)


def test_the_decay_of_a_clip_longer_than_256_frames_is_that_of_its_own_quarters() -> None:
    """401 frames: 0 to 100 and 300 to 400."""
    ious = [1.0] * 101 + [0.5] * 199 + [0.8] * 101
    assert judge(scored(ious, ious), 0.9).decay == pytest.approx(0.2)
