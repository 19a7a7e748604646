"""The verdict through the real command: a mask that the detector contradicts, one that was accepted, one unconfirmed.

tests/evaluator/report/test_result.py has the sentences themselves, test_replaced.py whether the object is new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from click.testing import Result

from evaluator.report.texts import read_json
from handoff.errors import InputError
from handoff.masks import bounds, read_masks
from handoff.places import Box
from handoff.run import Run
from tests.evaluator.helpers import FRAMES, masks_against, read_report
from tests.helpers import records
from tests.tracker.witness.helpers import BOARD, seen, write_detections

Command = Callable[..., Result]
ACCEPTED = "the original mask is contradicted and was accepted by --accept-mask"


def look(run: Run, *, elsewhere: Collection[int] = ()) -> None:
    """Have the detector see the board where the mask is, in some frames 40 px above it."""
    boxes = [bounds(mask) for mask in read_masks(run.path("mask.mp4"))]

    def where(frame: int) -> Box:
        box = boxes[frame]
        assert box is not None
        return Box(box.x1, box.y1 - 40, box.x2, box.y2 - 40) if frame in elsewhere else box

    write_detections(run, lambda frame: seen([where(frame)], BOARD), every=1)


def closing(output: str) -> list[str]:
    """The console's lines after the frames."""
    lines = output.splitlines()
    return lines[max(i for i, line in enumerate(lines) if line.startswith("Gate: ")) :]


def test_a_mask_that_the_detector_sees_elsewhere_fails_with_every_iou_above_the_threshold(
    gate: Command, report: Path, run: Run
) -> None:
    look(run, elsewhere=range(6, FRAMES))
    done = gate()
    data = read_report(report)
    assert done.return_value == 1 and all(each["passed"] for each in data["frames"])
    assert data["summary"]["minimum"] > 0.9 and data["summary"]["passed"] is data["verdict"]["passed"] is False
    (reason,) = data["verdict"]["reasons"]
    assert reason["kind"] == "original mask" and reason["frames"] == list(range(6, FRAMES))
    assert reason["figures"] == {"contradicted": 8, "spoke": FRAMES}
    said = closing(done.output)
    assert said[0] == data["verdict"]["sentence"]
    assert said[0].startswith("Gate: FAIL, the original mask is contradicted in 8 of 14 frames")
    assert said[-1] == "FAILED: The original mask is contradicted in 8 frames."
    assert (report / "summary.md").read_text().startswith(f"## {said[0]}\n")
    again = gate()
    assert "nothing has changed" in again.output
    assert again.return_value == 1 and closing(again.output) == said, "judged by its figures"


def test_it_is_accepted_by_a_person_who_looked_and_every_report_says_so(gate: Command, report: Path, run: Run) -> None:
    look(run, elsewhere=range(6, FRAMES))
    assert gate().return_value == 1
    done = gate("--accept-mask")
    assert done.return_value == 0 and "nothing has changed" not in done.output
    assert closing(done.output)[0].endswith(f"; {ACCEPTED}")
    assert closing(done.output)[-1] == "SUCCESS: Zero-Clipping Benchmark Passed."
    for name in ("summary.md", "junit.xml", "iou.json"):
        assert ACCEPTED in (report / name).read_text(), name
    data = read_report(report)
    assert data["verdict"]["accepted"] and data["verdict"]["passed"] and data["verdict"]["reasons"] == []
    assert json.loads((report.parent / "run.json").read_text())["stages"]["evaluator"]["params"]["accept_mask"] is True
    again = gate("--accept-mask")
    assert again.return_value == 0 and "nothing has changed" in again.output
    assert closing(again.output) == closing(done.output)
    assert gate().return_value == 1, "it holds for the command that says it"


def test_a_mask_that_nobody_contradicts_needs_no_acceptance(gate: Command, report: Path, run: Run) -> None:
    run.manifest["stages"]["tracker"]["notes"].pop("verify", None)
    run.save()
    unconfirmed = gate("--accept-mask")
    assert unconfirmed.return_value == 0 and "; the original mask is unconfirmed: " in closing(unconfirmed.output)[0]
    assert not read_report(report)["verdict"]["accepted"] and "accepted by" not in (report / "summary.md").read_text()
    look(run)
    confirmed = gate("--accept-mask")
    assert confirmed.return_value == 0 and closing(confirmed.output)[0].endswith("; the original mask is confirmed")


def test_two_masks_have_the_witnesses_of_the_run_that_the_original_lies_in(run: Run, tmp_path: Path) -> None:
    files = ("-original", run.path("mask.mp4"), "--generated-mask", run.path("mask_skateboard"))
    done = masks_against(*files, "--output", tmp_path / "report")
    assert done.return_value == 0
    assert "; whether the object is new was not measured: two masks have no pictures; " in closing(done.output)[0]
    look(run, elsewhere=range(6, FRAMES))
    done = masks_against(*files, "--output", tmp_path / "report")
    assert done.return_value == 1 and closing(done.output)[0].startswith(
        "Gate: FAIL, the original mask is contradicted"
    )
    assert masks_against(*files, "--accept-mask").return_value == 0


@pytest.mark.parametrize("what", ["word", "frames"])
def test_what_a_report_says_of_the_mask_has_to_follow_from_its_frames(
    gate: Command, report: Path, run: Run, what: str
) -> None:
    look(run, elsewhere=range(6, FRAMES))
    gate("--format", "json")
    assert not read_json(report / "iou.json").passed
    data = read_report(report)
    standing = data["summary"]["trust"]["standing"]
    standing["word"] = "confirmed"
    if what == "frames":
        standing["contradicted"] = []
    (report / "iou.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match="the mask is called confirmed, and by its frames it is contradicted"):
        read_json(report / "iou.json")


@pytest.mark.parametrize("schema", [1, 2])
def test_a_report_of_an_earlier_schema_is_not_read_and_the_clip_is_judged_anew(
    gate: Command, report: Path, run: Run, schema: int
) -> None:
    gate()
    data = read_report(report)
    data["schema"] = schema
    del data["verdict"]
    (report / "iou.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"schema is {schema}, and must be 3"):
        read_json(report / "iou.json")
    done = gate()
    assert done.return_value == 0 and "nothing has changed" not in done.output
    assert read_report(report)["schema"] == 3 and "evaluator/drone" in records(run.dir)
