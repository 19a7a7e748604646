"""python -m tracker: where the box comes from, what run.json says, the skater's mask."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from handoff.box import Box
from handoff.errors import InputError, UsageError
from handoff.ingest import ingest
from handoff.masks import MaskSequenceWriter, read_masks
from handoff.prompts import Prompt, read_prompts, write_prompt
from handoff.run import Run
from tests.tracker.helpers import Scene, invoke, make_scene, notes, text
from tracker.cli import command


def test_the_box_of_the_flag_is_kept_for_the_next_time(run: Run, scene: Scene) -> None:
    first = invoke(run, "--bbox", text(scene, 3), "--frame", "3")
    assert "embedded tracker" in first.output
    assert "found in 24 of 24 frames" in first.output
    assert read_prompts(run)["object"] == Prompt(Box(*scene.box(3)), 3, "flag")
    stage = json.loads((run.dir / "run.json").read_text())["stages"]["tracker"]
    assert stage["notes"]["frames_tracked"] == 24
    assert stage["notes"]["frames_lost"] == []
    assert "embedded" in stage["tools"]["tracker"]
    assert {"mask.mp4", "mask_skateboard"} <= {output["path"] for output in stage["outputs"]}
    again = CliRunner().invoke(command, ["--run", str(run.dir)], catch_exceptions=False)
    assert "nothing has changed" in again.output


def test_without_any_box_it_tells_how_to_give_one(run: Run) -> None:
    with pytest.raises(UsageError, match="--bbox x1,y1,x2,y2"):
        invoke(run)
    assert not run.path("mask.mp4").exists()


def test_a_stored_box_is_not_used_for_another_frame(run: Run, scene: Scene) -> None:
    write_prompt(run, "object", Prompt(Box(*scene.box(2)), 2, "detector"))
    with pytest.raises(UsageError, match="frame 5"):
        invoke(run, "--frame", "5")


@pytest.mark.parametrize(("box", "frame"), [("150,60,170,80", "0"), ("10,10,40,40", "24")])
def test_a_bad_prompt_is_refused_before_anything_is_written(run: Run, box: str, frame: str) -> None:
    with pytest.raises(InputError):
        invoke(run, "--bbox", box, "--frame", frame)
    assert not run.path("prompts.json").exists()
    assert not run.path("mask.mp4").exists()


def test_the_skaters_mask_never_shares_a_pixel_with_the_objects(run: Run, scene: Scene, tmp_path: Path) -> None:
    person = np.zeros(scene.truth[0].shape, bool)
    person[20:75, 30:70] = True  # stands over the upper part of the board
    info = run.info
    with MaskSequenceWriter(run.path("person_mask.mp4"), tmp_path / "p", info.fps, info.width, info.height) as writer:
        for _ in range(info.frames):
            writer.write(person)
    invoke(run, "--bbox", text(scene, 0))
    shared = 0
    for thing, human in zip(read_masks(run.path("mask.mp4")), read_masks(run.path("human_mask.mp4")), strict=True):
        assert np.array_equal(human, person & ~thing)
        shared += np.count_nonzero(person & thing)
    assert shared > 0  # they did touch
    assert len(list(run.path("mask_human").iterdir())) == 24


def test_without_a_person_mask_it_says_so_and_leaves_no_old_skater_mask(run: Run, scene: Scene) -> None:
    run.path("human_mask.mp4").write_bytes(b"of an earlier run")
    result = invoke(run, "--bbox", text(scene, 0))
    assert "no person_mask.mp4" in result.output
    assert not run.path("human_mask.mp4").exists()
    assert not run.path("mask_human").exists()


def test_a_person_mask_of_another_length_is_refused(run: Run, scene: Scene, tmp_path: Path) -> None:
    info = run.info
    with MaskSequenceWriter(run.path("person_mask.mp4"), tmp_path / "p", info.fps, info.width, info.height) as writer:
        writer.write(scene.truth[0])
    with pytest.raises(InputError, match="1 frames"):
        invoke(run, "--bbox", text(scene, 0))


def test_lost_frames_are_noted_and_said_as_a_person_would_write_them(tmp_path: Path) -> None:
    scene = make_scene(24, hidden=range(10, 15))
    run = ingest(scene.write(tmp_path / "hidden.mp4"), tmp_path / "run")
    said = invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--cuts", "none").output
    assert notes(run)["frames_lost"] == ["10-14"] and notes(run)["frames_tracked"] == 19
    assert "object found in 19 of 24 frames; lost in 10-14\n" in said
