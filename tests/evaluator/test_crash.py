"""An error that nobody foresaw: never the code of a failing gate, and no report that looks like a verdict."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from evaluator.cli import evaluate
from evaluator.gate import FrameScore, Gate
from evaluator.report.texts import read_json
from handoff.command import FAULT, INTERRUPTED, main
from handoff.run import Run
from handoff.video import probe
from runner.main import FAULT as RUNNER_FAULT
from runner.main import run as run_command
from runner.process import ROOT, stage_environment
from tests.evaluator.conftest import FRAMES, read_report
from tests.helpers import HANG_S
from tracker.embedded.backend import EmbeddedBackend
from tracker.interface import Found

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

    monkeypatch.setattr("tracker.selection.EmbeddedBackend", Breaking)


def end_of(run: Run, *options: str) -> object:
    """The exit code of the real command."""
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(run.path("reskins/drone/output.mp4"))]
    with pytest.raises(SystemExit) as end:
        main(evaluate, [*files, "--threshold", "0.5", *options])
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
    stages = json.loads(run.path("run.json").read_text())["stages"]
    assert "evaluator/drone" not in stages, "run.json does not call the former pass current"


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
    manifest = run.path("run.json").read_bytes()
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
    assert run.path("run.json").read_bytes() == manifest, "run.json does not call it done"
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
    assert suite is not None and (suite.get("tests"), suite.get("errors")) == ("1", "1")
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
