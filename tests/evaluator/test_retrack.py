"""The second track repeats the first: cuts, corrections and tidied masks, as run.json has them; and the noise floor.

The floor is what the tracker alone gives on the source itself. It explains a failure, and never takes one away.
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
from PIL import Image

from evaluator.retrack import USUAL_CRF, Setup, choose_setup, floor_ious, output_crf, retrack
from handoff.errors import InputError, MissingError, UsageError
from handoff.ingest import ingest
from handoff.masks import bounds, read_masks
from handoff.places import Box, Place
from handoff.run import Run
from handoff.video import VideoWriter, probe, read_frames
from tests.evaluator.helpers import BLUE, CRF, FRAMES, read_report, write_output
from tests.tracker.helpers import Scene, bouncing_board, invoke, iou, make_scene, repaint, text
from tracker.selection import TrackerChoice


@pytest.fixture(scope="module")
def long_scene() -> Scene:
    return make_scene(20, bouncing_board)


@pytest.fixture
def cut_run(long_scene: Scene, tmp_path: Path) -> Run:
    """Tracked in two of three shots, in the second from a correction, largest parts only."""
    run = ingest(long_scene.write(tmp_path / "clip.mp4"), tmp_path / "run")
    options = ("--correct", f"12:{text(long_scene, 12)}", "--cuts", "8,16", "--keep", "largest", "--fill-holes", "5")
    invoke(run, "--bbox", text(long_scene, 2), "--frame", "2", "--backend", "embedded", *options)
    return Run.open(run.dir)


def setup_of(run: Run, box: Box | None = None, frame: int | None = None, wanted: TrackerChoice | None = None) -> Setup:
    return choose_setup(run, run.path("mask.mp4"), run.info, box, frame, wanted)


def test_the_second_track_of_the_same_clip_is_the_first(cut_run: Run) -> None:
    setup = setup_of(cut_run)
    assert [shot.start for shot in setup.shots] == [0, 8, 16]
    masks = list(retrack(cut_run.source, setup))
    assert all(np.array_equal(a, b) for a, b in zip(masks, read_masks(cut_run.path("mask.mp4")), strict=True))
    assert [mask.any() for mask in masks] == [True] * 16 + [False] * 4


def test_a_report_says_how_it_was_tracked(cut_run: Run, long_scene: Scene) -> None:
    assert setup_of(cut_run).as_json() == {
        "tracker": "embedded",
        "box": list(long_scene.box(2)),
        "frame": 2,
        "corrections": [{"box": list(long_scene.box(12)), "frame": 12}],
        "cuts": [8, 16],
        "keep": "largest",
        "fill_holes": 5,
        "box_from": "run",
        "other_tracker": None,
    }


def test_a_box_that_is_given_replaces_the_places_of_its_shot_and_leaves_the_other_shots_theirs(
    cut_run: Run, long_scene: Scene
) -> None:
    box = Box(*long_scene.box(5))
    setup = setup_of(cut_run, box, 5)
    assert setup.places == (Place(5, box), Place(12, Box(*long_scene.box(12)))) and setup.origin == "flag"
    assert [mask.any() for mask in retrack(cut_run.source, setup)] == [True] * 16 + [False] * 4
    assert [place.frame for place in setup_of(cut_run, box, 14).places] == [14, 2]


def test_a_box_without_a_frame_is_frame_0s(cut_run: Run, long_scene: Scene) -> None:
    """The run's own prompt is on frame 2."""
    box = Box(*long_scene.box(0))
    setup = setup_of(cut_run, box)
    assert setup.places[0] == Place(0, box) and setup.origin == "flag"
    assert setup.remarks == (
        f"-bbox {box} is taken for frame 0; the run's own prompt is on frame 2, --frame names another",
    )
    assert setup.lines() == [*setup.remarks, setup.lines()[-1]] and f"box {box} on frame 0" in setup.lines()[-1]
    assert setup_of(cut_run, box, 0).remarks == (), "asked for by name"


def test_the_box_of_the_runs_own_prompt_without_a_frame_is_that_prompts(cut_run: Run, long_scene: Scene) -> None:
    box = Box(*long_scene.box(2))
    setup = setup_of(cut_run, box)
    assert setup.places[0] == Place(2, box) and setup.origin == "flag"
    assert setup.remarks == (f"-bbox {box} is the box of the run's own prompt, so its frame 2 is meant",)
    correction = Box(*long_scene.box(12))
    assert setup_of(cut_run, correction).places[0] == Place(0, correction), "a correction is not the prompt"
    cut_run.manifest["stages"]["tracker"]["params"]["frame"] = 0
    assert setup_of(cut_run, box).places[0] == Place(0, box) and not setup_of(cut_run, box).remarks


def test_in_a_clip_without_cuts_a_box_that_is_given_replaces_all_places(cut_run: Run, long_scene: Scene) -> None:
    cut_run.manifest["stages"]["tracker"]["notes"]["cuts"] = []
    assert setup_of(cut_run, Box(*long_scene.box(5)), 5).places == (Place(5, Box(*long_scene.box(5))),)


def test_another_tracker_must_be_named_and_must_be_there(
    cut_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    assert setup_of(cut_run).backend.name == "embedded"
    with pytest.raises(MissingError, match="make weights PROFILE=tracker-tiny"):
        setup_of(cut_run, wanted=TrackerChoice("sam2", "tiny"))
    with pytest.raises(UsageError, match="--device cuda is for SAM"):
        setup_of(cut_run, wanted=TrackerChoice("embedded", device="cuda"))


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_device_for_a_runs_own_embedded_tracker_is_said_to_mean_nothing_and_the_gate_goes_on(
    cut_run: Run, device: str
) -> None:
    setup = setup_of(cut_run, wanted=TrackerChoice(device=device))
    assert setup.backend.name == "embedded" and setup.differs is None
    assert setup.remarks == (f"--device {device}: the run's own tracker is the embedded one, which knows no devices",)
    assert setup_of(cut_run).remarks == ()


def test_the_first_box_is_read_from_the_masks_that_other_people_have(long_scene: Scene, tmp_path: Path) -> None:
    """DAVIS's naming, 00000.png, and a palette so dark that half of white is never reached."""
    clip, folder = long_scene.write(tmp_path / "clip.mp4"), tmp_path / "masks"
    folder.mkdir()
    for index, mask in enumerate(long_scene.truth):
        picture = Image.fromarray((mask & (index > 1)).astype(np.uint8), mode="P")
        picture.putpalette([0, 0, 0, 64, 0, 0])
        picture.save(folder / f"{index:05d}.png")
    setup = choose_setup(None, folder, probe(clip), None, None, TrackerChoice("embedded"))
    (place,) = setup.places
    assert setup.origin == "mask" and place == Place(2, bounds(long_scene.truth[2]))


def test_a_clip_whose_frames_were_counted_wrongly_is_not_tracked_in_silence(cut_run: Run) -> None:
    wrong = replace(cut_run.info, frames=cut_run.info.frames + 1)
    with pytest.raises(InputError, match="gave 20 frames while tracking and 21 before"):
        list(retrack(cut_run.source, replace(setup_of(cut_run), shots=()), wrong))


def test_a_good_reskin_of_a_run_with_a_later_prompt_passes_with_the_box_of_frame_0(
    run: Run, gate: Callable[..., Called], scene: Scene
) -> None:
    last = FRAMES - 1
    invoke(run, "--bbox", text(scene, last), "--frame", str(last), "--backend", "embedded")
    masks = list(read_masks(run.path("mask.mp4")))
    write_output(run, repaint(list(read_frames(run.source)), masks, BLUE))
    done = gate("-bbox", text(scene, 0))
    assert done.return_value == 0, done.output
    assert "on frame 0 (from flag)\n" in done.output
    assert gate("-bbox", text(scene, last)).return_value == 0, "the box of the run's own prompt"
    assert gate("-bbox", text(scene, 0), "--frame", str(last)).return_value == 1, "what a frame-0 box is worth there"


def test_the_floor_is_the_second_track_of_the_source_encoded_as_the_output_was(run: Run, tmp_path: Path) -> None:
    output, mask = run.path("reskins/drone/output.mp4"), run.path("mask.mp4")
    assert output_crf(output) == CRF
    setup = choose_setup(run, mask, run.info, None, None)
    found = list(floor_ious(mask, run.source, run.info, setup, 40, tmp_path / "work"))
    with VideoWriter(tmp_path / "again.mp4", run.info.fps, 160, 120, crf=40) as writer:
        for frame in read_frames(run.source):
            writer.write(frame)
    tracked = retrack(tmp_path / "again.mp4", setup)
    assert found == [iou(a, b) for a, b in zip(read_masks(mask), tracked, strict=True)]
    assert min(found) < 1.0, "at this quality the encoding shows"
    assert list((tmp_path / "work").iterdir()) == [], "the encoded clip is gone"


def test_calibrate_reports_it_for_every_frame(gate: Callable[..., Called], report: Path) -> None:
    said = gate("--calibrate", "--format", "summary").output
    data = read_report(report)
    assert all(0.5 < each["floor_iou"] <= 1.0 for each in data["frames"])
    assert data["how"]["floor_crf"] == CRF and len(data["frames"]) == FRAMES
    assert "Noise floor: the source itself" in said and "Noise floor" in (report / "summary.md").read_text()
    assert not list(report.glob(".*"))


def test_cut_short_while_calibrating_the_gates_own_part_stands(
    gate: Callable[..., Called], report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C at the fourth frame of the floor; the real encoding and tracking until then."""

    def interrupted(*material: Any) -> Iterator[float]:
        for index, value in enumerate(floor_ious(*material)):
            if index == 3:
                raise KeyboardInterrupt
            yield value

    monkeypatch.setattr("evaluator.stage.floor_ious", interrupted)
    with pytest.raises(click.Abort):
        gate("--calibrate", "--format", "summary")
    data = read_report(report)
    assert data["summary"]["complete"] and len(data["frames"]) == FRAMES
    assert [each["floor_iou"] is None for each in data["frames"]] == [False] * 3 + [True] * (FRAMES - 3)
    assert "of the first 3 frames only" in (report / "summary.md").read_text()


def test_without_a_record_the_usual_quality_is_taken_and_a_broken_one_is_refused(run: Run) -> None:
    output = run.path("reskins/drone/output.mp4")
    output.with_name("output.json").write_text("[")
    with pytest.raises(InputError, match=r"output\.json cannot be used"):
        output_crf(output)
    output.with_name("output.json").unlink()
    assert output_crf(output) == USUAL_CRF


def test_without_the_source_there_is_no_floor(run: Run, gate: Callable[..., Called]) -> None:
    run.path("run.json").unlink()
    with pytest.raises(UsageError, match="--calibrate needs the source clip"):
        gate("--calibrate")
    assert not run.path("reskins/drone/report").exists()
