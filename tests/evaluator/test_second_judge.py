"""--second-judge: another tracker finds the object once more; both IoUs are told, and the first alone decides.

With SAM 2.1 itself: tests/tracker/sam2/test_second_opinion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result as Called

from evaluator.retrack import second_ious
from handoff.errors import MissingError, UsageError
from handoff.masks import Mask
from handoff.run import Run
from tests.evaluator.helpers import FRAMES, masks_against, read_report
from tracker.embedded.backend import EmbeddedBackend
from tracker.interface import Found

Command = Callable[..., Called]


class Blind(EmbeddedBackend):
    """A tracker by another name that loses the lower half of what the embedded one finds."""

    description = "half-blind tracker"

    def __init__(self) -> None:
        self.params = {"backend": "blind"}

    def track(self, *where: Any) -> Iterator[Found]:
        for found in super().track(*where):
            mask: Mask = found.mask.copy()
            rows = np.flatnonzero(mask.any(axis=1))
            mask[rows[len(rows) // 2] :] = False
            yield Found(found.frame_index, mask)


@pytest.fixture
def first(gate: Command, report: Path) -> dict[str, Any]:
    """The report without a second judge."""
    assert gate("--format", "json").return_value == 0
    return read_report(report)


def test_both_ious_stand_in_every_report_and_only_the_first_decides(
    first: dict[str, Any], gate: Command, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = iter([EmbeddedBackend(), Blind()])  # the tracker that judges is made first
    monkeypatch.setattr("evaluator.retrack.make_backend", lambda wanted: next(made))
    done = gate("--second-judge", "tiny")
    data = read_report(report)
    assert done.return_value == 0 and data["verdict"]["passed"] and data["verdict"]["reasons"] == []
    assert [each["iou"] for each in data["frames"]] == [each["iou"] for each in first["frames"]]
    second = [each["second_iou"] for each in data["frames"]]
    assert len(second) == FRAMES and all(0.3 < each < 0.7 for each in second)
    figures = data["summary"]["figures"]["second_iou"]
    assert figures["worst"] == min(second) and figures["mean"] == pytest.approx(np.mean(second))
    assert data["how"]["second_judge"] == {"description": "half-blind tracker", "backend": "blind"}
    line = f"Second judge, half-blind tracker: mean IoU {figures['mean']:.4f}, minimum {min(second):.4f} at frame "
    for text in (done.output, (report / "summary.md").read_text(), (report / "junit.xml").read_text()):
        assert line in text and "at or below 0.9 in 0-13. It decides nothing" in text
    assert "| second judge: IoU |" in (report / "summary.md").read_text()
    assert "second_iou" in (report / "iou.csv").read_text().splitlines()[0]


def test_it_is_part_of_what_makes_an_evaluation_the_same(
    gate: Command, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*options: str) -> str:
        made = iter([EmbeddedBackend(), Blind()])
        monkeypatch.setattr("evaluator.retrack.make_backend", lambda wanted: next(made))
        return gate("--format", "summary", *options).output

    call()
    asked = call("--second-judge", "tiny")
    assert "nothing has changed" not in asked and "Second judge, half-blind" in asked
    kept = call("--second-judge", "tiny")
    assert "nothing has changed" in kept
    assert [line for line in kept.splitlines() if line.startswith("Second judge")] == [
        line for line in asked.splitlines() if line.startswith("Second judge")
    ]
    assert "nothing has changed" not in call() and "Second judge" not in (report / "summary.md").read_text()


def test_cut_short_while_the_second_judge_tracks_the_gates_own_part_stands(
    gate: Command, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*material: Any) -> Iterator[float]:
        for index, value in enumerate(second_ious(*material)):
            if index == 3:
                raise KeyboardInterrupt
            yield value

    made = iter([EmbeddedBackend(), Blind()])
    monkeypatch.setattr("evaluator.retrack.make_backend", lambda wanted: next(made))
    monkeypatch.setattr("evaluator.stage.second_ious", interrupted)
    with pytest.raises(click.Abort):
        gate("--second-judge", "tiny", "--format", "summary")
    data = read_report(report)
    assert data["summary"]["complete"] and data["verdict"]["passed"]
    assert [each["second_iou"] is None for each in data["frames"]] == [False] * 3 + [True] * (FRAMES - 3)
    assert "Second judge (of the first 3 frames only), half-blind" in (report / "summary.md").read_text()


def test_the_tracker_that_judges_already_is_no_second_one(gate: Command, report: Path) -> None:
    with pytest.raises(UsageError, match="--second-judge embedded is the tracker that judges already; name another"):
        gate("--second-judge", "embedded")
    assert not report.exists()


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_one_whose_weights_are_not_here_is_refused_before_anything_is_tracked(
    gate: Command, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "no models"))
    with pytest.raises(MissingError) as refused:
        gate("--second-judge", "tiny", *options)
    assert refused.value.exit_code == 3 and "sam2.1_hiera_tiny.pt" in str(refused.value)
    assert not report.exists()


def test_two_masks_are_not_tracked(run: Run) -> None:
    files = ("-original", run.path("mask.mp4"), "--generated-mask", run.path("mask_skateboard"))
    with pytest.raises(UsageError, match="--second-judge is for a generated clip"):
        masks_against(*files, "--second-judge", "tiny")
