"""Known faults in a small reskin: the real gate catches each, and the figure that should show it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.faults import BLACK, FAULTS, LITTLE_LOSS, UNHARMED, UNPAINTED_CRFS, Painted, evaluate_frames, load, touched
from handoff.ingest import ingest
from handoff.run import Run
from tests.evaluator.helpers import FRAMES, stick_figure, write_output, write_poses
from tests.helpers import textured
from tests.tracker.helpers import HEIGHT, WIDTH, Scene, bouncing_board, invoke, make_scene, text


@pytest.fixture
def clip(run: Run) -> Painted:
    """The board rolls before the shins of a skater who stands still."""
    write_poses(run.path("pose.json"), run.info, ([stick_figure(-50.0)] for _ in range(FRAMES)))
    return load(Run.open(run.dir), run.path("reskins/drone/output.mp4"))


def figures(run: Run, clip: Painted, fault: str) -> tuple[dict[str, float], list[int]]:
    """The median of each figure over the frames that the fault changed, and the frames that fail."""
    faulty = FAULTS[fault](clip)
    frames = evaluate_frames(run, "faulty", faulty, LITTLE_LOSS)["frames"]
    changed = [frames[i] for i in (clip.shown if fault == UNHARMED else touched(clip, faulty))]
    names = ("iou", "leak", "gap", "clip", "drift_px", "area_ratio", "boundary_f", "psnr_db")
    middle = {name: float(np.median([f[name] for f in changed if f[name] is not None] or [np.nan])) for name in names}
    return middle, [each["frame"] for each in frames if not each["passed"]]


def test_the_middle_is_that_of_the_stretch_that_shows_the_object() -> None:
    """Frames 4 to 9 of twelve."""
    masks = [np.full((4, 6), 4 <= index < 10) for index in range(12)]
    clip = Painted([np.zeros((4, 6, 3), np.uint8)] * 12, [], masks, [])
    assert clip.middle == 7 and clip.shown == list(range(4, 10))
    with pytest.raises(ValueError, match="changed no frame"):
        touched(clip, clip.frames)


def test_an_unharmed_reskin_passes(run: Run, clip: Painted) -> None:
    found, failed = figures(run, clip, UNHARMED)
    assert failed == [] and found["iou"] > 0.95 and found["drift_px"] < 0.5


@pytest.mark.parametrize("px", [1, 3, 10])
def test_a_shift_is_measured_as_drift_and_fails(run: Run, clip: Painted, px: int) -> None:
    """The board is 15 px thick, but 45 px long: one pixel along it costs little, and shows as drift all the same."""
    before, _ = figures(run, clip, UNHARMED)
    found, failed = figures(run, clip, f"shifted by {px} px")
    assert found["drift_px"] == pytest.approx(px, abs=0.5) and found["drift_px"] > before["drift_px"] + 0.5
    assert found["area_ratio"] == pytest.approx(1, abs=0.05)
    assert found["leak"] == pytest.approx(found["gap"], abs=0.05) and found["leak"] > before["leak"]
    assert (len(failed) == FRAMES) if px > 1 else found["iou"] < 0.97


def test_a_grown_object_leaks_and_a_shrunk_one_leaves_a_gap(run: Run, clip: Painted) -> None:
    grown, failed = figures(run, clip, "grown by 4 px")
    assert len(failed) == FRAMES and grown["leak"] > 0.25 and grown["gap"] < 0.05 and grown["area_ratio"] > 1.3
    shrunk, failed = figures(run, clip, "shrunk by 3 px")
    assert len(failed) == FRAMES and shrunk["gap"] > 0.25 and shrunk["leak"] < 0.05 and shrunk["area_ratio"] < 0.75


def test_an_object_that_vanishes_for_five_frames_fails_in_them_with_a_gap_of_one(run: Run, clip: Painted) -> None:
    found, failed = figures(run, clip, "vanished for five frames")
    assert set(range(clip.middle, clip.middle + 5)) <= set(failed)
    assert found["gap"] == 1.0 and found["area_ratio"] == 0.0 and np.isnan(found["drift_px"])


def test_a_frozen_object_drifts_away_from_the_board(run: Run, clip: Painted) -> None:
    found, failed = figures(run, clip, "frozen from the middle on")
    assert failed and min(failed) > clip.middle and failed[-1] == FRAMES - 1
    assert found["drift_px"] > 5 and found["leak"] > 0.1 and found["gap"] > 0.1


def test_an_object_swapped_with_its_background_fails_and_shows_in_the_background(run: Run, clip: Painted) -> None:
    before, _ = figures(run, clip, UNHARMED)
    found, failed = figures(run, clip, "swapped with the background")
    assert len(failed) == FRAMES and found["iou"] < 0.5
    assert found["psnr_db"] < before["psnr_db"] - 8, "the object's colour is where the background was"


def test_an_object_painted_over_the_skaters_leg_clips(run: Run, clip: Painted) -> None:
    before, _ = figures(run, clip, UNHARMED)
    found, failed = figures(run, clip, "painted over the skater's leg")
    assert failed and found["clip"] > before["clip"] + 0.05 and found["leak"] > 0.05


def states(run: Run, frames: list[NDArray[np.uint8]], crf: int = LITTLE_LOSS) -> tuple[list[str], dict[str, Any]]:
    """What the real command calls each frame, and its report."""
    data = evaluate_frames(run, "faulty", frames, crf)
    names = [each["state"] for each in data["frames"]]
    assert [each["passed"] for each in data["frames"]] == [each == "PASS" for each in names]
    return names, data


@pytest.mark.parametrize("crf", UNPAINTED_CRFS)
def test_a_clip_in_which_nothing_was_painted_is_unchanged_in_every_frame(run: Run, clip: Painted, crf: int) -> None:
    found, data = states(run, clip.sources, crf)
    assert found == ["UNCHANGED"] * FRAMES and max(each["replaced"] for each in data["frames"]) < 0.1
    summary = data["summary"]
    assert (summary["passed"], summary["unchanged"], summary["failed"]) == (False, FRAMES, FRAMES)
    if crf == 12:
        assert summary["minimum"] > 0.95 and summary["below"] == 0, "every outline is right: that alone would pass"


def test_five_frames_that_were_not_painted_are_the_five_that_fail(run: Run, clip: Painted) -> None:
    found, data = states(run, FAULTS["five frames unpainted"](clip))
    bare = range(clip.middle, clip.middle + 5)
    assert [index for index, state in enumerate(found) if state != "PASS"] == list(bare)
    assert {found[index] for index in bare} == {"UNCHANGED"}
    assert data["summary"]["figures"]["replaced"]["worst"] == 0 and data["summary"]["first_failure"] == clip.middle


def test_half_an_object_is_not_enough(run: Run, clip: Painted) -> None:
    found, data = states(run, FAULTS["half of G unpainted"](clip))
    assert set(found) == {"UNCHANGED"}
    assert all(0.4 < each["replaced"] < 0.7 for each in data["frames"])


def test_the_gray_that_a_model_leaves_is_called_unpainted_with_its_share(run: Run, clip: Painted) -> None:
    found, data = states(run, FAULTS["gray 127 left"](clip))
    assert set(found) == {"UNPAINTED"} and data["summary"]["unpainted"] == FRAMES
    assert all(each["unpainted"] > 0.9 and each["replaced"] < 0.1 for each in data["frames"])


def test_the_source_with_another_hue_is_the_source(run: Run, clip: Painted) -> None:
    found, data = states(run, FAULTS["the source's hue shifted"](clip))
    assert set(found) == {"UNCHANGED"} and max(each["replaced"] for each in data["frames"]) < 0.5


def test_a_black_object_is_new_also_on_a_black_board(tmp_path: Path) -> None:
    """Tracked and painted as any other; the textures have nothing in common, the colours everything."""
    light = make_scene(FRAMES, bouncing_board)
    paint = textured(HEIGHT, WIDTH, 2)
    black = [
        np.where(m[..., None], paint // 10 + 10, f).astype(np.uint8)
        for f, m in zip(light.frames, light.truth, strict=True)
    ]
    run = ingest(Scene(black, light.truth).write(tmp_path / "clip.mp4"), tmp_path / "run")
    invoke(run, "--bbox", text(light, 2), "--frame", "2", "--backend", "embedded")
    write_output(run, black)
    clip = load(Run.open(run.dir), run.path("reskins/drone/output.mp4"))
    painted, data = states(run, FAULTS[BLACK](clip), 12)
    assert set(painted) == {"PASS"} and min(each["replaced"] for each in data["frames"]) > 0.85
    unpainted, data = states(run, clip.sources, 12)
    assert set(unpainted) == {"UNCHANGED"} and max(each["replaced"] for each in data["frames"]) < 0.1
