"""A verdict counts as done only where this machine made it: what a run folder says of itself, anybody can write."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result as Called

from evaluator import stage
from evaluator.gate import FrameScore
from evaluator.report.result import Result
from evaluator.report.texts import read_json, write_texts
from evaluator.seal import FOLDER, has_seal, seal, state_folder
from handoff.errors import InputError, StorageError
from handoff.files import sha256_path
from handoff.run import Run
from runner.process import ROOT, stage_environment
from tests.evaluator.helpers import FRAMES, read_report, write_output

Command = Callable[..., Called]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine's own state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / FOLDER


def black(run: Run) -> None:
    height, width = run.info.height, run.info.width
    write_output(run, (np.zeros((height, width, 3), np.uint8) for _ in range(FRAMES)))


def forge(run: Run, report: Path) -> None:
    """Have the report say that every frame passes, and run.json that it is what the evaluation wrote."""
    made = read_json(report / "iou.json")
    scores = [replace(each, iou=1.0, boundary_f=1.0, passed=True) for each in made.scores]
    write_texts(report, replace(made, scores=scores), frozenset({"json", "csv", "junit", "summary"}))
    manifest = report.parent / "run.json"
    data = json.loads(manifest.read_text())
    record = data["stages"]["evaluator"]
    for output in record["outputs"]:
        output["sha256"] = sha256_path(run.dir / output["path"])
    record["notes"] |= {"passed": True, "mean_iou": 1.0, "minimum_iou": 1.0}
    manifest.write_text(json.dumps(data))


@pytest.mark.parametrize("formats", [(), ("--format", "json", "--format", "summary")])
def test_a_black_clip_with_a_forged_verdict_is_judged_anew_and_fails(
    gate: Command, run: Run, report: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, formats: tuple[str, ...]
) -> None:
    black(run)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(tmp_path / "a stranger's"))
        assert gate(*formats).return_value == 1
        forge(run, report)
        told = gate(*formats)
        assert told.return_value == 1, "what was sealed are the bytes"
        forge(run, report)
    told = gate(*formats)
    assert told.return_value == 1 and "nothing has changed" not in told.output
    assert "was not made here; it is judged anew" in told.output and "Gate: FAIL" in told.output
    assert not read_report(report)["summary"]["passed"] and "FAIL" in (report / "summary.md").read_text()
    again = gate(*formats)
    assert again.return_value == 1 and "nothing has changed" in again.output


def test_a_true_verdict_of_another_machine_is_made_anew_and_is_the_same(
    gate: Command, report: Path, home: Path
) -> None:
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("XDG_STATE_HOME", str(home / "other"))
        first = gate()
    before = (report / "iou.json").read_bytes()
    again = gate()
    assert "judged anew" in again.output and again.return_value == first.return_value
    assert (report / "iou.json").read_bytes() == before


def test_where_no_mark_can_be_kept_every_evaluation_is_done_and_that_is_said(
    gate: Command, report: Path, home: Path
) -> None:
    home.parent.mkdir(parents=True)
    home.write_text("a file in its place")
    first, again = gate(), gate()
    assert first.return_value == again.return_value == 0 and read_report(report)["summary"]["complete"]
    assert f"{home}, where this machine marks its verdicts, cannot be used" in first.output
    assert "nothing says who made it" in again.output and "nothing has changed" not in again.output


def test_a_kept_report_is_judged_by_its_figures_and_not_by_what_it_says_of_them() -> None:
    scores = [FrameScore(index, iou, 1.0, True, 9, 9) for index, iou in enumerate((0.95, 0.4, 0.9))]
    result = Result(scores, 0.1, 3, {"original": "a", "generated": "b"})
    assert result.passed
    again = result.judged_again(0.9, 3)
    assert [each.passed for each in again.scores] == [True, False, False] and not again.passed
    assert again.verdict.first_failure == 1 and not result.judged_again(0.1, 4).passed
    for iou in (float("nan"), float("inf"), -0.1):
        with pytest.raises(InputError, match="as its frame 0"):
            Result([replace(scores[0], iou=iou)], 0.9, 1, {}).judged_again(0.9, 1)
    with pytest.raises(InputError, match=r"frame 1 .* as its frame 0"):
        Result([scores[1]], 0.9, 1, {}).judged_again(0.9, 1)


def test_the_report_says_by_its_digest_which_clip_it_is_of(gate: Command, run: Run, report: Path) -> None:
    gate("--format", "json")
    digests = read_report(report)["how"]["sha256"]
    assert digests["generated"] == sha256_path(run.path("reskins/drone/output.mp4"))
    assert digests["original"] == sha256_path(run.path("mask.mp4"))


def test_a_report_of_a_clip_that_was_exchanged_goes_when_the_new_one_is_judged_elsewhere(
    gate: Command, run: Run, report: Path, tmp_path: Path
) -> None:
    gate()
    gate("--output", tmp_path / "same")
    assert (report / "iou.json").exists(), "it is of this clip"
    black(run)
    assert gate("--output", tmp_path / "other").return_value == 1
    assert not list(report.iterdir()) and not read_report(tmp_path / "other")["summary"]["passed"]


def test_the_secret_is_this_users_alone_and_one_that_others_could_read_is_made_anew(home: Path) -> None:
    seal("a verdict")
    secret = home / "secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600 and len(secret.read_bytes()) == 32
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert has_seal("a verdict") and not has_seal("another")
    before = secret.read_bytes()
    secret.chmod(0o644)
    assert not has_seal("a verdict") and secret.read_bytes() != before
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    secret.write_bytes(b"short")
    assert not has_seal("a verdict") and len(secret.read_bytes()) == 32
    assert sorted(each.name for each in home.iterdir()) == ["secret", "verdicts"]


def test_a_link_in_the_secrets_place_is_not_followed(home: Path, tmp_path: Path) -> None:
    home.mkdir(parents=True)
    (tmp_path / "known").write_bytes(bytes(32))
    (tmp_path / "known").chmod(0o600)
    (home / "secret").symlink_to(tmp_path / "known")
    with pytest.raises(StorageError, match="cannot be used"):
        has_seal("a verdict")


def test_processes_that_begin_at_once_share_one_secret(home: Path) -> None:
    code = "import sys; from evaluator.seal import seal; sys.stdin.read(); seal(sys.argv[1])"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(number)], cwd=ROOT, env=stage_environment(), stdin=subprocess.PIPE
        )
        for number in range(6)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    assert [child.wait(60) for child in children] == [0] * 6
    assert all(has_seal(str(number)) for number in range(6))


@pytest.mark.parametrize(("stated", "there"), [("", False), ("relative", False), ("/s", True)])
def test_the_folder_is_where_the_base_directory_specification_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stated: str, there: bool
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", stated)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected: Any = Path("/s") if there else tmp_path / ".local" / "state"
    assert state_folder() == expected / FOLDER


def test_a_report_that_is_exchanged_between_its_checksum_and_its_reading_is_not_believed(
    gate: Command, run: Run, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write in the run at that moment would make a PASS of this machine's own FAIL."""
    black(run)
    assert gate().return_value == 1
    true = (report / "iou.json").read_bytes()

    def exchanged(work: str) -> bool:
        data = json.loads(true)
        for frame in data["frames"]:
            frame.update({key: value for key, value in (("iou", 1.0), ("replaced", 1.0)) if key in frame})
        (report / "iou.json").write_text(json.dumps(data))
        return has_seal(work)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(stage, "has_seal", exchanged)
        told = gate()
    assert told.return_value == 1 and "nothing has changed" not in told.output
    assert "iou.json was exchanged while it was looked at" in told.output and "is judged anew" in told.output
    assert (report / "iou.json").read_bytes() == true
    again = gate()
    assert again.return_value == 1 and "nothing has changed" in again.output
