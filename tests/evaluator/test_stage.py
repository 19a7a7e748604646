"""A whole evaluation: what it measures and says, that nothing is done twice, and what an error or a cut leaves.

An error that nobody foresaw never has the code of a failing gate, and leaves no report that looks like a verdict.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from click.testing import CliRunner, Result

from evaluator.cli import command
from evaluator.gate import FrameScore, Gate, Kept
from evaluator.inputs import Material, Sight
from evaluator.report.texts import read_json
from handoff.command import FAULT, INTERRUPTED, main
from handoff.run import Run
from handoff.video import probe
from runner.commands import FAULT as RUNNER_FAULT
from runner.commands import run as run_command
from runner.process import ROOT, stage_environment
from tests.evaluator.helpers import FRAMES, read_report, stick_figure, write_poses
from tests.helpers import HANG_S, records
from tracker.embedded.backend import EmbeddedBackend
from tracker.interface import Found

Command = Callable[..., Result]


def test_nothing_is_done_twice_and_the_same_is_said(gate: Command, report: Path) -> None:
    first = gate().output
    before = {path: path.stat().st_mtime_ns for path in report.iterdir()}
    again = gate()
    assert "nothing has changed" in again.output
    assert {path: path.stat().st_mtime_ns for path in report.iterdir()} == before
    assert [line for line in again.output.splitlines() if "nothing has" not in line] == first.splitlines()


def test_the_skeletons_are_compared_where_both_are_given(gate: Command, report: Path, run: Run, tmp_path: Path) -> None:
    write_poses(run.path("pose.json"), run.info, ([stick_figure()] for _ in range(FRAMES)))
    moved = write_poses(tmp_path / "new.json", run.info, ([stick_figure(3.0)] if i != 4 else [] for i in range(FRAMES)))
    gate("--generated-pose", moved)
    frames = read_report(report)["frames"]
    assert frames[4]["oks"] == 0.0 and frames[5]["pck"] == 1.0 and 0.5 < frames[5]["oks"] < 1.0
    assert read_report(report)["summary"]["figures"]["oks"]["frame"] == 4


def test_without_a_mask_of_the_skater_his_skeleton_says_where_he_is(run: Run) -> None:
    pose = write_poses(run.path("pose.json"), run.info, ([stick_figure()] for _ in range(FRAMES)))
    mask, clip = run.path("mask.mp4"), run.path("reskins/drone/output.mp4")
    sights: list[Sight] = list(Material(mask, clip, run.info, run, clip, run.source, None, pose, None).read())
    assert len(sights) == FRAMES
    assert sights[0].skater is not None and sights[0].skater[60, 120]


def test_the_background_is_measured_against_the_source(gate: Command, report: Path) -> None:
    gate("--format", "json")
    figures = read_report(report)["summary"]["figures"]
    assert 30 < figures["psnr_db"]["worst"] < 60 and figures["ssim"]["worst"] > 0.95
    assert Kept() == Kept(None, None, None, None)


def test_a_verification_since_the_last_evaluation_is_not_left_out(gate: Command, report: Path, run: Run) -> None:
    def note(verified: list[dict[str, Any]]) -> None:
        current = Run.open(run.dir)
        current.manifest["stages"]["tracker"]["notes"]["verify"] = verified  # the mask's bytes are the same
        current.save()

    note([])
    assert "not tracked back" in gate("--format", "summary").output
    note([{"shot": [0, 13], "threshold": 0.7, "frames": 10, "mean": 0.41, "doubtful": [4, 6], "ious": []}])
    said = gate("--format", "summary").output
    assert "nothing has changed" not in said and "mean IoU 0.41, doubtful: 4, 6" in said
    assert "doubtful: 4, 6" in (report / "summary.md").read_text()
    assert "nothing has changed" in gate("--format", "summary").output


def test_two_masks_have_the_doubts_about_the_original_beside_them_where_its_run_is_known(
    run: Run, tmp_path: Path
) -> None:
    def trust(original: Path) -> dict[str, Any]:
        files = ("-original", original, "--generated-mask", run.path("mask_skateboard"), "--output", tmp_path / "r")
        done = CliRunner().invoke(command, [str(each) for each in files], standalone_mode=False)
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


FAULTS = [
    cv2.error("resize.cpp: assertion failed"),
    MemoryError("cannot allocate 3 GB"),
    OSError(errno.EIO, "Input/output error"),
]


def break_tracker(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Let the embedded tracker raise when it comes to that frame of the generated clip."""

    class Breaking(EmbeddedBackend):
        def track(self, *where: Any) -> Iterator[Found]:
            for found in super().track(*where):
                if found.frame_index == at:
                    raise error
                yield found

    monkeypatch.setattr("tracker.embedded.backend.EmbeddedBackend", Breaking)


def end_of(run: Run, *options: str) -> object:
    """The exit code of the real command."""
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(run.path("reskins/drone/output.mp4"))]
    with pytest.raises(SystemExit) as end:
        main(command, [*files, "--threshold", "0.5", *options])
    return end.value.code


@pytest.mark.parametrize("error", FAULTS, ids=lambda error: type(error).__name__)
def test_an_error_at_frame_6_leaves_a_report_of_a_part_in_place_of_the_former_pass(
    run: Run, report: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end_of(run) == 0 and read_json(report / "iou.json").passed
    break_tracker(monkeypatch, 6, error)
    assert end_of(run, "--force") == FAULT == 70
    said = capsys.readouterr().err
    assert "Traceback" in said and said.splitlines()[-1].startswith(f"error: {type(error).__name__}, which nobody")
    result = read_json(report / "iou.json")
    assert len(result.scores) <= 6 and result.expected == FRAMES and not result.passed
    assert f"cut short after {len(result.scores)} of {FRAMES}" in (report / "summary.md").read_text()
    suite = ET.parse(report / "junit.xml").getroot().find("testsuite")
    assert suite is not None and suite.get("errors") == "1"
    if result.scores:
        assert probe(report / "overlay.mp4").frames == len(result.scores)
    assert "evaluator/drone" not in records(run.dir), "run.json does not call the former pass current"


@pytest.fixture
def own_signals() -> Iterator[None]:
    """What signals do to this process, put back after: a command that was interrupted leaves it as it is ending."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cut_short_the_report_is_of_what_was_scored_and_says_so(
    report: Path, run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A signal to this very process, while the sixth frame is measured, and once more at once."""
    feed = Gate.feed_frame
    measured = []

    def counting(self: Gate, *sight: object) -> FrameScore:
        measured.append(1)
        if len(measured) == 6:
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)
        return feed(self, *sight)  # type: ignore[arg-type]

    monkeypatch.setattr(Gate, "feed_frame", counting)
    monkeypatch.setattr("handoff.command.GRACE_S", 86400.0)  # on a busy machine the second signal may come late
    assert end_of(run) == INTERRUPTED
    result = read_json(report / "iou.json")
    assert 5 <= len(result.scores) < FRAMES and result.expected == FRAMES
    assert not result.complete and not result.passed
    data = read_report(report)
    assert data["summary"]["complete"] is False and data["summary"]["passed"] is False
    assert f"cut short after {len(result.scores)} of {FRAMES} frames" in (report / "summary.md").read_text()
    suite = ET.parse(report / "junit.xml").getroot().find("testsuite")
    assert suite is not None and suite.get("errors") == "1"
    assert probe(report / "overlay.mp4").frames == len(result.scores)
    assert "evaluator/drone" not in records(run.dir), "run.json does not call it done"
    assert not list(report.glob(".*"))


@pytest.mark.parametrize(("error", "code"), [(MemoryError(), 70), (KeyboardInterrupt(), INTERRUPTED)])
def test_where_not_one_frame_was_scored_the_report_says_so_and_the_next_evaluation_is_whole(
    run: Run, report: Path, error: BaseException, code: int
) -> None:
    assert end_of(run) == 0
    with pytest.MonkeyPatch.context() as patch:
        break_tracker(patch, 0, error)
        assert end_of(run, "--force") == code
    data = read_report(report)
    assert data["frames"] == [] and not data["summary"]["passed"] and not data["summary"]["complete"]
    assert data["summary"]["expected_frames"] == FRAMES and data["summary"]["minimum"] is None
    assert {path.name for path in report.iterdir()} == {"iou.csv", "iou.json", "junit.xml", "summary.md"}
    assert f"not decided, cut short after 0 of {FRAMES} frames" in (report / "summary.md").read_text()
    suite = ET.parse(report / "junit.xml").getroot().find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("errors"), suite.get("skipped")) == ("4", "1", "3")
    assert end_of(run) == 0 and len(read_report(report)["frames"]) == FRAMES


def test_a_fault_of_the_commands_around_the_stages_has_that_code_too(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(arguments: list[str]) -> int:
        raise LookupError(arguments)

    with pytest.raises(SystemExit) as end:
        run_command(broken)
    assert end.value.code == RUNNER_FAULT == FAULT
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: LookupError")


def test_a_reader_that_goes_away_is_no_failing_gate(run: Run) -> None:
    files = ("-original", run.path("mask.mp4"), "-generated", run.path("reskins/drone/output.mp4"))
    command = [sys.executable, "-m", "evaluator", *map(str, files)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=stage_environment())
    assert child.stdout is not None
    child.stdout.close()
    assert child.wait(HANG_S) == FAULT


def test_the_share_that_has_to_be_new_is_a_parameter_and_0_lets_an_unpainted_clip_pass(
    gate: Command, report: Path, run: Run
) -> None:
    shutil.copy(run.source, run.path("reskins/drone/output.mp4"))
    done = gate("--format", "summary", "--format", "junit", "--format", "csv")
    assert done.return_value == 1 and done.output.count("IoU = 1.0000 [UNCHANGED]") == FRAMES
    assert done.output.splitlines()[-1] == f"FAILED: {FRAMES} frames show no new object."
    head = (report / "summary.md").read_text().splitlines()[0]
    least = "(least 0.000 at frame 0, 0.75 is needed)"
    assert head == f"## Gate: FAIL, too little of the object is new in {FRAMES} of {FRAMES} frames: 0-13 {least}"
    case = ET.parse(report / "junit.xml").getroot().find("testsuite[@name='frames']/testcase/failure")
    assert case is not None and case.get("type") == "replaced"
    assert case.text == "UNCHANGED, 0.000 of the object is new and 0.000 flat gray; 0.75 has to be new"
    assert (report / "iou.csv").read_text().splitlines()[1].endswith(",UNCHANGED")
    again = gate("--format", "summary", "--format", "junit", "--format", "csv")
    assert again.return_value == 1 and "nothing has changed" in again.output
    assert again.output.count("[UNCHANGED]") == FRAMES
    off = gate("--min-replaced", "0")
    assert off.return_value == 0 and "nothing has changed" not in off.output
    assert "New object: 0.000 of its outline on average, 0.000 at frame 0; not judged (--min-replaced 0)" in off.output
    assert run.manifest is not None and Run.open(run.dir).reskin("drone").manifest["stages"]["evaluator"]["params"][
        "min_replaced"
    ] == pytest.approx(0.0)


def test_of_two_masks_and_of_a_clip_outside_a_run_it_is_said_that_nothing_new_was_measured(
    run: Run, tmp_path: Path
) -> None:
    mask, clip = tmp_path / "mask.mp4", tmp_path / "clip.mp4"
    shutil.copy(run.path("mask.mp4"), mask)
    shutil.copy(run.source, clip)
    for files in (("--generated-mask", mask), ("-generated", clip)):
        arguments = ["-original", str(mask), *map(str, files), "--output", str(tmp_path / "report")]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
        why = "two masks have no pictures" if mask in files else "the source clip is not known"
        for text in (done.output, (tmp_path / "report" / "summary.md").read_text()):
            assert f"; whether the object is new was not measured: {why}; " in text
        frames = read_report(tmp_path / "report")["frames"]
        assert {each["replaced"] for each in frames} == {None} and {each["renewed"] for each in frames} == {None}
        assert done.return_value == 0
