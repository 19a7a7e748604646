"""--second-judge: the object is found once more, by another tracker or backward; the first judge alone decides.

With SAM 2.1 itself: tests/tracker/sam2/test_second_opinion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result as Called

from evaluator.retrack import Setup, choose_setup, second_ious, second_setup
from handoff.errors import MissingError, UsageError
from handoff.ingest import ingest
from handoff.masks import Mask, bounds, read_masks
from handoff.places import Box, Place
from handoff.run import Run
from handoff.video import read_frames
from tests.evaluator.helpers import BLUE, FRAMES, masks_against, read_report, write_output
from tests.tracker.helpers import Scene, board, bouncing_board, invoke, iou, make_scene, repaint, text
from tracker.embedded.backend import EmbeddedBackend
from tracker.embedded.classical import EmbeddedTracker
from tracker.interface import Found

Command = Callable[..., Called]


class Blind(EmbeddedBackend):
    """A tracker by another name that loses the lower half of what the embedded one finds."""

    description = "half-blind tracker"

    def __init__(self) -> None:
        self.params = {"backend": "blind"}

    def track(self, *where: Any) -> Iterator[Found]:
        for found in super().track(*where):
            mask: Mask = found.mask.copy()
            rows = np.flatnonzero(mask.any(axis=1))
            mask[rows[len(rows) // 2] :] = False
            yield Found(found.frame_index, mask)


@pytest.fixture
def first(gate: Command, report: Path) -> dict[str, Any]:
    """The report without a second judge."""
    assert gate("--format", "json").return_value == 0
    return read_report(report)


def test_both_ious_stand_in_every_report_and_only_the_first_decides(
    first: dict[str, Any], gate: Command, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = iter([EmbeddedBackend(), Blind()])  # the tracker that judges is made first
    monkeypatch.setattr("evaluator.retrack.make_backend", lambda wanted: next(made))
    done = gate("--second-judge", "tiny")
    data = read_report(report)
    assert done.return_value == 0 and data["verdict"]["passed"] and data["verdict"]["reasons"] == []
    assert [each["iou"] for each in data["frames"]] == [each["iou"] for each in first["frames"]]
    second = [each["second_iou"] for each in data["frames"]]
    assert len(second) == FRAMES and all(0.3 < each < 0.7 for each in second)
    figures = data["summary"]["figures"]["second_iou"]
    assert figures["worst"] == min(second) and figures["mean"] == pytest.approx(np.mean(second))
    assert data["how"]["second_judge"] == {"description": "half-blind tracker", "backend": "blind"}
    line = f"Second judge, half-blind tracker: mean IoU {figures['mean']:.4f}, minimum {min(second):.4f} at frame "
    for said in (done.output, (report / "summary.md").read_text(), (report / "junit.xml").read_text()):
        assert line in said and "at or below 0.9 in 0-13. It informs, and decides nothing" in said
        assert "; also above 0.9 in 0 of the 14 frames in which the first judge is; " in said
    assert "| second judge: IoU |" in (report / "summary.md").read_text()
    assert "second_iou" in (report / "iou.csv").read_text().splitlines()[0]


def test_it_is_part_of_what_makes_an_evaluation_the_same(
    gate: Command, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*options: str) -> str:
        made = iter([EmbeddedBackend(), Blind()])
        monkeypatch.setattr("evaluator.retrack.make_backend", lambda wanted: next(made))
        return gate("--format", "summary", *options).output

    call()
    asked = call("--second-judge", "tiny")
    assert "nothing has changed" not in asked and "Second judge, half-blind" in asked
    kept = call("--second-judge", "tiny")
    assert "nothing has changed" in kept
    assert [line for line in kept.splitlines() if line.startswith("Second judge")] == [
        line for line in asked.splitlines() if line.startswith("Second judge")
    ]
    assert "nothing has changed" not in call() and "Second judge" not in (report / "summary.md").read_text()


def test_cut_short_while_the_second_judge_tracks_the_gates_own_part_stands(
    gate: Command, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*material: Any) -> Iterator[float]:
        for index, value in enumerate(second_ious(*material)):
            if index == 3:
                raise KeyboardInterrupt
            yield value

    made = iter([EmbeddedBackend(), Blind()])
    monkeypatch.setattr("evaluator.retrack.make_backend", lambda wanted: next(made))
    monkeypatch.setattr("evaluator.stage.second_ious", interrupted)
    with pytest.raises(click.Abort):
        gate("--second-judge", "tiny", "--format", "summary")
    data = read_report(report)
    assert data["summary"]["complete"] and data["verdict"]["passed"]
    assert [each["second_iou"] is None for each in data["frames"]] == [False] * 3 + [True] * (FRAMES - 3)
    assert "Second judge (of the first 3 frames only), half-blind" in (report / "summary.md").read_text()


def test_the_tracker_that_judges_already_is_no_second_one(gate: Command, report: Path) -> None:
    with pytest.raises(UsageError, match="--second-judge embedded is the tracker that judges already; name another"):
        gate("--second-judge", "embedded")
    assert not report.exists()


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_one_whose_weights_are_not_here_is_refused_before_anything_is_tracked(
    gate: Command, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "no models"))
    with pytest.raises(MissingError) as refused:
        gate("--second-judge", "tiny", *options)
    assert refused.value.exit_code == 3 and "sam2.1_hiera_tiny.pt" in str(refused.value)
    assert not report.exists()


def test_two_masks_are_not_tracked(run: Run) -> None:
    files = ("-original", run.path("mask.mp4"), "--generated-mask", run.path("mask_skateboard"))
    with pytest.raises(UsageError, match="--second-judge is for a generated clip"):
        masks_against(*files, "--second-judge", "tiny")


def backward(run: Run, setup: Setup | None = None) -> Setup:
    mask = run.path("mask.mp4")
    setup = setup or choose_setup(run, mask, run.info, None, None)
    return second_setup(setup, run, mask, run.info, "backward", "auto")


def ious_of(run: Run, second: Setup) -> list[float]:
    clip = run.path("reskins/drone/output.mp4")
    return list(second_ious(run.path("mask.mp4"), clip, run.info, second))


def test_backward_is_the_same_tracker_from_the_last_masks_box_back_to_frame_0(
    first: dict[str, Any], gate: Command, run: Run, report: Path
) -> None:
    masks, last = list(read_masks(run.path("mask.mp4"))), FRAMES - 1
    frames, tracker, box = list(read_frames(run.path("reskins/drone/output.mp4"))), EmbeddedTracker(), bounds(masks[-1])
    assert box is not None
    found = [tracker.start(frames[last], box), *(tracker.step(frames[index]) for index in range(last - 1, -1, -1))]
    expected = [iou(a, b) for a, b in zip(masks, reversed(found), strict=True)]
    assert gate("--second-judge", "backward").return_value == 0
    data = read_report(report)
    assert [each["second_iou"] for each in data["frames"]] == expected
    assert [each["iou"] for each in data["frames"]] == [each["iou"] for each in first["frames"]] != expected
    place = {"box": box.as_list(), "frame": last}
    judge = data["how"]["second_judge"]
    assert (judge["backend"], judge["places"]) == ("embedded", [place])
    low, worst = sum(each <= 0.9 for each in expected), min(expected)
    said = (
        f", no weights), backward: from the other end (frame 13): mean IoU {np.mean(expected):.4f}, minimum "
        f"{worst:.4f} at frame {expected.index(worst)}; also above 0.9 in {FRAMES - low} of the 14 frames in which the "
        "first judge is; at or below 0.9 in "
    )
    assert said in (report / "summary.md").read_text()


def test_a_backward_judge_informs_and_decides_nothing(gate: Command, run: Run, report: Path) -> None:
    """The board is left out of the last two frames: who begins there does not find it in the others either."""
    masks, frames = list(read_masks(run.path("mask.mp4"))), list(read_frames(run.source))
    painted = list(repaint(frames, masks, BLUE))
    ground = painted[0].copy()
    ground[40:100] = ground[:60]
    write_output(run, [*painted[:-2], ground, ground])
    done = gate("--second-judge", "backward", "--min-replaced", "0", "--format", "json")
    data = read_report(report)
    failing = [each["frame"] for each in data["frames"] if not each["passed"]]
    assert done.return_value == 1 and failing == [12, 13]
    low = [each["frame"] for each in data["frames"] if each["second_iou"] <= 0.9]
    assert len(low) > 2
    also = len(set(range(12)) - set(low))
    assert f"; also above 0.9 in {also} of the 12 frames in which the first judge is; " in done.output


def test_it_is_asked_once_for_one_verdict_and_said_again(gate: Command) -> None:
    asked = gate("--second-judge", "backward", "--format", "json")
    kept = gate("--second-judge", "backward", "--format", "json")
    assert "nothing has changed" in kept.output and "tracking once more" not in kept.output
    lines = [[line for line in each.output.splitlines() if line.startswith("Second judge")] for each in (asked, kept)]
    assert lines[0] == lines[1] != []


@pytest.fixture(scope="module")
def leaving() -> Scene:
    """The board rolls out of the picture: whole until frame 35, gone from frame 51 on."""
    return make_scene(54, board)


def reskinned(scene: Scene, folder: Path, *options: str) -> Run:
    run = ingest(scene.write(folder / "clip.mp4"), folder / "run")
    invoke(run, "--backend", "embedded", *options)
    write_output(run, repaint(list(read_frames(run.source)), list(read_masks(run.path("mask.mp4"))), BLUE))
    return Run.open(run.dir)


def test_it_begins_on_the_last_whole_mask_and_not_on_a_sliver_at_the_edge(leaving: Scene, tmp_path: Path) -> None:
    run = reskinned(leaving, tmp_path, "--bbox", text(leaving, 0))
    masks = list(read_masks(run.path("mask.mp4")))
    areas = [np.count_nonzero(mask) for mask in masks]
    (place,) = backward(run).places
    whole = 0.5 * float(np.median([area for area in areas if area]))
    assert place == Place(place.frame, bounds(masks[place.frame])) and 35 < place.frame < 44
    assert areas[place.frame] > 0.9 * whole > areas[place.frame + 3], "half of it is still there"
    ious = ious_of(run, backward(run))
    assert min(ious[: place.frame + 1]) > 0.85 and ious[-3:] == [1.0] * 3, "nothing is there, and nothing is found"


def test_in_each_shot_it_begins_at_the_end_that_the_first_track_did_not_begin_at(tmp_path: Path) -> None:
    scene = make_scene(24, bouncing_board)
    more = ("--correct", f"12:{text(scene, 12)}", "--cuts", "8,16,20")
    run = reskinned(scene, tmp_path, "--bbox", text(scene, 2), "--frame", "2", *more)
    masks = list(read_masks(run.path("mask.mp4")))
    assert [mask.any() for mask in masks] == [True] * 16 + [False] * 8, "no place, no mask"
    second = backward(run)
    assert second.places == tuple(Place(frame, bounds(masks[frame])) for frame in (7, 8))
    assert "(frames 7-8)" in second.judge
    ious = ious_of(run, second)
    assert min(ious[:16]) > 0.85 and ious[16:] == [1.0] * 8


@pytest.mark.parametrize("prompt, begins", [(0, 13), (6, 13), (7, 0), (13, 0)])
def test_where_the_first_track_begins_near_the_end_it_begins_on_frame_0(run: Run, prompt: int, begins: int) -> None:
    setup = choose_setup(run, run.path("mask.mp4"), run.info, None, None)
    moved = replace(setup, places=(Place(prompt, Box(10, 10, 60, 60)),))
    assert [place.frame for place in backward(run, moved).places] == [begins]


def test_through_an_absence_it_comes_back_to_the_object(tmp_path: Path) -> None:
    scene = make_scene(26, bouncing_board, hidden=range(10, 15))
    run = reskinned(scene, tmp_path, "--bbox", text(scene, 0))
    assert [index for index, mask in enumerate(read_masks(run.path("mask.mp4"))) if not mask.any()] == [*range(10, 15)]
    ious = ious_of(run, backward(run))
    assert min(ious) > 0.8 and ious[10:15] == [1.0] * 5
