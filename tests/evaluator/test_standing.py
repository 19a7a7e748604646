"""The witnesses in the report: heard anew about G, by every evaluation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evaluator.cli import command
from evaluator.report.texts import read_json
from handoff.errors import InputError
from handoff.masks import MaskSequenceWriter, read_masks
from handoff.places import Box
from handoff.run import Run
from tests.evaluator.helpers import FRAMES, read_report
from tests.helpers import vouch_for
from tests.tracker.helpers import Scene
from tests.tracker.witness.helpers import BOARD, seen, write_detections
from tracker.witness.ruling import Standing

Command = Callable[..., Result]


def watch(run: Run, scene: Scene, dy: int = 0) -> None:
    """Let the detector see the board in every frame, from frame 5 on dy px further down than it is."""

    def where(frame: int) -> Box:
        x1, y1, x2, y2 = scene.box(frame)
        down = dy if frame >= 5 else 0
        return Box(x1, y1 + down, x2, y2 + down)

    write_detections(run, lambda frame: seen([where(frame)], BOARD), every=1)


def standing(report: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_report(report)["summary"]["trust"]["standing"]
    return found


def test_the_report_has_what_the_witnesses_say_and_it_is_read_back(
    gate: Command, report: Path, run: Run, scene: Scene
) -> None:
    watch(run, scene, -40)
    said = gate().output
    found = standing(report)
    assert found["word"] == "contradicted" and found["contradicted"] == list(range(5, FRAMES))
    assert f"Original mask: {found['sentence']}\n" in said and found["sentence"] in (report / "summary.md").read_text()
    assert len(found["frames"]) == FRAMES and found["frames"][9]["box_iou"] == 0.0
    assert found["frames"][2]["says"] == "for" and found["frames"][2]["box_iou"] > 0.6
    read = read_json(report / "iou.json").trust.standing
    assert read is not None and read.as_json() == found and isinstance(read, Standing)
    again = gate().output
    assert "nothing has changed" in again and found["sentence"] in again


def test_it_is_heard_anew_whatever_run_json_says_of_it(gate: Command, report: Path, run: Run, scene: Scene) -> None:
    watch(run, scene, -40)
    current = Run.open(run.dir)
    confirmed = {"word": "confirmed", "sentence": "all is well", "contradicted": []}
    current.manifest["stages"]["tracker"]["notes"]["standing"] = confirmed
    current.save()
    assert "all is well" not in gate("--format", "json").output
    assert standing(report)["word"] == "contradicted"


def test_other_detections_are_another_verdict(gate: Command, report: Path, run: Run, scene: Scene) -> None:
    gate("--format", "json")
    assert standing(report)["word"] == "confirmed", "tracked back"
    watch(run, scene)
    assert "nothing has changed" not in gate("--format", "json").output
    assert standing(report)["frames"][9]["box_iou"] > 0.6
    prompts = json.loads(run.path("prompts.json").read_text())
    prompts["object"] |= {"class": "frisbee", "score": 0.9, "model": "yolox-nano", "runners_up": []}
    run.path("prompts.json").write_text(json.dumps(prompts))
    assert "nothing has changed" not in gate("--format", "json").output
    assert standing(report)["frames"][9]["box_iou"] is None, "no frisbee was seen"


def test_the_cycle_comes_from_the_mask_s_own_record_alone(
    gate: Command, report: Path, run: Run, tmp_path: Path
) -> None:
    gate("--format", "json")
    assert standing(report)["frames"][9]["cycle_iou"] is not None
    mine, clip = run.path("mine.mp4"), run.path("reskins/drone/output.mp4")
    shutil.copy(run.path("mask.mp4"), mine)
    files = ("-original", mine, "-generated", clip, "--output", tmp_path / "r", "--format", "json")
    done = CliRunner().invoke(command, [str(each) for each in files], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert standing(tmp_path / "r")["word"] == "unconfirmed"
    assert standing(tmp_path / "r")["frames"][9]["cycle_iou"] is None


def test_what_no_stage_vouches_for_is_not_heard(gate: Command, run: Run, scene: Scene) -> None:
    watch(run, scene)
    with run.path("detections.json").open("a") as file:
        file.write(" ")
    with pytest.raises(InputError, match=r"detections\.json was not made of this run's source\.mp4"):
        gate()


@pytest.fixture
def two_masks(run: Run, tmp_path: Path) -> Callable[[], dict[str, Any]]:
    def call() -> dict[str, Any]:
        folder = tmp_path / "two"
        files = ("-original", run.path("mask.mp4"), "--generated-mask", run.path("mask_skateboard"), "--output", folder)
        done = CliRunner().invoke(command, [str(each) for each in files], standalone_mode=False)
        trust = dict(read_report(folder)["summary"]["trust"])
        contradicted = trust["standing"] is not None and trust["standing"]["word"] == "contradicted"
        assert done.return_value == int(contradicted), done.output
        return trust

    return call


def test_two_masks_are_heard_about_where_their_run_is_known(
    two_masks: Callable[[], dict[str, Any]], run: Run, scene: Scene
) -> None:
    watch(run, scene, -40)
    assert two_masks()["standing"]["word"] == "contradicted"
    run.path("detections.json").write_text("{}")
    assert two_masks()["standing"] is None, "no sound run"


def test_masks_of_no_run_have_no_witness(tmp_path: Path, run: Run) -> None:
    shutil.copytree(run.path("mask_skateboard"), tmp_path / "m")
    files = ("-original", tmp_path / "m", "--generated-mask", tmp_path / "m", "--output", tmp_path / "r")
    CliRunner().invoke(command, [str(each) for each in files], standalone_mode=False)
    assert read_report(tmp_path / "r")["summary"]["trust"]["standing"] is None


def test_a_person_mask_shows_a_mask_that_took_the_skater(gate: Command, report: Path, run: Run, tmp_path: Path) -> None:
    def bodies() -> Iterator[np.ndarray[Any, Any]]:
        for mask in read_masks(run.path("mask.mp4")):
            yield np.roll(mask, 3, axis=1)

    info = run.info
    with MaskSequenceWriter(run.path("person_mask.mp4"), tmp_path / "p", info.fps, info.width, info.height) as writer:
        for body in bodies():
            writer.write(body)
    vouch_for(run.path("person_mask.mp4"))
    gate("--format", "json")
    assert 0.7 < standing(report)["frames"][9]["on_person"] < 1.0
