"""What a report says of the scores: the verdict, its limits, and the last line of the console."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from evaluator.gate import FrameScore, Gate
from evaluator.report.result import Result
from evaluator.report.texts import junit_xml, summary_md, to_json
from evaluator.trust import Trust
from tracker.witness.ruling import Standing


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
    assert result.lines()[0].startswith("Gate: FAIL, 1 of 2 frames at or below IoU 0.9: 1 (lowest 0.6000 at frame 1)")
    assert "## Gate: FAIL" in summary_md(result)


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
    assert lines[0].startswith(f"Gate: FAIL, {failed} of 3 frames at or below IoU {threshold:g}: ")
    assert lines[-1] == f"FAILED: {failed} frames dropped below {said} IoU."


def test_the_last_line_of_a_pass_is_fixed_and_an_evaluation_that_was_cut_short_has_neither() -> None:
    result = result_of([0.95, 0.99], [1.0, 1.0])
    assert result.lines()[0].startswith("Gate: PASS, IoU > 0.9 in every one of 2 frames; ")
    assert result.lines()[-1] == "SUCCESS: Zero-Clipping Benchmark Passed."
    cut = dataclasses.replace(result, expected=3).lines()
    assert cut[0] == "Gate: not decided, cut short after 2 of 3 frames"
    assert not any("SUCCESS" in line or "FAILED" in line for line in cut)


CONTRADICTED = Standing("contradicted", (2, 3), 4, sentence="the mask is contradicted in 2 of 4 frames; first: 2")
CONFIRMED = Standing("confirmed", (), 4, sentence="the mask is confirmed in 4 of 4 frames")
SILENT = Standing()
SENTENCE = "the original mask is contradicted in 2 of 4 frames; first: 2"


def judged(
    standing: Standing | None = CONFIRMED, *, ious: float = 0.95, accept: bool = False, **figures: float | None
) -> Result:
    """Four frames, the last two of them with these figures."""
    scores = []
    for frame in range(4):
        new = {"replaced": 0.97, "unpainted": 0.0} | (figures if frame > 1 else {})
        iou = ious if frame > 1 else 0.95
        scores.append(FrameScore(frame, iou, 0.99, False, 100, 100, **new).judged(0.9, 0.75))  # type: ignore[arg-type]
    how = {"original": "a", "generated": "b", "description": "a tracker"}
    return Result(scores, 0.9, 4, how, Trust(standing=standing), 0.75, accept_mask=accept)


def forms(result: Result) -> list[str]:
    """What each report begins with."""
    suite = ET.fromstring(junit_xml(result)).find("testsuite")
    assert suite is not None
    return [
        result.lines()[0],
        summary_md(result).splitlines()[0].removeprefix("## "),
        json.loads(to_json(result))["verdict"]["sentence"],
        suite[0][0].get("value") or "",
        (suite.findtext("system-out") or "").splitlines()[0],
    ]


def cases(result: Result) -> dict[str, str]:
    """The cases of junit.xml's verdict, each with what became of it."""
    suite = ET.fromstring(junit_xml(result)).find("testsuite")
    assert suite is not None
    found = {}
    for case in suite.iter("testcase"):
        found[case.get("name") or ""] = " ".join(f"{each.tag}: {each.get('message') or each.text}" for each in case)
    return found


def test_a_pass_says_what_it_stands_on() -> None:
    result = judged()
    assert result.passed and not result.reasons
    sentence = (
        "Gate: PASS, IoU > 0.9 in every one of 4 frames; the object is new wherever it is seen; "
        "the original mask is confirmed"
    )
    assert set(forms(result)) == {sentence}
    assert cases(result) == {"original mask": "", "iou": "", "replaced": ""}


def test_a_contradicted_mask_fails_where_every_iou_passes_and_is_the_first_reason() -> None:
    result = judged(CONTRADICTED)
    assert result.verdict.passed and not result.passed
    (reason,) = result.reasons
    assert (reason.kind, reason.frames, reason.figures) == ("original mask", [2, 3], {"contradicted": 2, "spoke": 4})
    assert set(forms(result)) == {f"Gate: FAIL, {SENTENCE}"}
    assert result.lines()[-1] == "FAILED: The original mask is contradicted in 2 frames."
    assert cases(result)["original mask"].startswith("failure: ") and cases(result)["iou"] == ""
    data = json.loads(to_json(result))["verdict"]
    assert data["passed"] is False and data["reasons"][0]["frames"] == [2, 3]
    both = judged(CONTRADICTED, ious=0.4)
    assert [each.kind for each in both.reasons] == ["original mask", "iou"]
    assert both.sentence.startswith(f"Gate: FAIL, {SENTENCE}; 2 of 4 frames at or below IoU 0.9: 2-3")
    assert both.lines()[-1] == "FAILED: 2 frames dropped below 0.90 IoU."


@pytest.mark.parametrize("ious", [0.95, 0.4])
def test_a_mask_that_was_accepted_is_no_reason_and_every_report_says_that_it_was(ious: float) -> None:
    result = judged(CONTRADICTED, ious=ious, accept=True)
    assert result.passed == (ious > 0.9) and "original mask" not in [each.kind for each in result.reasons]
    said = "the original mask is contradicted and was accepted by --accept-mask"
    assert all(text.endswith(f"; {said}") for text in forms(result))
    assert cases(result)["original mask"] == f"system-out: {said}"
    assert json.loads(to_json(result))["verdict"]["accepted"] is True
    for standing in (CONFIRMED, SILENT, None):
        assert not judged(standing, accept=True).accepted


@pytest.mark.parametrize(("standing", "why"), [(SILENT, "no witness spoke"), (None, "its witnesses are not known")])
def test_without_a_witness_the_mask_is_unconfirmed_and_a_pass_says_so(standing: Standing | None, why: str) -> None:
    result = judged(standing)
    assert result.passed and result.sentence.endswith(f"; the original mask is unconfirmed: {why}")
    assert cases(result)["original mask"] == f"skipped: unconfirmed: {why}"
    assert json.loads(to_json(result))["verdict"]["unmeasured"] == {"original mask": f"unconfirmed: {why}"}


def test_frames_in_which_too_little_is_new_fail_with_their_own_words_and_last_line() -> None:
    result = judged(replaced=0.01)
    (reason,) = result.reasons
    assert (reason.kind, reason.frames) == ("replaced", [2, 3])
    assert reason.figures == {"min_replaced": 0.75, "unchanged": 2, "least": 0.01, "least_frame": 2}
    least = "(least 0.010 at frame 2, 0.75 is needed)"
    assert result.sentence == f"Gate: FAIL, too little of the object is new in 2 of 4 frames: 2-3 {least}"
    assert result.lines()[-1] == "FAILED: 2 frames show no new object."
    frames = [case for case in ET.fromstring(junit_xml(result)).iter("failure") if case.get("type") == "replaced"]
    assert len(frames) == 3, "the verdict's own case, and two frames"
    assert "| 2 | UNCHANGED | 0.9500 |" in summary_md(result)


def test_frames_that_were_left_gray_are_called_so_and_each_kind_has_its_place_in_the_sentence() -> None:
    result = judged(CONTRADICTED, ious=0.4, replaced=0.02, unpainted=0.95)
    assert [each.kind for each in result.reasons] == ["original mask", "iou", "replaced"]
    assert result.sentence.endswith("; the object is unpainted in 2 of 4 frames: 2-3 (most 0.950 at frame 2)")
    assert result.reasons[2].figures == {"min_replaced": 0.75, "unpainted": 2, "most": 0.95, "most_frame": 2}
    assert result.lines()[-1] == "FAILED: 2 frames dropped below 0.90 IoU.", "the fixed line of an IoU comes first"


def test_what_was_switched_off_is_not_judged_and_that_is_said() -> None:
    result = judged(replaced=0.01).judged_again(0.9, 4, 0.0)
    assert result.passed and "; whether the object is new was not judged: --min-replaced 0; " in result.sentence
    assert cases(result)["replaced"] == "skipped: not judged: --min-replaced 0"


def test_two_masks_have_nothing_that_could_be_new_and_pass_by_their_iou() -> None:
    scores = [dataclasses.replace(each, replaced=None, unpainted=None) for each in judged().scores]
    result = Result(scores, 0.9, 4, {"original": "a", "generated": "b"})
    assert result.passed
    assert "; whether the object is new was not measured: two masks have no pictures; " in result.sentence
    assert cases(result)["replaced"] == "skipped: not measured: two masks have no pictures"


def test_of_a_part_of_the_clip_no_case_passes() -> None:
    result = dataclasses.replace(judged(ious=0.4), expected=9)
    assert not result.passed and result.sentence == "Gate: not decided, cut short after 4 of 9 frames"
    found = cases(result)
    assert found.pop("every frame scored").startswith("error: Gate: not decided")
    assert {name: text.split(":")[0] for name, text in found.items()} == {
        "original mask": "skipped",
        "iou": "failure",
        "replaced": "skipped",
    }
