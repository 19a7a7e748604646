"""python -m tracker: where the box comes from, what run.json says, the skater's mask, cuts, tidied masks, the bars."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import InputError, UsageError
from handoff.ingest import ingest
from handoff.masks import MaskSequenceWriter, read_masks
from handoff.places import Box, Prompt, read_prompts, write_prompt
from handoff.run import Run
from runner.process import ROOT
from tests.helpers import textured, vouch_for, write_clip
from tests.tracker.helpers import HEIGHT, WIDTH, Mask, Scene, bouncing_board, invoke, make_scene, masks_of, notes, text
from tracker import cli, stage
from tracker import tracker as tracker_module
from tracker.cli import command
from tracker.embedded.backend import EmbeddedBackend
from tracker.interface import Found, TrackerBackend


def test_the_box_of_the_flag_is_kept_for_the_next_time(run: Run, scene: Scene) -> None:
    first = invoke(run, "--bbox", text(scene, 3), "--frame", "3")
    assert "embedded tracker" in first.output
    assert "found in 24 of 24 frames" in first.output
    assert read_prompts(run)["object"] == Prompt(Box(*scene.box(3)), 3, "flag")
    stage = json.loads((run.dir / "run.json").read_text())["stages"]["tracker"]
    assert stage["notes"]["frames_tracked"] == 24
    assert stage["notes"]["frames_lost"] == []
    assert "embedded" in stage["tools"]["tracker"]
    assert {"mask.mp4", "mask_skateboard"} <= {output["path"] for output in stage["outputs"]}
    again = CliRunner().invoke(command, ["--run", str(run.dir)], catch_exceptions=False)
    assert "nothing has changed" in again.output


def test_without_any_box_it_tells_how_to_give_one(run: Run) -> None:
    with pytest.raises(UsageError, match="--bbox x1,y1,x2,y2"):
        invoke(run)
    assert not run.path("mask.mp4").exists()


def test_a_stored_box_is_not_used_for_another_frame(run: Run, scene: Scene) -> None:
    write_prompt(run, "object", Prompt(Box(*scene.box(2)), 2, "detector"))
    with pytest.raises(UsageError, match="frame 5"):
        invoke(run, "--frame", "5")


@pytest.mark.parametrize(("box", "frame"), [("150,60,170,80", "0"), ("10,10,40,40", "24")])
def test_a_bad_prompt_is_refused_before_anything_is_written(run: Run, box: str, frame: str) -> None:
    with pytest.raises(InputError):
        invoke(run, "--bbox", box, "--frame", frame)
    assert not run.path("prompts.json").exists()
    assert not run.path("mask.mp4").exists()


def test_the_skaters_mask_never_shares_a_pixel_with_the_objects(run: Run, scene: Scene, tmp_path: Path) -> None:
    person = np.zeros(scene.truth[0].shape, bool)
    person[20:75, 30:70] = True  # stands over the upper part of the board
    info = run.info
    with MaskSequenceWriter(run.path("person_mask.mp4"), tmp_path / "p", info.fps, info.width, info.height) as writer:
        for _ in range(info.frames):
            writer.write(person)
    vouch_for(run.path("person_mask.mp4"))
    invoke(run, "--bbox", text(scene, 0))
    shared = 0
    for thing, human in zip(read_masks(run.path("mask.mp4")), read_masks(run.path("human_mask.mp4")), strict=True):
        assert np.array_equal(human, person & ~thing)
        shared += np.count_nonzero(person & thing)
    assert shared > 0  # they did touch
    assert len(list(run.path("mask_human").iterdir())) == 24


def test_without_a_person_mask_it_says_so_and_leaves_no_old_skater_mask(run: Run, scene: Scene) -> None:
    run.path("human_mask.mp4").write_bytes(b"of an earlier run")
    result = invoke(run, "--bbox", text(scene, 0))
    assert "no person_mask.mp4" in result.output
    assert not run.path("human_mask.mp4").exists()
    assert not run.path("mask_human").exists()


def test_a_person_mask_of_another_length_is_refused(run: Run, scene: Scene, tmp_path: Path) -> None:
    info = run.info
    with MaskSequenceWriter(run.path("person_mask.mp4"), tmp_path / "p", info.fps, info.width, info.height) as writer:
        writer.write(scene.truth[0])
    vouch_for(run.path("person_mask.mp4"))
    with pytest.raises(InputError, match="1 frames"):
        invoke(run, "--bbox", text(scene, 0))


def test_lost_frames_are_noted_and_said_as_a_person_would_write_them(tmp_path: Path) -> None:
    scene = make_scene(24, hidden=range(10, 15))
    run = ingest(scene.write(tmp_path / "hidden.mp4"), tmp_path / "run")
    said = invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--cuts", "none").output
    assert notes(run)["frames_lost"] == ["10-14"] and notes(run)["frames_tracked"] == 19
    assert "object found in 19 of 24 frames; lost in 10-14\n" in said


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

    monkeypatch.setattr(stage, "make_backend", make)


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
    invoke(run, "--bbox", text(scene, 4), "--frame", "4", "--no-verify")
    assert "verify" not in notes(run)
    assert all(np.array_equal(a, b) for a, b in zip(before, masks_of(run), strict=True))


def test_the_tracker_forgets_how_to_tidy_with_the_clip(run: Run, scene: Scene) -> None:
    tracker = tracker_module.SkateboardTracker(Patchy())
    for keep, parts in (("largest", False), (None, True)):
        tracker.init_video(run.source)
        tracker.add_initial_prompt(0, scene.box(0))
        if keep:
            tracker.request = replace(tracker.request, keep="largest")
        assert {bool(mask[6, 6]) for _, mask in tracker.propagate_yield()} == {parts}


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


def shown(run: Run, *options: str) -> dict[str, tuple[int, int]]:
    """Run the command with a terminal for its standard error: each bar's name, how far it was last seen, its total."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "tracker", "--run", str(run.dir), "--backend", "embedded", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # the other end was closed
            pass
    os.close(ours)
    assert process.returncode == 0, said
    lines = re.findall(r"([a-z][a-z ]*): +\d+%.*?(\d+)/(\d+)", said.decode())
    return {name: (int(done), int(total)) for name, done, total in lines}


@pytest.mark.parametrize(
    ("cuts", "backward", "names"),
    [("auto", 13, {"cuts", "tracker"}), ("none", 13, {"tracker"}), ("9", 4, {"tracker"})],
)
def test_every_pass_has_its_bar_and_the_bar_gets_to_its_end(
    run: Run, scene: Scene, cuts: str, backward: int, names: set[str]
) -> None:
    bars = shown(run, "--bbox", text(scene, 12), "--frame", "12", "--cuts", cuts)
    assert bars.pop("back from the prompt")[1] == backward  # and is gone before its end is drawn
    done, total = bars.pop("verify")
    assert done == total
    assert bars == dict.fromkeys(names, (24, 24))


def test_a_run_may_be_named_as_the_folder_of_its_masks(clip: Path, scene: Scene, tmp_path: Path) -> None:
    run = ingest(clip, tmp_path / "mask_skateboard")
    invoke(run, "--bbox", text(scene, 0))
    assert len(list(run.path("mask_skateboard").iterdir())) == 24 and run.source.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask_skateboard"]
