"""The evaluator's options: each with an example and in the forms people type; the box it takes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from evaluator.cli import command
from handoff.masks import MaskSequenceWriter
from runner.process import ROOT
from tests.helpers import DemoRun, Product, moving_square, square_position, write_clip


def test_help_shows_every_option_with_an_example() -> None:
    shown = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert len(options) == 21
    for option in options:
        example = (option.help or "").partition("e.g. ")[2]
        assert any(name in example.split() for name in option.opts), option.opts
        assert example.split("  [")[0] in shown


def test_options_and_refusals_need_neither_opencv_nor_torch_nor_the_tracker(tmp_path: Path) -> None:
    """A Python with click and nothing else of the stage's."""
    (tmp_path / "mask.mp4").touch()
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("cv2", "torch", "numpy", "av", "onnxruntime"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Refuse())
from evaluator.__main__ import command, main
main(command, sys.argv[1:])
"""
    said = {}
    for arguments in (["--help"], ["-original", "none.mp4"], ["-original", "mask.mp4"], ["--threshold", "2"]):
        call = [sys.executable, "-c", code, *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
        said[arguments[-1]] = (done.returncode, done.stdout + done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
    assert said["--help"][0] == 0 and "-original mask.mp4" in said["--help"][1]
    assert said["none.mp4"] == (2, said["none.mp4"][1]) and "there is no mask none.mp4" in said["none.mp4"][1]
    assert said["mask.mp4"][0] == 2 and "give either -generated VIDEO" in said["mask.mp4"][1]
    assert said["2"][0] == 2 and "--threshold" in said["2"][1]


def write_masks(folder: Path, frames: int, width: int = 160, height: int = 120, *, empty: bool = False) -> Path:
    """The moving square's exact masks (or empty ones) as mask.mp4 and mask/."""
    with MaskSequenceWriter(folder / "mask.mp4", folder / "mask", Fraction(25), width, height) as writer:
        for index in range(frames):
            mask = np.zeros((height, width), bool)
            x, y = square_position(index)
            mask[y : y + 32, x : x + 32] = not empty
            writer.write(mask)
    return folder / "mask.mp4"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "output.mp4", moving_square(12))


def frame_lines(text: str) -> list[str]:
    return re.findall(r"^Frame .*$", text, re.M)


@pytest.mark.stage
@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("box", ["20,40,52,72", "[20, 40, 52, 72]"])
def test_one_dash_or_two_and_a_box_in_brackets_or_not(
    product: Product, clip: Path, tmp_path: Path, dashes: str, box: str
) -> None:
    mask = write_masks(tmp_path, 12)
    options = (f"{dashes}original", mask, f"{dashes}generated", clip, f"{dashes}bbox", box)
    done = product("evaluate_iou.py", *options)
    assert done.returncode in (0, 1), done.stderr
    assert len(frame_lines(done.stdout)) == 12
    assert "box 20,40,52,72 on frame 0 (from flag)" in done.stdout
    assert (tmp_path / "report" / "overlay.mp4").exists()


@pytest.mark.stage
def test_without_a_box_or_a_run_the_first_mask_gives_it(product: Product, clip: Path, tmp_path: Path) -> None:
    write_masks(tmp_path, 12)
    for original in ("mask.mp4", "mask"):
        done = product("evaluate_iou.py", "-original", tmp_path / original, "-generated", clip)
        assert "box 20,40,52,72 on frame 0 (from mask)" in done.stdout, done.stderr


@pytest.mark.stage
def test_a_mask_against_a_mask_needs_no_tracker(product: Product, tmp_path: Path) -> None:
    mask = write_masks(tmp_path, 12)
    done = product("evaluate_iou.py", "-original", mask, "--generated-mask", tmp_path / "mask")
    assert done.returncode == 0 and "Minimum IoU = 1.0000" in done.stdout
    assert done.stdout.splitlines()[-1] == "SUCCESS: Zero-Clipping Benchmark Passed."
    other = write_masks(tmp_path / "other", 11)
    done = product("evaluate_iou.py", "-original", mask, "--generated-mask", other)
    assert done.returncode == 2 and "12 frames" in done.stderr and "11" in done.stderr


@pytest.mark.stage
def test_another_number_of_frames_is_refused_and_never_trimmed(product: Product, clip: Path, tmp_path: Path) -> None:
    for frames in (11, 13):
        done = product("evaluate_iou.py", "-original", write_masks(tmp_path, frames), "-generated", clip)
        assert done.returncode == 2
        assert f"has {frames} frames, the clip has 12" in done.stderr
        assert not frame_lines(done.stdout) and not (tmp_path / "report").exists()


@pytest.mark.stage
def test_another_size_is_refused(product: Product, clip: Path, tmp_path: Path) -> None:
    done = product("evaluate_iou.py", "-original", write_masks(tmp_path, 12, width=162), "-generated", clip)
    assert done.returncode == 2 and "162x120 px, the clip is 160x120" in done.stderr


@pytest.mark.stage
def test_an_original_that_is_empty_throughout_is_refused(product: Product, clip: Path, tmp_path: Path) -> None:
    done = product("evaluate_iou.py", "-original", write_masks(tmp_path, 12, empty=True), "-generated", clip)
    assert done.returncode == 2 and "empty in every frame" in done.stderr


@pytest.mark.stage
@pytest.mark.parametrize("box", ["150,40,170,72", "52,72,20,40", "20,40,20,72"])
def test_a_bad_box_is_refused(product: Product, clip: Path, tmp_path: Path, box: str) -> None:
    mask = write_masks(tmp_path, 12)
    done = product("evaluate_iou.py", "-original", mask, "-generated", clip, "-bbox", box)
    assert done.returncode == 2 and f"the box {box}" in done.stderr


@pytest.mark.stage
@pytest.mark.server
def test_outside_its_run_the_demo_scores_the_same(demo_run: DemoRun, product: Product, tmp_path: Path) -> None:
    shutil.copy(demo_run.folder / "mask.mp4", tmp_path)
    shutil.copy(demo_run.reskin / "output.mp4", tmp_path)
    prompt = re.search(r"box (\S+) on frame (\d+) \(from run\)", demo_run.result.stdout)
    assert prompt
    options = ("-original", tmp_path / "mask.mp4", "-generated", tmp_path / "output.mp4")
    done = product("evaluate_iou.py", *options, "-bbox", prompt.group(1), "--frame", prompt.group(2))
    assert done.returncode == demo_run.result.returncode
    assert frame_lines(done.stdout) == frame_lines(demo_run.result.stdout)


@pytest.mark.stage
@pytest.mark.server
def test_the_demos_skater_is_found_again_in_the_new_clip_and_compared(demo_run: DemoRun) -> None:
    report = json.loads((demo_run.reskin / "report" / "iou.json").read_text())
    assert (demo_run.reskin / "pose.json").is_file() and report["how"]["poses_compared"]
    similarity = [each["oks"] for each in report["frames"] if each["oks"] is not None]
    assert len(similarity) == len(report["frames"]) and sum(similarity) / len(similarity) > 0.8
