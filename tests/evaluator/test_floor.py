"""The noise floor: what the ruler alone gives. It explains a failure, and never takes one away."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result as Called

from evaluator.gate import Gate
from evaluator.report.result import Result
from evaluator.report.texts import summary_md
from evaluator.retrack import USUAL_CRF, choose_setup, floor_ious, output_crf, retrack
from handoff.errors import InputError, UsageError
from handoff.masks import read_masks
from handoff.run import Run
from handoff.video import VideoWriter, read_frames
from tests.evaluator.conftest import CRF, FRAMES, read_report
from tests.tracker.helpers import iou


def result_of(ious: list[float], floor: list[float]) -> Result:
    gate = Gate()
    mask = np.ones((10, 100), bool)
    for value in ious:
        part = mask.copy()
        part.ravel()[round(value * 1000) :] = False
        gate.feed_frame(mask, part)
    scores = [dataclasses.replace(each, floor_iou=f) for each, f in zip(gate.scores, floor, strict=True)]
    return Result(scores, 0.9, len(scores), {"original": "a", "generated": "b"})


def test_the_floor_is_the_second_track_of_the_source_encoded_as_the_output_was(run: Run, tmp_path: Path) -> None:
    output, mask = run.path("reskins/drone/output.mp4"), run.path("mask.mp4")
    assert output_crf(output) == CRF
    setup = choose_setup(run, mask, run.info, None, None)
    found = list(floor_ious(mask, run.source, run.info, setup, 40, tmp_path / "work"))
    with VideoWriter(tmp_path / "again.mp4", run.info.fps, 160, 120, crf=40) as writer:
        for frame in read_frames(run.source):
            writer.write(frame)
    tracked = retrack(tmp_path / "again.mp4", setup)
    assert found == [iou(a, b) for a, b in zip(read_masks(mask), tracked, strict=True)]
    assert min(found) < 1.0, "at this quality the encoding shows"
    assert list((tmp_path / "work").iterdir()) == [], "the encoded clip is gone"


def test_calibrate_reports_it_for_every_frame(gate: Callable[..., Called], report: Path) -> None:
    said = gate("--calibrate", "--format", "summary").output
    data = read_report(report)
    assert all(0.5 < each["floor_iou"] <= 1.0 for each in data["frames"])
    assert data["how"]["floor_crf"] == CRF and len(data["frames"]) == FRAMES
    assert "Noise floor: the source itself" in said and "Noise floor" in (report / "summary.md").read_text()
    assert not list(report.glob(".*"))


def test_failing_frames_are_told_apart_by_the_floor() -> None:
    result = result_of([0.95, 0.80, 0.85, 0.89], [0.97, 0.95, 0.85, 0.84])
    assert (result.below_floor, result.at_floor, result.failing_floor) == ([1], [2, 3], [2, 3])
    text = summary_md(result)
    assert "(the new object, not the ruler): 1" in text and "(the ruler does no better): 2-3" in text
    assert result.summary()["failing_frames"] == {"below": [1], "at_or_above": [2, 3], "floor_fails": [2, 3]}


def test_a_floor_that_explains_every_failure_still_lets_the_gate_fail() -> None:
    result = result_of([0.95, 0.60], [0.95, 0.50])
    assert result.at_floor == [1] and not result.passed
    assert "Gate: FAIL" in result.lines()[-1] and "## Gate: FAIL" in summary_md(result)


def test_frames_without_an_object_do_not_flatter_the_mean_beside_it() -> None:
    gate = Gate()
    empty, full = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    for generated in (empty, empty, empty):
        gate.feed_frame(empty, generated)
    gate.feed_frame(full, empty)
    result = Result(gate.scores, 0.9, 4, {"original": "a", "generated": "b"})
    assert result.verdict.mean == 0.75 and result.mean_seen == 0.0
    assert "| IoU where there is an object | 0.0000 |" in summary_md(result)


def test_cut_short_while_calibrating_the_gates_own_part_stands(
    gate: Callable[..., Called], report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the fourth frame of the floor; the real encoding and tracking until then."""

    def interrupted(*material: Any) -> Iterator[float]:
        for index, value in enumerate(floor_ious(*material)):
            if index == 3:
                raise KeyboardInterrupt
            yield value

    monkeypatch.setattr("evaluator.stage.floor_ious", interrupted)
    with pytest.raises(click.Abort):
        gate("--calibrate", "--format", "summary")
    data = read_report(report)
    assert data["summary"]["complete"] and len(data["frames"]) == FRAMES
    assert [each["floor_iou"] is None for each in data["frames"]] == [False] * 3 + [True] * (FRAMES - 3)
    assert "of the first 3 frames only" in (report / "summary.md").read_text()


def test_without_a_record_the_usual_quality_is_taken_and_a_broken_one_is_refused(run: Run) -> None:
    output = run.path("reskins/drone/output.mp4")
    output.with_name("output.json").write_text("[")
    with pytest.raises(InputError, match=r"output\.json cannot be read"):
        output_crf(output)
    output.with_name("output.json").unlink()
    assert output_crf(output) == USUAL_CRF


def test_without_the_source_there_is_no_floor(run: Run, gate: Callable[..., Called]) -> None:
    run.path("run.json").unlink()
    with pytest.raises(UsageError, match="--calibrate needs the source clip"):
        gate("--calibrate")
    assert not run.path("reskins/drone/report").exists()
