"""The whole loop on the demo clip: real stages in their own environments, a real ComfyUI server, the real gate."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from demo.score import score
from handoff.masks import read_masks
from handoff.poses import read_poses
from handoff.run import Run
from handoff.video import VideoWriter, probe, read_frames
from tests.helpers import DemoRun, Product, outputs, records

pytestmark = [pytest.mark.stage, pytest.mark.server]


def test_the_demo_ends_with_the_gates_own_verdict(demo_run: DemoRun) -> None:
    output, code = demo_run.result.stdout, demo_run.result.returncode
    assert code in (0, 1), demo_run.result.stderr
    lines = re.findall(r"^Frame (\d{4}): IoU = (\d\.\d{4}) \[(PASS|FAIL)\]$", output, re.M)
    assert [int(frame) for frame, _, _ in lines] == list(range(Run.open(demo_run.folder).info.frames))
    assert (code == 0) == all(verdict == "PASS" for _, _, verdict in lines)
    assert ("Gate: PASS" in output) == (code == 0)
    assert "tracker against the truth: mean IoU" in output


def test_the_demo_passes_its_gate(demo_run: DemoRun) -> None:
    report = json.loads((demo_run.reskin / "report" / "iou.json").read_text())
    assert report["summary"]["passed"], report["summary"]
    assert report["summary"]["minimum"] > 0.90 and report["summary"]["mean"] > 0.95


def test_the_embedded_tracker_follows_the_board_through_the_kick_flip(demo_run: DemoRun, demo_clip: Path) -> None:
    gate, verdict = score(demo_clip / "truth.mp4", demo_run.folder / "mask.mp4")
    assert verdict.mean > 0.80
    states = [frame["state"] for frame in json.loads((demo_clip / "truth.json").read_text())["frames"]]
    hidden = [each for each, state in zip(gate.scores, states, strict=True) if state in ("hidden", "out")]
    assert hidden
    # where there is no board, hardly anything may be called a board
    assert np.mean([each.generated_px == 0 for each in hidden]) > 0.8


def test_every_sequence_has_the_sources_count_and_size(demo_run: DemoRun) -> None:
    info = Run.open(demo_run.folder).info
    for name in ("source.mp4", "mask.mp4", "human_mask.mp4", "person_mask.mp4", "pose.mp4"):
        assert probe(demo_run.folder / name) == info, name
    assert probe(demo_run.reskin / "output.mp4") == info
    for name in ("mask_skateboard", "mask_human", "pose_skater", "pose_json"):
        assert len(list((demo_run.folder / name).iterdir())) == info.frames
    assert sum(1 for _ in read_poses(demo_run.folder / "pose.json")) == info.frames
    assert info.fps == Fraction(30)


def test_the_skater_is_found_and_never_shares_a_pixel_with_the_board(demo_run: DemoRun) -> None:
    people = [len(people) for people in read_poses(demo_run.folder / "pose.json")]
    assert np.mean(people) > 0.9
    masks = zip(read_masks(demo_run.folder / "mask.mp4"), read_masks(demo_run.folder / "human_mask.mp4"), strict=True)
    assert not any((board & human).any() for board, human in masks)


def test_outside_board_and_skater_the_output_is_the_source(demo_run: DemoRun) -> None:
    """Before the last encode it is so exactly (the stage counts the pixels); after it, as near as the encoder is."""
    record = json.loads((demo_run.reskin / "output.json").read_text())
    assert record["pixels"]["changed_outside_px"] == 0
    folder = demo_run.folder
    streams = (folder / "source.mp4", demo_run.reskin / "output.mp4")
    regions = zip(read_masks(folder / "mask.mp4"), read_masks(folder / "human_mask.mp4"), strict=True)
    errors_outside, changes_inside = [], []
    for before, after, (board, human) in zip(*(read_frames(path) for path in streams), regions, strict=True):
        difference = np.abs(before.astype(int) - after).mean(axis=2)
        errors_outside.append(difference[~(board | human)].mean())
        if board.any():
            changes_inside.append(difference[board].mean())
    assert max(errors_outside) < 2.0
    assert min(changes_inside) > 20


def test_run_json_lists_every_output_with_its_digest(demo_run: DemoRun) -> None:
    listed = outputs(demo_run.folder)
    top = {path.split("/")[0] for path in listed} | {"run.json", "reskins", "comfyui.log", ".lock"}
    assert {path.name for path in demo_run.folder.iterdir()} <= top
    written = {str(path.relative_to(demo_run.folder)) for path in demo_run.folder.glob("reskins/*/**/*.*")}
    own = {f"reskins/{demo_run.reskin.name}/{name}" for name in ("run.json", ".lock")}
    assert written - own <= set(listed), "an output that no run.json lists"
    assert {*records(demo_run.folder)} == {
        *("ingest", "posegen", "tracker", f"reskin/{demo_run.reskin.name}", f"evaluator/{demo_run.reskin.name}")
    }


def test_the_embedded_backends_say_that_they_are(demo_run: DemoRun) -> None:
    stages = Run.open(demo_run.folder).manifest["stages"]
    for stage in ("posegen", "tracker"):
        assert "embedded" in json.dumps(stages[stage]["tools"]).lower()
    assert "embedded" in demo_run.result.stdout


def test_the_same_command_again_does_no_work_and_says_the_same(demo_run: DemoRun) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo_run.folder.rglob("*") if path.name != ".lock"}
    again = demo_run.product("runner.demo")
    after = {path: path.stat().st_mtime_ns for path in demo_run.folder.rglob("*") if path.name != ".lock"}
    assert again.returncode == demo_run.result.returncode
    assert after == before
    assert again.stdout.count("nothing to do") == 4
    frames = re.compile(r"^Frame .*$", re.M)
    assert frames.findall(again.stdout) == frames.findall(demo_run.result.stdout)


def test_a_run_can_be_moved_and_its_files_found_by_bare_name(demo_run: DemoRun) -> None:
    done = demo_run.product("evaluate_iou.py", "-original", "mask.mp4", "-generated", "output.mp4")
    assert done.returncode == demo_run.result.returncode
    assert "nothing to do" in done.stdout


@pytest.mark.parametrize("fault", ["nothing painted", pytest.param("gray left", marks=pytest.mark.slow)])
def test_the_demo_fails_where_its_board_was_not_painted(
    demo_run: DemoRun, product: Product, tmp_path: Path, fault: str
) -> None:
    """Every outline but the tracker's own slips is right: the pictures tell."""
    run, clip = Run.open(demo_run.folder), tmp_path / "output.mp4"
    info = run.info
    with VideoWriter(clip, info.fps, info.width, info.height, crf=12) as writer:
        for frame, mask in zip(read_frames(run.source), read_masks(run.path("mask.mp4")), strict=True):
            writer.write(np.where(mask[..., None], np.uint8(127), frame) if fault == "gray left" else frame)
    mask = run.path("mask.mp4")
    done = product("evaluate_iou.py", "-original", mask, "-generated", clip, "--output", tmp_path / "report")
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "report" / "iou.json").read_text())
    shown = {each["frame"] for each in report["frames"] if each["original_px"]}
    state = "UNPAINTED" if fault == "gray left" else "UNCHANGED"
    assert {each["frame"] for each in report["frames"] if each["state"] == state} == shown and len(shown) > 60
    assert done.stdout.count(f"[{state}]") == len(shown)
    assert max(each["replaced"] for each in report["frames"] if each["original_px"]) < 0.1


def test_the_demos_own_reskin_is_new_in_every_frame(demo_run: DemoRun) -> None:
    report = json.loads((demo_run.reskin / "report" / "iou.json").read_text())
    assert min(each["replaced"] for each in report["frames"] if each["original_px"]) > 0.95
    assert report["summary"]["told"]["detector"] is None, "the demo's detector is not asked: no weights"
    assert [each["frame"] for each in report["summary"]["told"]["colour"]["borders"]]
