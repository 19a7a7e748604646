"""The reports of a real evaluation: what each file says, which are written, and what a cut leaves."""

from __future__ import annotations

import csv
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from click.testing import CliRunner, Result

from evaluator.cli import evaluate
from evaluator.gate import Kept
from evaluator.inputs import Material, Sight
from handoff.run import Run
from handoff.video import probe, read_frames
from tests.evaluator.conftest import FRAMES, REPORTS, read_report, stick_figure, write_poses

Command = Callable[..., Result]


def test_every_report_says_the_same(gate: Command, report: Path, run: Run) -> None:
    result = gate("--threshold", "0.97")
    data = read_report(report)
    assert {path.name for path in report.iterdir()} == REPORTS
    assert data["schema"] == 2 and [each["frame"] for each in data["frames"]] == list(range(FRAMES))
    failed = [each["frame"] for each in data["frames"] if not each["passed"]]
    assert failed == [each["frame"] for each in data["frames"] if each["iou"] <= 0.97]
    assert result.return_value == (1 if failed else 0) and data["summary"]["passed"] == (not failed)
    assert data["summary"]["failed"] == len(failed)

    rows = list(csv.DictReader((report / "iou.csv").read_text().splitlines()))
    assert [float(row["iou"]) for row in rows] == [each["iou"] for each in data["frames"]]
    assert [float(row["boundary_f"]) for row in rows] == [each["boundary_f"] for each in data["frames"]]

    suite = ET.parse(report / "junit.xml").getroot().find("testsuite")
    assert suite is not None and suite.get("tests") == str(FRAMES) and suite.get("errors") == "0"
    cases = {case.get("name"): case.find("failure") is not None for case in suite.iter("testcase")}
    assert cases == {f"frame {index:04d}": index in failed for index in range(FRAMES)}

    text = (report / "summary.md").read_text()
    assert f"{data['summary']['mean']:.4f}" in text and "embedded tracker" in text and "Original mask" in text

    chart = cv2.imread(str(report / "iou.png"))
    assert chart.shape[1] == 1200 and len(np.unique(chart)) > 50
    info = probe(report / "overlay.mp4")
    assert (info.frames, info.width, info.fps) == (FRAMES, 320, run.info.fps)


def test_both_outlines_are_drawn_on_both_halves_of_the_overlay(gate: Command, report: Path, run: Run) -> None:
    gate()
    source, output = (next(read_frames(path)) for path in (run.source, run.path("reskins/drone/output.mp4")))
    picture = next(read_frames(report / "overlay.mp4")).astype(int)
    for half, plain in ((picture[28:, :160], source), (picture[28:, 160:], output)):
        white = (half.min(axis=2) > 200) & (plain.min(axis=2) < 150)
        assert np.count_nonzero(white) > 50


def test_outside_a_run_the_overlay_shows_the_output_once(gate: Command, report: Path, run: Run) -> None:
    run.path("run.json").unlink()
    gate()
    info = probe(report / "overlay.mp4")
    assert (info.frames, info.width, info.height) == (FRAMES, 160, 120 + 28)
    picture = next(read_frames(report / "overlay.mp4"))[28:].astype(int)
    plain = next(read_frames(run.path("reskins/drone/output.mp4"))).astype(int)
    drawn = np.abs(picture - plain).max(axis=2) > 60
    assert 50 < np.count_nonzero(drawn) < 800


def test_format_picks_and_removes_what_an_earlier_evaluation_left(gate: Command, report: Path) -> None:
    gate()
    gate("--format", "junit", "--format", "summary")
    assert {path.name for path in report.iterdir()} == {"iou.json", "junit.xml", "summary.md"}


def test_nothing_is_done_twice_and_the_same_is_said(gate: Command, report: Path) -> None:
    first = gate().output
    before = {path: path.stat().st_mtime_ns for path in report.iterdir()}
    again = gate()
    assert "nothing has changed" in again.output
    assert {path: path.stat().st_mtime_ns for path in report.iterdir()} == before
    assert [line for line in again.output.splitlines() if "nothing has" not in line] == first.splitlines()


def test_the_skeletons_are_compared_where_both_are_given(gate: Command, report: Path, run: Run, tmp_path: Path) -> None:
    write_poses(run.path("pose.json"), ([stick_figure()] for _ in range(FRAMES)))
    moved = write_poses(tmp_path / "new.json", ([stick_figure(3.0)] if i != 4 else [] for i in range(FRAMES)))
    gate("--generated-pose", moved)
    frames = read_report(report)["frames"]
    assert frames[4]["oks"] == 0.0 and frames[5]["pck"] == 1.0 and 0.5 < frames[5]["oks"] < 1.0
    assert read_report(report)["summary"]["figures"]["oks"]["frame"] == 4


def test_without_a_mask_of_the_skater_his_skeleton_says_where_he_is(run: Run) -> None:
    pose = write_poses(run.path("pose.json"), ([stick_figure()] for _ in range(FRAMES)))
    mask, clip = run.path("mask.mp4"), run.path("reskins/drone/output.mp4")
    sights: list[Sight] = list(Material(mask, clip, run.info, run, clip, run.source, None, pose, None).read())
    assert len(sights) == FRAMES
    assert sights[0].skater is not None and sights[0].skater[60, 120]


def test_the_background_is_measured_against_the_source(gate: Command, report: Path) -> None:
    gate("--format", "json")
    figures = read_report(report)["summary"]["figures"]
    assert 30 < figures["psnr_db"]["worst"] < 60 and figures["ssim"]["worst"] > 0.95
    assert Kept() == Kept(None, None, None, None)


def test_the_tracker_s_doubts_stand_beside_the_verdict(gate: Command, report: Path, run: Run) -> None:
    notes = run.manifest["stages"]["tracker"]["notes"]
    notes["status"] = {"ranges": {"suspicious:area-jump": [[3, 4]], "absent": [[9, 10]], "tracked": [[0, 2]]}}
    notes["verify"] = [{"shot": [0, 13], "threshold": 0.7, "frames": 10, "mean": 0.81, "doubtful": [4, 6], "ious": []}]
    run.save()
    said = gate().output
    expected = "area-jump in 3-4; no object in 9-10; tracked back over 10 frames, mean IoU 0.81, doubtful: 4, 6"
    assert expected in said and expected in (report / "summary.md").read_text()
    assert read_report(report)["summary"]["trust"]["doubtful"] == [3, 4, 6]


def test_a_mask_without_a_tracker_s_record_is_not_called_free_of_doubt(gate: Command, run: Run) -> None:
    del run.manifest["stages"]["tracker"]["notes"]["status"]
    run.save()
    assert "how far it can be trusted is not known" in gate("--format", "json").output


def test_a_verification_since_the_last_evaluation_is_not_left_out(gate: Command, report: Path, run: Run) -> None:
    assert "not tracked back" in gate("--format", "summary").output
    notes = run.manifest["stages"]["tracker"]["notes"]  # the mask's bytes are the same
    notes["verify"] = [{"shot": [0, 13], "threshold": 0.7, "frames": 10, "mean": 0.41, "doubtful": [4, 6], "ious": []}]
    current = Run.open(run.dir)
    current.manifest["stages"]["tracker"]["notes"] = notes
    current.save()
    said = gate("--format", "summary").output
    assert "nothing has changed" not in said and "mean IoU 0.41, doubtful: 4, 6" in said
    assert "doubtful: 4, 6" in (report / "summary.md").read_text()
    assert "nothing has changed" in gate("--format", "summary").output


def test_two_masks_have_the_doubts_about_the_original_beside_them_where_its_run_is_known(
    run: Run, tmp_path: Path
) -> None:
    def trust(original: Path) -> dict[str, Any]:
        files = ("-original", original, "--generated-mask", run.path("mask_skateboard"), "--output", tmp_path / "r")
        done = CliRunner().invoke(evaluate, [str(each) for each in files], standalone_mode=False)
        assert done.return_value == 0, done.output
        found: dict[str, Any] = read_report(tmp_path / "r")["summary"]["trust"]
        return found

    run.manifest["stages"]["tracker"]["notes"]["status"] = {"ranges": {"suspicious:area-jump": [[3, 4]]}}
    run.save()
    known = trust(run.path("mask.mp4"))
    assert known["known"] and known["doubtful"] == [3, 4]
    shutil.copy(run.path("mask.mp4"), tmp_path)
    assert not trust(tmp_path / "mask.mp4")["known"]
    with run.path("mask.mp4").open("ab") as file:
        file.write(bytes([0, 0, 0, 8]) + b"free")  # an MP4 atom that says nothing: another file, the same pictures
    assert not trust(run.path("mask.mp4"))["known"], "not the file that the tracker's record is of"
