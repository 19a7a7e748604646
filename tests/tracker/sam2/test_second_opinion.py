"""--second-judge with the embedded tracker and SAM 2.1, each as the judge of what the other made, and backward."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from evaluator.cli import command
from handoff.errors import UsageError
from handoff.ingest import ingest
from handoff.masks import bounds
from handoff.places import Box
from handoff.run import Run
from tests.helpers import write_clip
from tests.tracker.helpers import invoke, iou, masks_of
from tests.tracker.sam2.helpers import BOX, OTHER, TINY, environment, expected, moving_scene, write_pose

if TYPE_CHECKING:
    from tracker.sam2.predictor import Predictor

FRAMES = 8


def made_with(tmp_path: Path, *tracker: str) -> Run:
    run = ingest(write_clip(tmp_path / "clip.mp4", moving_scene(FRAMES)), tmp_path / "run")
    invoke(run, "--bbox", str(BOX), "--frame", "4", *tracker)
    (run.dir / "reskins" / "same").mkdir(parents=True)
    shutil.copy(run.source, run.dir / "reskins" / "same" / "output.mp4")
    return Run.open(run.dir)


def gate(run: Run, *options: str) -> Result:
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(run.path("reskins/same/output.mp4"))]
    return CliRunner().invoke(command, [*files, *options], catch_exceptions=False, standalone_mode=False)


def report_of(run: Run) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(run.path("reskins/same/report/iou.json").read_text())
    return data


@pytest.fixture(autouse=True)
def home(tmp_path: Path, checkpoint: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment(tmp_path / "home", checkpoint).items():
        monkeypatch.setenv(key, value)


def test_sam_2_judges_what_the_embedded_tracker_made(tmp_path: Path, checkpoint: tuple[Path, str]) -> None:
    run = made_with(tmp_path, "--backend", "embedded")
    gate(run, "--format", "json")
    first = [each["iou"] for each in report_of(run)["frames"]]
    done = gate(run, "--second-judge", "tiny", "--device", "cpu", "--format", "json")
    assert "second judge: tracking once more with SAM 2.1 Hiera tiny on cpu" in done.output
    data = report_of(run)
    assert [each["iou"] for each in data["frames"]] == first, "the judge is the same"
    second = [each["second_iou"] for each in data["frames"]]
    assert len(second) == FRAMES and all(each is not None and 0 <= each <= 1 for each in second)
    assert second != first, "a network of random weights"
    judge = data["how"]["second_judge"]
    assert (judge["backend"], judge["model"], judge["weights"]) == ("sam2", "tiny", checkpoint[1])
    recorded = run.reskin("same").manifest["stages"]["evaluator"]
    assert recorded["params"]["second_judge"]["model"] == "tiny" and recorded["tools"]["sam2"] == "1.1.0"


def test_the_embedded_tracker_judges_what_sam_2_made(tmp_path: Path) -> None:
    run = made_with(tmp_path, *TINY)
    done = gate(run, "--second-judge", "embedded", "--min-replaced", "0", "--format", "json")
    data = report_of(run)
    assert done.return_value == 0 and [each["iou"] for each in data["frames"]] == [1.0] * FRAMES
    assert data["how"]["second_judge"]["backend"] == "embedded"
    assert all(each["second_iou"] is not None for each in data["frames"])
    with pytest.raises(UsageError, match="--second-judge tiny is the tracker that judges already"):
        gate(run, "--second-judge", "tiny")


def test_points_are_nothing_that_the_embedded_tracker_can_begin_with(tmp_path: Path) -> None:
    run = made_with(tmp_path, "--point", "45,45,0", *TINY)
    with pytest.raises(UsageError, match="embedded cannot begin where the first track did: the embedded"):
        gate(run, "--second-judge", "embedded")


@pytest.mark.parametrize("skater", [False, True])
def test_backward_sam_2_begins_with_the_box_of_the_last_mask_and_knows_the_skater_as_before(
    tmp_path: Path, predictor: Predictor, skater: bool
) -> None:
    run = ingest(write_clip(tmp_path / "clip.mp4", moving_scene(FRAMES)), tmp_path / "run")
    if skater:
        write_pose(run)
    invoke(run, "--bbox", str(BOX), "--frame", "1", *TINY)
    (run.dir / "reskins" / "same").mkdir(parents=True)
    shutil.copy(run.source, run.dir / "reskins" / "same" / "output.mp4")
    masks = masks_of(run)
    gate(run, "--second-judge", "backward", "--min-replaced", "0", "--format", "json")
    data = report_of(run)
    assert [each["iou"] for each in data["frames"]] == [1.0] * FRAMES
    (place,) = data["how"]["second_judge"]["places"]
    box = bounds(masks[place["frame"]])
    assert place["frame"] > 1 and box is not None and place["box"] == box.as_list()
    people = [{"frame": 3, "box": OTHER, "points": [(75.5, 50.0), (70.0, 20.0)], "labels": [1, 1]}] if skater else []
    found, _ = expected(predictor, run, [{"frame": place["frame"], "box": Box(*place["box"])}], people)
    assert [each["second_iou"] for each in data["frames"]] == [iou(a, b) for a, b in zip(masks, found, strict=True)]
    assert not np.array_equal(masks, found), "another way through the clip"
