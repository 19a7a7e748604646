"""takes.json read back: what of it stands in the reports, of which clip it is told, and what is refused of it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from evaluator.gate import FrameScore
from evaluator.report.attempts import Attempts, attempt_lines
from handoff.errors import InputError
from handoff.files import sha256_file
from handoff.run import Run
from tests.evaluator.helpers import FRAMES, OTHER, read_report, takes_document, write_takes
from tests.helpers import records

Command = Callable[..., Result]


def score(frame: int, iou: float, floor: float | None = None) -> FrameScore:
    return FrameScore(frame, iou, 0.9, iou > 0.9, 100, 100, floor_iou=floor)


def test_what_is_told_is_how_many_were_judged_each_round_and_what_no_take_mended(tmp_path: Path) -> None:
    told = Attempts.read(write_takes(tmp_path, takes_document())).told()
    assert told is not None
    assert (told["windows"], told["takes"]) == (2, 4)
    assert [(each["number"], each["paintings"], each["failing"]) for each in told["rounds"]] == [
        (1, 2, 3),
        (2, 1, 2),
        (3, 1, 3),
    ]
    assert told["stuck"] == [{"window": 1, "takes": 3, "frames": [[FRAMES - 2, FRAMES - 1]]}]


def test_a_window_with_nothing_in_it_was_painted_by_nobody(tmp_path: Path) -> None:
    found = takes_document()
    found["rounds"][0]["paintings"] = [{"window": 0, "take": 1, "seed": 1}, {"window": 1, "take": 1, "seed": 1}]
    for each in found["takes"]:
        each["seconds"] = 2.5 if each["window"] else None
    told = Attempts.read(write_takes(tmp_path, found)).told() or {}
    assert [each["paintings"] for each in told["rounds"]] == [1, 1, 1] and told["takes"] == 4


def test_a_take_that_nobody_judged_is_not_counted_and_one_round_chose_nothing(tmp_path: Path) -> None:
    found = takes_document()
    found["takes"].append({"window": 0, "take": 2, "seed": 5, "setting": 0})
    assert (Attempts.read(write_takes(tmp_path, found)).told() or {})["takes"] == 4
    found["rounds"] = found["rounds"][:1]
    assert Attempts.read(write_takes(tmp_path, found)).told() is None


def lines_for(
    found: dict[str, Any], scores: list[FrameScore], tmp_path: Path, *, asked_again: bool = False
) -> list[str]:
    return attempt_lines(
        Attempts.read(write_takes(tmp_path, found)).told(), scores, threshold=0.9, asked_again=asked_again
    )


def test_the_sentences_say_that_the_figures_are_on_the_bright_side(tmp_path: Path) -> None:
    lines = lines_for(takes_document(), [score(frame, 0.5) for frame in range(FRAMES)], tmp_path)
    assert lines[0] == (
        "4 takes of 2 windows were judged in 3 rounds, and the best were chosen by that, so these figures are on the "
        "bright side; --second-judge asks a tracker that took no part"
    )
    assert lines[2] == "Round 2 (1 painted): 2 frames fail (2 gap), worst IoU 0.50 at frame 12"
    heard = lines_for(takes_document(), [], tmp_path, asked_again=True)
    assert heard[0].endswith("on the bright side; the second judge took no part")
    assert attempt_lines(None, [], 0.9, asked_again=False) == []


def test_of_several_settings_each_is_told_with_how_many_takes_passed(tmp_path: Path) -> None:
    found = takes_document()
    found["settings"] = [{"grow": 4, "cfg": 4.0}, {"grow": 12, "cfg": 4.0}]
    found["takes"][2]["setting"] = 1
    lines = lines_for(found, [], tmp_path)
    assert lines[4:6] == [
        "Setting grow 4, cfg 4.0: 1 of 3 takes passed",
        "Setting grow 12, cfg 4.0: 0 of 1 takes passed",
    ]
    assert not [line for line in lines_for(takes_document(), [], tmp_path) if line.startswith("Setting")]


@pytest.mark.parametrize(
    ("iou", "floor", "ends"),
    [
        (0.5, None, "--calibrate says whether the tracker finds the source itself there"),
        (0.5, 0.84, "does not pass in 2 of these (lowest IoU 0.8400): the tracker's limit there, not the painter's"),
        (0.5, 0.97, "tracked again, passes there (lowest IoU 0.9700): the painter's"),
        (0.95, 0.84, "where the outline fits and the object is not new: that is the painter's"),
    ],
    ids=["unknown", "the tracker", "the painter", "not new"],
)
def test_frames_in_which_all_takes_fail_point_to_the_tracker_or_the_painter(
    tmp_path: Path, iou: float, floor: float | None, ends: str
) -> None:
    line = lines_for(takes_document(), [score(frame, iou, floor) for frame in range(FRAMES)], tmp_path)[-1]
    assert line.startswith("Window 1: all 3 takes fail in 12-13")
    assert line.endswith(ends)


def test_the_report_of_the_very_clip_that_a_round_judged_has_it_and_that_of_another_one_has_not(
    gate: Command, report: Path, run: Run
) -> None:
    clip = run.path("reskins/drone/output.mp4")
    write_takes(clip.parent, takes_document(OTHER))
    assert "takes of" not in gate().output and "takes" not in read_report(report)["summary"]["told"]
    write_takes(clip.parent, takes_document(sha256_file(clip)))
    said = gate()
    told = read_report(report)["summary"]["told"]["takes"]
    assert told["takes"] == 4 and told["stuck"]
    sentence = "4 takes of 2 windows were judged in 3 rounds"
    assert sentence in said.output and sentence in (report / "summary.md").read_text()
    assert sentence in "".join(ET.parse(report / "junit.xml").getroot().itertext())


def test_a_verdict_that_is_known_is_written_again_with_the_takes_and_nothing_is_tracked(
    gate: Command, report: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = run.path("reskins/drone/output.mp4")
    first = gate().output
    frames, pictures = (
        read_report(report)["frames"],
        [(report / name).read_bytes() for name in ("iou.png", "overlay.mp4")],
    )
    write_takes(clip.parent, takes_document(sha256_file(clip)))

    def tracks(*_arguments: object) -> None:
        pytest.fail("it is tracked once more")

    monkeypatch.setattr("evaluator.stage.retrack", tracks)
    again = gate().output
    assert "4 takes of 2 windows" in again and "takes of" not in first
    assert read_report(report)["frames"] == frames and read_report(report)["summary"]["told"]["takes"]
    assert [(report / name).read_bytes() for name in ("iou.png", "overlay.mp4")] == pictures
    noted = records(run.dir)["evaluator/drone"]
    assert {Path(each["path"]).name for each in noted["outputs"]} == {path.name for path in report.iterdir()}
    before = {path: path.stat().st_mtime_ns for path in report.iterdir()}
    assert "nothing has changed" in gate().output, "and now it is known with them"
    assert {path: path.stat().st_mtime_ns for path in report.iterdir()} == before


def broken(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    found = takes_document()
    change(found)
    return found


BAD = {
    "no JSON": "{",
    "another schema": broken(lambda found: found.update(schema=2)),
    "no windows": broken(lambda found: found.update(windows=[])),
    "a window backwards": broken(lambda found: found.update(windows=[[3, 1], [2, FRAMES - 1]])),
    "a window that is not there": broken(lambda found: found["takes"][0].update(window=2)),
    "a take beyond all": broken(lambda found: found["takes"][0].update(take=101)),
    "a frame beyond the clip": broken(lambda found: found["takes"][1].update(failing=[FRAMES])),
    "an IoU of 2": broken(lambda found: found["takes"][0].update(worst_iou=2)),
    "a kind with an escape": broken(lambda found: found["rounds"][0].update(kinds={"\x1b[31m": 1})),
    "a take that was never painted": broken(lambda found: found["rounds"][0].update(chosen=[1, 9])),
    "too few results": broken(lambda found: found["rounds"][0]["results"].pop()),
    "a verdict that is a number": broken(lambda found: found["rounds"][0]["results"].__setitem__(0, [1, 0.9])),
    "a clip that is no digest": broken(lambda found: found["rounds"][0].update(clip="../../x")),
    "a setting that is not there": broken(lambda found: found["takes"][0].update(setting=1)),
    "a setting with an escape": broken(lambda found: found.update(settings=[{"reference": "\x1b[2J"}])),
    "a setting that is a list": broken(lambda found: found.update(settings=[{"grow": [1]}])),
    "a frame of 2**60": broken(lambda found: found.update(windows=[[0, 2**60]])),
}


@pytest.mark.parametrize("found", BAD.values(), ids=BAD)
def test_what_takes_json_cannot_be_is_refused(tmp_path: Path, found: object) -> None:
    with pytest.raises(InputError, match=r"takes\.json cannot be used: .*; paint again with --until-pass"):
        Attempts.read(write_takes(tmp_path, found))


def test_one_that_is_refused_is_said_and_decides_nothing(gate: Command, report: Path, run: Run) -> None:
    before = gate()
    write_takes(run.path("reskins/drone"), "{")
    after = gate()
    assert after.return_value == before.return_value and "takes.json cannot be used" in after.output
    (run.path("reskins/drone") / "takes.json").unlink()
    (run.path("reskins/drone") / "takes.json").symlink_to(run.path("mask.mp4"))
    said = gate().output
    assert "takes.json is" in said and "take it out" in said
