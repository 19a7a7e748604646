"""The second track repeats the first: cuts, corrections and tidied masks, as run.json has them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluator.retrack import Setup, choose_setup, retrack
from handoff.box import Box
from handoff.errors import InputError, MissingError, UsageError
from handoff.ingest import ingest
from handoff.masks import bounds, read_masks
from handoff.prompts import Place
from handoff.run import Run
from handoff.video import probe
from tests.tracker.helpers import Scene, bouncing_board, invoke, make_scene, text
from tracker.selection import TrackerChoice


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(20, bouncing_board)


@pytest.fixture
def run(scene: Scene, tmp_path: Path) -> Run:
    """Tracked in two of three shots, in the second from a correction, largest parts only."""
    run = ingest(scene.write(tmp_path / "clip.mp4"), tmp_path / "run")
    options = ("--correct", f"12:{text(scene, 12)}", "--cuts", "8,16", "--keep", "largest", "--fill-holes", "5")
    invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--backend", "embedded", *options)
    return Run.open(run.dir)


def setup_of(run: Run, box: Box | None = None, frame: int | None = None, wanted: TrackerChoice | None = None) -> Setup:
    return choose_setup(run, run.path("mask.mp4"), run.info, box, frame, wanted)


def test_the_second_track_of_the_same_clip_is_the_first(run: Run) -> None:
    setup = setup_of(run)
    assert [shot.start for shot in setup.shots] == [0, 8, 16]
    masks = list(retrack(run.source, setup))
    assert all(np.array_equal(a, b) for a, b in zip(masks, read_masks(run.path("mask.mp4")), strict=True))
    assert [mask.any() for mask in masks] == [True] * 16 + [False] * 4


def test_a_report_says_how_it_was_tracked(run: Run, scene: Scene) -> None:
    assert setup_of(run).as_json() == {
        "tracker": "embedded",
        "box": list(scene.box(2)),
        "frame": 2,
        "corrections": [{"box": list(scene.box(12)), "frame": 12}],
        "cuts": [8, 16],
        "keep": "largest",
        "fill_holes": 5,
        "box_from": "run",
        "other_tracker": None,
    }


def test_a_box_that_is_given_replaces_the_places_of_its_shot_and_leaves_the_other_shots_theirs(
    run: Run, scene: Scene
) -> None:
    box = Box(*scene.box(5))
    setup = setup_of(run, box, 5)
    assert setup.places == (Place(5, box), Place(12, Box(*scene.box(12)))) and setup.origin == "flag"
    assert [mask.any() for mask in retrack(run.source, setup)] == [True] * 16 + [False] * 4
    assert setup_of(run, box).places[0].frame == 2  # the frame of the original's first box
    assert [place.frame for place in setup_of(run, box, 14).places] == [14, 2]


def test_in_a_clip_without_cuts_a_box_that_is_given_replaces_all_places(run: Run, scene: Scene) -> None:
    run.manifest["stages"]["tracker"]["notes"]["cuts"] = []
    assert setup_of(run, Box(*scene.box(5)), 5).places == (Place(5, Box(*scene.box(5))),)


def test_another_tracker_must_be_named_and_must_be_there(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    assert setup_of(run).backend.name == "embedded"
    with pytest.raises(MissingError, match="make weights PROFILE=tracker-tiny"):
        setup_of(run, wanted=TrackerChoice("sam2", "tiny"))
    with pytest.raises(UsageError, match="--device cuda is for SAM"):
        setup_of(run, wanted=TrackerChoice(device="cuda"))


def test_the_first_box_is_read_from_the_masks_that_other_people_have(scene: Scene, tmp_path: Path) -> None:
    """DAVIS's naming, 00000.png, and a palette so dark that half of white is never reached."""
    clip, folder = scene.write(tmp_path / "clip.mp4"), tmp_path / "masks"
    folder.mkdir()
    for index, mask in enumerate(scene.truth):
        picture = Image.fromarray((mask & (index > 1)).astype(np.uint8), mode="P")
        picture.putpalette([0, 0, 0, 64, 0, 0])
        picture.save(folder / f"{index:05d}.png")
    setup = choose_setup(None, folder, probe(clip), None, None, TrackerChoice("embedded"))
    (place,) = setup.places
    assert setup.origin == "mask" and place == Place(2, bounds(scene.truth[2]))


def test_a_clip_whose_frames_were_counted_wrongly_is_not_tracked_in_silence(run: Run) -> None:
    wrong = replace(run.info, frames=run.info.frames + 1)
    with pytest.raises(InputError, match="gave 20 frames while tracking and 21 before"):
        list(retrack(run.source, replace(setup_of(run), shots=()), wrong))
