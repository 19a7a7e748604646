"""What extraction says and draws of a mask that witnesses contradict."""

from __future__ import annotations

from pathlib import Path

import pytest

from handoff.ingest import ingest
from handoff.masks import read_png
from handoff.places import Box
from handoff.run import Run
from tests.tracker.helpers import Scene, bouncing_board, invoke, make_scene, notes, stage_of, text
from tests.tracker.witness.helpers import BOARD, seen, write_detections
from tracker.witness.doubt import worst_frames
from tracker.witness.ruling import FrameWitness, Standing

FRAMES = 40
NO_CUTS = ("--cuts", "none", "--backend", "embedded")


@pytest.fixture(scope="module")
def rolling() -> Scene:
    return make_scene(FRAMES, bouncing_board)


@pytest.fixture
def watched(rolling: Scene, tmp_path: Path) -> Run:
    """A run in which the detector sees the board at the place that is given, and from frame 10 on 40 px above it."""
    run = ingest(rolling.write(tmp_path / "rolling.mp4"), tmp_path / "rolling")

    def where(frame: int) -> Box:
        x1, y1, x2, y2 = rolling.box(frame)
        return Box(x1, y1, x2, y2) if frame < 10 else Box(x1, y1 - 40, x2, y2 - 40)

    write_detections(run, lambda frame: seen([where(frame)], BOARD))
    return Run.open(run.dir)


def test_extraction_says_first_that_the_mask_is_contradicted_where_to_look_and_what_to_do(
    watched: Run, rolling: Scene
) -> None:
    given = ("--bbox", text(rolling, 2), "--frame", "2", *NO_CUTS)
    said = invoke(watched, *given).output.splitlines()
    begin, first, *rest = (line for line in said if line.startswith("tracker: "))
    assert "embedded tracker (" in begin and rest[-1].startswith("tracker: verify: tracked back over")
    assert first.startswith("tracker: the mask is contradicted in 31 of 40 frames in which a witness speaks")
    assert "the detector sees the skateboard elsewhere in 31" in first
    assert "first: 9 (box IoU " in first
    picture = watched.path("doubt.png")
    correct = first.partition("or correct it: ")[2]
    assert f"look at {picture}, or correct it: --correct 9:" in first
    assert {"path": "doubt.png"}.items() <= {
        key: value
        for each in stage_of(watched)["outputs"]
        if each["path"] == "doubt.png"
        for key, value in each.items()
    }.items()
    assert notes(watched)["standing"]["word"] == "contradicted"
    assert notes(watched)["standing"]["contradicted"] == [[9, FRAMES - 1]]
    drawn = read_png(picture)
    assert drawn.shape == (28 + 4 * (28 + 360), 2 * 640, 3)
    for colour in ((0, 255, 0), (255, 60, 60)):
        assert (drawn == colour).all(axis=2).any()
    again = invoke(watched, *correct.split(), *NO_CUTS).output  # what was said can be typed as it is
    assert "1 correction(s)" in again


def test_the_corrections_that_there_are_stay_in_the_one_that_is_proposed(watched: Run, rolling: Scene) -> None:
    given = ("--bbox", text(rolling, 2), "--frame", "2", "--correct", f"10:{text(rolling, 10)}", "--cuts", "none")
    said = invoke(watched, *given, "--no-verify").output
    assert f"or correct it: --correct 10:{text(rolling, 10)} --correct 9:" in said


def test_where_nothing_is_in_doubt_there_is_no_picture(watched: Run, rolling: Scene) -> None:
    given = ("--bbox", text(rolling, 2), "--frame", "2", "--cuts", "none", "--no-verify")
    invoke(watched, *given)
    assert watched.path("doubt.png").exists()
    write_detections(watched, lambda frame: seen([Box(*rolling.box(frame))], BOARD))
    said = invoke(Run.open(watched.dir), *given).output
    assert "tracker: the mask is confirmed in 40 of 40 frames that show an object\n" in said
    assert not watched.path("doubt.png").exists()
    assert "doubt.png" not in {each["path"] for each in stage_of(watched)["outputs"]}


def test_the_embedded_tracker_tracks_back_unless_it_is_told_not_to(watched: Run, rolling: Scene) -> None:
    given = ("--bbox", text(rolling, 2), "--frame", "2", "--cuts", "none", "--backend", "embedded")
    assert "verify: tracked back over" in invoke(watched, *given).output
    assert stage_of(watched)["params"]["verify"] is True
    assert "tracked back" not in invoke(watched, *given, "--no-verify").output
    assert stage_of(watched)["params"]["verify"] is False


def test_the_worst_frames_are_of_all_parts_of_what_is_contradicted() -> None:
    frames = tuple(
        FrameWitness(index, box_iou=0.1 if index % 10 == 3 else 0.4, says="against" if index > 20 else "for")
        for index in range(101)
    )
    assert [each.frame for each in worst_frames(Standing(frames=frames))] == [23, 33, 43, 53, 63, 73, 83, 93]
    assert [each.frame for each in worst_frames(Standing(frames=frames[:24]))] == [21, 22, 23]
    assert worst_frames(Standing(frames=frames[:20])) == []
