"""python -m tracker: cuts, tidied masks, the status of each frame and --verify have the effect they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import UsageError
from handoff.ingest import ingest
from handoff.run import Run
from tests.helpers import textured, write_clip
from tests.tracker.command import invoke, masks_of, notes, text
from tests.tracker.scenes import HEIGHT, WIDTH, Mask, Scene, bouncing_board, make_scene
from tracker import cli
from tracker import tracker as tracker_module
from tracker.embedded.backend import EmbeddedBackend
from tracker.interface import Found, TrackerBackend

CUT = 12


@pytest.fixture
def two_shots(scene: Scene, tmp_path: Path) -> Run:
    """The board, then from frame 12 on the same board in another place."""
    other = np.ascontiguousarray(textured(HEIGHT, WIDTH, 77)[..., ::-1]) // 2
    frames = [
        frame if index < CUT else np.where(scene.truth[index][..., None], frame, other).astype(np.uint8)
        for index, frame in enumerate(scene.frames)
    ]
    return ingest(write_clip(tmp_path / "two.mp4", frames), tmp_path / "run2")


def test_a_shot_without_a_box_is_black_and_a_line_says_so(two_shots: Run, scene: Scene) -> None:
    result = CliRunner().invoke(cli.command, ["--run", str(two_shots.dir), "--bbox", text(scene, 0)])
    assert "no box in the shot of frames 12 to 23" in result.output and "--correct" in result.output
    assert [mask.any() for mask in masks_of(two_shots)] == [True] * CUT + [False] * CUT
    assert notes(two_shots)["cuts"] == [CUT]


def test_each_shot_is_tracked_from_its_own_box(two_shots: Run, scene: Scene) -> None:
    invoke(two_shots, "--bbox", text(scene, 0), "--correct", f"20:{text(scene, 20)}")
    assert all(mask.any() for mask in masks_of(two_shots))


def test_cuts_none_follows_on_and_a_list_cuts_where_it_says(run: Run, scene: Scene) -> None:
    invoke(run, "--bbox", text(scene, 0), "--cuts", "none")
    assert all(mask.any() for mask in masks_of(run)) and notes(run)["cuts"] == []
    invoke(run, "--bbox", text(scene, 0), "--cuts", "6,18")
    assert [mask.any() for mask in masks_of(run)] == [True] * 6 + [False] * 18
    assert notes(run)["cuts"] == [6, 18]
    with pytest.raises(UsageError, match="auto, none, a list"):
        invoke(run, "--bbox", text(scene, 0), "--cuts", "often")


class Patchy(EmbeddedBackend):
    """Gives every mask a hole of 4 px and a speck of 9 px."""

    def track(self, *arguments: Any) -> Any:
        for found in super().track(*arguments):
            mask = np.zeros_like(found.mask)
            mask[40:80, 40:80] = True
            mask[50:52, 50:52] = False
            mask[5:8, 5:8] = True
            yield Found(found.frame_index, mask)


@pytest.fixture
def patchy(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*_: object, **__: object) -> TrackerBackend:
        return Patchy()

    monkeypatch.setattr(cli, "make_backend", make)


@pytest.mark.parametrize(
    ("options", "speck", "hole"),
    [
        ((), True, True),
        (("--keep", "largest"), False, True),
        (("--fill-holes", "4"), True, False),
        (("--fill-holes", "3"), True, True),
        (("--keep", "largest", "--fill-holes", "9"), False, False),
    ],
)
def test_masks_are_tidied_as_asked(
    run: Run, scene: Scene, patchy: None, options: tuple[str, ...], speck: bool, hole: bool
) -> None:
    invoke(run, "--bbox", text(scene, 0), *options)
    for mask in masks_of(run):
        assert (bool(mask[6, 6]), not mask[50, 50]) == (speck, hole)


def test_every_frame_has_a_status_and_lost_ones_are_black(tmp_path: Path) -> None:
    hidden = make_scene(24, hidden=range(10, 15))
    run = ingest(hidden.write(tmp_path / "hidden.mp4"), tmp_path / "run")
    said = invoke(run, "--bbox", text(hidden, 2), "--frame", "2", "--cuts", "none").output
    ranges = notes(run)["status"]["ranges"]
    assert [10, 14] in ranges["absent"]
    assert sum(last - first + 1 for spans in ranges.values() for first, last in spans) == 24
    assert "absent" in said
    assert not any(mask.any() for mask in masks_of(run)[10:15])


def test_verify_tracks_back_and_notes_the_agreement_of_the_two_passes(run: Run, scene: Scene) -> None:
    said = invoke(run, "--bbox", text(scene, 4), "--frame", "4", "--verify").output
    assert "verify: tracked back over" in said
    record = notes(run)["verify"][0]
    assert record["shot"] == [0, 23] and record["frames"] > 15 and record["mean"] > 0.8
    before = masks_of(run)
    invoke(run, "--bbox", text(scene, 4), "--frame", "4")
    assert "verify" not in notes(run)
    assert all(np.array_equal(a, b) for a, b in zip(before, masks_of(run), strict=True))


def test_the_tracker_forgets_how_to_tidy_with_the_clip(run: Run, scene: Scene) -> None:
    tracker = tracker_module.SkateboardTracker(Patchy())
    for keep, parts in (("largest", False), (None, True)):
        tracker.init_video(run.source)
        tracker.add_initial_prompt(0, scene.box(0))
        if keep:
            tracker.set_cleanup("largest", 0)
        assert {bool(mask[6, 6]) for _, mask in tracker.propagate()} == {parts}


def two_sizes(index: int) -> Mask:
    """A board from frame 12 on, before that one a tenth as large."""
    whole = bouncing_board(index)
    if index >= CUT:
        return whole
    small = np.zeros_like(whole)
    small[64:73, 30 + index : 39 + index] = True
    return small


def test_an_area_that_jumps_at_a_cut_is_not_suspicious_and_without_the_cut_it_is(tmp_path: Path) -> None:
    sizes = make_scene(24, two_sizes)
    run = ingest(sizes.write(tmp_path / "sizes.mp4"), tmp_path / "run")
    boxes = ("--bbox", text(sizes, 0), "--correct", f"{CUT}:{text(sizes, CUT)}")
    invoke(run, *boxes, "--cuts", "none")
    assert notes(run)["status"]["ranges"]["suspicious:area-jump"][0][0] == CUT
    said = invoke(run, *boxes, "--cuts", str(CUT)).output
    assert notes(run)["status"]["ranges"] == {"tracked": [[0, 23]]}
    assert "tracked 24 of 24 frames\n" in said
