"""What a report says of the scores: the verdict, its limits, and the last line of the console."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from evaluator.gate import Gate
from evaluator.report.result import Result
from evaluator.report.texts import summary_md, to_json


def result_of(ious: list[float], floor: list[float]) -> Result:
    gate = Gate()
    mask = np.ones((10, 100), bool)
    for value in ious:
        part = mask.copy()
        part.ravel()[round(value * 1000) :] = False
        gate.feed_frame(mask, part)
    scores = [dataclasses.replace(each, floor_iou=f) for each, f in zip(gate.scores, floor, strict=True)]
    return Result(scores, 0.9, len(scores), {"original": "a", "generated": "b"})


def test_failing_frames_are_told_apart_by_the_floor() -> None:
    result = result_of([0.95, 0.80, 0.85, 0.89], [0.97, 0.95, 0.85, 0.84])
    assert (result.below_floor, result.at_floor, result.failing_floor) == ([1], [2, 3], [2, 3])
    text = summary_md(result)
    assert "(the new object, not the tracker): 1" in text and "(the tracker does no better on the source): 2-3" in text
    told = json.loads(to_json(result))["summary"]["failing_frames"]
    assert told == {"below": [1], "at_or_above": [2, 3], "floor_fails": [2, 3]}


def test_a_floor_that_explains_every_failure_still_lets_the_gate_fail() -> None:
    result = result_of([0.95, 0.60], [0.95, 0.50])
    assert result.at_floor == [1] and not result.passed
    assert "Gate: FAIL" in result.lines()[-2] and "## Gate: FAIL" in summary_md(result)


def test_frames_without_an_object_do_not_flatter_the_mean_beside_it() -> None:
    gate = Gate()
    empty, full = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    for generated in (empty, empty, empty):
        gate.feed_frame(empty, generated)
    gate.feed_frame(full, empty)
    result = Result(gate.scores, 0.9, 4, {"original": "a", "generated": "b"})
    assert result.verdict.mean == 0.75 and result.mean_seen == 0.0
    assert "| IoU where there is an object | 0.0000 |" in summary_md(result)


@pytest.mark.parametrize(
    ("threshold", "said"), [(0.9, "0.90"), (0.5, "0.50"), (0.95, "0.95"), (0.905, "0.905"), (1.0, "1.00")]
)
def test_the_last_line_counts_the_frames_that_fail_and_names_the_threshold_that_was_used(
    threshold: float, said: str
) -> None:
    result = dataclasses.replace(result_of([0.97, 0.4, 0.3], [1.0, 1.0, 1.0]), threshold=threshold)
    scores = [dataclasses.replace(each, passed=each.iou > threshold) for each in result.scores]
    failed = sum(not each.passed for each in scores)
    lines = dataclasses.replace(result, scores=scores).lines()
    assert lines[-2].startswith("Gate: FAIL")
    assert lines[-1] == f"FAILED: {failed} frames dropped below {said} IoU."


def test_the_last_line_of_a_pass_is_fixed_and_an_evaluation_that_was_cut_short_has_neither() -> None:
    result = result_of([0.95, 0.99], [1.0, 1.0])
    assert result.lines()[-2:] == [
        "Gate: PASS (IoU > 0.9 in every frame)",
        "SUCCESS: Zero-Clipping Benchmark Passed.",
    ]
    cut = dataclasses.replace(result, expected=3).lines()
    assert cut[-1] == "Gate: not decided, cut short after 2 of 3 frames"
    assert not any("SUCCESS" in line or "FAILED" in line for line in cut)
