"""The options of python -m tracker: each is documented with an example, what is mistyped is refused, and no torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import UsageError
from handoff.masks import read_masks
from handoff.places import Place, Point, Prompt, read_prompts
from handoff.run import Run
from runner.process import ROOT
from tests.tracker.helpers import Scene, invoke, iou, make_scene, masks_of, text
from tracker import SkateboardTracker
from tracker.cli import command, parse_correction, parse_point
from tracker.selection import make_backend
from tracker.tracker import Request


def test_help_shows_every_option_with_an_example() -> None:
    shown = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert len(options) >= 12
    for option in options:
        example = (option.help or "").partition("e.g. ")[2]
        assert any(name in example.split() for name in option.opts), option.opts
        assert example.split("  [")[0] in shown


def test_points_and_corrections_are_read_as_they_are_written() -> None:
    assert parse_point("190,220") == parse_point("190,220,1") == Point(190, 220, 1)
    assert parse_point("190.5, 260, 0") == Point(190.5, 260, 0)
    correction = parse_correction("50:310,190,420,230")
    assert correction.frame == 50 and correction.box and correction.box.as_list() == [310, 190, 420, 230]


@pytest.mark.parametrize("wrong", ["190", "190,220,2", "a,b", "1,2,3,4", "nan,5", ""])
def test_a_mistyped_point_is_shown_with_the_right_form(wrong: str) -> None:
    with pytest.raises(UsageError, match="x,y"):
        parse_point(wrong)


@pytest.mark.parametrize("wrong", ["310,190,420,230", "x:310,190,420,230", "-1:1,2,3,4", "50:1,2,3"])
def test_a_mistyped_correction_is_shown_with_the_right_form(wrong: str) -> None:
    with pytest.raises(UsageError, match="x1,y1,x2,y2"):
        parse_correction(wrong)


def test_the_embedded_tracker_starts_anew_at_a_correction_and_not_before(run: Run, scene: Scene) -> None:
    invoke(run, "--bbox", text(scene, 0), "--backend", "embedded")
    before = list(read_masks(run.path("mask.mp4")))
    invoke(run, "--bbox", text(scene, 0), "--correct", "12:100,20,140,50", "--backend", "embedded")
    after = list(read_masks(run.path("mask.mp4")))
    assert all(np.array_equal(a, b) for a, b in zip(before[:12], after[:12], strict=True))
    rows, columns = np.nonzero(after[12])
    assert rows.size and (columns.min(), rows.min()) >= (100, 20) and (columns.max(), rows.max()) < (140, 50)
    assert not np.array_equal(before[13], after[13])
    prompt = read_prompts(run)["object"]
    assert [place.frame for place in prompt.places] == [0, 12]


def test_a_correction_before_the_prompt_begins_the_backward_pass(run: Run, scene: Scene) -> None:
    invoke(run, "--bbox", text(scene, 12), "--frame", "12", "--correct", f"4:{text(scene, 4)}")
    first = list(read_masks(run.path("mask.mp4")))
    invoke(run, "--bbox", text(scene, 4), "--frame", "4", "--correct", f"12:{text(scene, 12)}")
    assert all(np.array_equal(a, b) for a, b in zip(first, read_masks(run.path("mask.mp4")), strict=True))
    assert first[0].any()


def test_the_embedded_tracker_refuses_points_and_names_the_one_that_takes_them(run: Run) -> None:
    with pytest.raises(UsageError, match="--backend sam2"):
        invoke(run, "--point", "60,70", "--backend", "embedded")
    assert not run.path("prompts.json").exists()


@pytest.mark.parametrize("option", [("--model", "tiny"), ("--device", "cuda"), ("--compile",)])
def test_an_option_that_only_sam_2_knows_is_not_ignored(run: Run, scene: Scene, option: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"is for SAM 2\.1"):
        invoke(run, "--bbox", text(scene, 0), "--backend", "embedded", *option)


def test_without_a_new_prompt_the_stored_one_is_used_with_all_it_has(run: Run, scene: Scene) -> None:
    invoke(run, "--bbox", text(scene, 0), "--correct", f"9:{text(scene, 9)}", "--check")
    invoke(run)
    prompt = read_prompts(run)["object"]
    assert isinstance(prompt, Prompt) and [place.frame for place in prompt.corrections] == [9]
    invoke(run, "--correct", f"11:{text(scene, 11)}")
    assert [place.frame for place in read_prompts(run)["object"].places] == [0, 11]


def test_a_shot_without_a_place_is_black_and_nothing_crosses_a_cut(run: Run, scene: Scene) -> None:
    tracker = SkateboardTracker("embedded")
    tracker.init_video(run.source)
    tracker.add_initial_prompt(10, scene.box(10))
    tracker.request = replace(tracker.request, shots=(range(0, 8), range(8, 16), range(16, 24)))
    found = [mask.any() for _, mask in tracker.propagate_yield()]
    assert found == [False] * 8 + [True] * 8 + [False] * 8
    tracker.add_initial_prompt(20, scene.box(20))
    assert [mask.any() for _, mask in tracker.propagate_yield()] == [False] * 8 + [True] * 16
    assert tracker.lost_frames == list(range(8))


def test_two_places_on_one_frame_are_refused(run: Run, scene: Scene) -> None:
    tracker = SkateboardTracker(make_backend("embedded"))
    tracker.init_video(run.source)
    with pytest.raises(UsageError, match="frame 3 is given twice"):
        tracker.request = Request((Place(3, points=(Point(1, 2),)), Place(3, points=(Point(1, 2),))))


def test_the_embedded_tracker_imports_no_torch(run: Run, scene: Scene) -> None:
    code = (
        "import sys\nfrom tracker.cli import command\n"
        "command.main(sys.argv[1:], standalone_mode=False)\n"
        "sys.exit(sorted({'torch', 'sam2', 'torchvision', 'hydra', 'PIL'} & set(sys.modules)) or 0)"
    )
    arguments = ["--run", str(run.dir), "--bbox", text(scene, 0), "--backend", "embedded"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_clip_that_is_given_becomes_the_run_and_check_stops_after_the_prompt(
    clip: Path, scene: Scene, tmp_path: Path
) -> None:
    run = Run(tmp_path / "runs" / "new", {})
    invoke(run, "-i", str(clip), "--bbox", text(scene, 3), "--frame", "3", "--check")
    assert sorted(path.name for path in run.dir.iterdir() if path.name[0] != ".") == [
        "prompts.json",
        "run.json",
        "source.mp4",
    ]
    run = Run.open(run.dir)
    assert (run.info.width, run.info.height, run.info.frames) == (160, 120, 24)
    assert read_prompts(run)["object"].frame == 3
    assert invoke(run).output and run.path("mask.mp4").exists()


def test_force_tracks_again_where_nothing_has_changed(run: Run, scene: Scene) -> None:
    invoke(run, "--bbox", text(scene, 0))
    assert "nothing has changed" in invoke(run).output
    written = run.path("mask.mp4").stat().st_mtime_ns
    said = invoke(run, "--force").output
    assert "nothing has changed" not in said and "object found in 24 of 24 frames" in said
    assert run.path("mask.mp4").stat().st_mtime_ns > written


def test_force_lets_a_run_begin_anew_with_another_clip(run: Run, scene: Scene, tmp_path: Path) -> None:
    other = make_scene(9).write(tmp_path / "other.mp4")
    box = ("--bbox", text(scene, 0))
    with pytest.raises(UsageError, match="holds another clip"):
        invoke(run, "-i", str(other), *box)
    invoke(run, "-i", str(other), *box, "--force")
    assert Run.open(run.dir).info.frames == len(masks_of(run)) == 9


def test_frame_says_which_frame_the_box_is_on(run: Run, scene: Scene) -> None:
    box = text(scene, 15)  # there it fits; on frame 0 it holds an end of the board
    invoke(run, "--bbox", box, "--frame", "15")
    assert iou(masks_of(run)[0], scene.truth[0]) > 0.85
    invoke(run, "--bbox", box, "--frame", "0")
    assert read_prompts(run)["object"].frame == 0
    assert iou(masks_of(run)[0], scene.truth[0]) < 0.6


def loaded(*arguments: str, code: str = "import tracker.cli") -> set[str]:
    """The packages that a Python has after these lines, with these arguments."""
    lines = f"import sys\ntry:\n    {code}\nfinally:\n    print({{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", lines, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


HEAVY = {"cv2", "numpy", "av", "torch", "sam2"}


def test_the_options_load_neither_opencv_nor_a_model_library() -> None:
    assert not HEAVY & loaded()
    assert "cv2" in loaded(code="from tracker import SkateboardTracker")  # the class needs it, and only then


@pytest.mark.parametrize(
    "wrong",
    [
        ("--help",),
        ("--run", "r", "--select", "--bbox", "1,2,3,4"),
        ("--run", "r", "--bbox", "1,2,3"),
        ("--run", "r", "--backend", "embedded", "--model", "tiny"),
        ("--run", "r", "--checkpoint", "nowhere.pt", "--config", "sam2.1_hiera_l.yaml"),
    ],
)
def test_what_is_mistyped_is_refused_before_anything_heavy_is_loaded(wrong: tuple[str, ...]) -> None:
    code = "from tracker.cli import command; command.main(sys.argv[1:], standalone_mode=False)"
    assert not HEAVY & loaded(*wrong, code=code)
