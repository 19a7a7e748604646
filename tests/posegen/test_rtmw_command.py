"""python -m posegen with RTMW, as it is typed: real footage, awkward footage, and what is asked for and not there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handoff.poses import check_poses, read_pose_header, read_poses
from handoff.run import Run
from handoff.video import probe, read_frames
from posegen.onnx_session import gpu_problem
from runner.process import ROOT
from tests.helpers import textured, write_clip
from tests.posegen.rtmw_weights import install

FRAMES = 12


@pytest.fixture
def weights(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny RTMW-l and the real YOLOX-nano in a models folder of the test's own; returns the registry."""
    registry = tmp_path / "weights.toml"
    install(tmp_path / "models", registry, monkeypatch)
    yolox = shared / "weights" / "yolox_nano.onnx"
    (tmp_path / "models" / "detect").mkdir()
    (tmp_path / "models" / "detect" / "yolox_nano.onnx").symlink_to(yolox)
    digest = hashlib.sha256(yolox.read_bytes()).hexdigest()
    with registry.open("a") as file:
        file.write(f"""
        [weights.yolox-nano]
        file = "detect/yolox_nano.onnx"
        url = "https://example.invalid/yolox_nano.onnx"
        sha256 = "{digest}"
        licence = "Apache-2.0"
        licence_url = "https://example.invalid/LICENSE"
        profiles = ["pose"]
        """)
    return registry


def posegen(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command in the stage's own environment where that is built, else in the tests'."""
    python = os.environ.get("POSEGEN_PYTHON", sys.executable)
    command = [python, "-m", "posegen", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def skater(shared: Path, tmp_path: Path) -> Path:
    frames = list(read_frames(shared / "clips" / "skateboarder.mp4", stop=136 + FRAMES))[136:]
    return write_clip(tmp_path / "skater.mp4", frames)


def test_with_its_weights_there_rtmw_does_the_work_by_itself(weights: Path, skater: Path, tmp_path: Path) -> None:
    done = posegen("--run", tmp_path / "run", "-i", skater)
    assert done.returncode == 0, done.stderr
    assert "posegen: RTMW-l rtmlib 0.0.16, ONNX Runtime" in done.stdout and "embedded" not in done.stdout
    run = Run.open(tmp_path / "run")
    check_poses(run.path("pose.json"), FRAMES)
    assert probe(run.path("pose.mp4")).frames == FRAMES and not run.path("person_mask.mp4").exists()
    model = read_pose_header(run.path("pose.json"))["model"]
    archive = tmp_path / "models" / "pose" / "rtmw-l.zip"
    assert (model["name"], model["embedded"]) == ("RTMW-l", False)
    assert model["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    for people in read_poses(run.path("pose.json")):
        (person,) = people
        assert np.isfinite(person.keypoints).all() and person.scores.max() <= 1
    again = posegen("--run", tmp_path / "run")
    assert again.returncode == 0 and "nothing has changed" in again.stdout


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"), [("grey.mp4", "libx264", "gray"), ("deep.mkv", "ffv1", "yuv420p16le")]
)
def test_grey_and_16_bit_footage_is_taken(
    weights: Path, skater: Path, tmp_path: Path, name: str, codec: str, pix_fmt: str
) -> None:
    options = {"crf": "10"} if codec == "libx264" else {"level": "3"}
    clip = write_clip(tmp_path / name, read_frames(skater), codec=codec, pix_fmt=pix_fmt, options=options)
    done = posegen("--run", tmp_path / "run", "-i", clip, "--backend", "rtmw")
    assert done.returncode == 0, done.stderr
    people = list(read_poses(tmp_path / "run" / "pose.json"))
    assert len(people) == FRAMES and all(len(each) == 1 for each in people)


def test_where_nobody_is_rtmw_invents_nobody(weights: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "empty.mp4", [textured(240, 320, seed) for seed in range(6)])
    done = posegen("--run", tmp_path / "run", "-i", clip, "--backend", "rtmw")
    assert done.returncode == 0 and "nobody was found" in done.stderr
    assert list(read_poses(tmp_path / "run" / "pose.json")) == [[]] * 6
    assert not any(frame.any() for frame in read_frames(tmp_path / "run" / "pose.mp4"))


@pytest.mark.skipif(gpu_problem() is None, reason="there is a GPU here")
def test_cuda_without_a_gpu_ends_in_exit_code_3_and_leaves_no_skeleton(
    weights: Path, skater: Path, tmp_path: Path
) -> None:
    done = posegen("--run", tmp_path / "run", "-i", skater, "--device", "cuda")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    assert "--device cuda: there is no NVIDIA driver here" in done.stderr or "the NVIDIA driver" in done.stderr
    assert not (tmp_path / "run" / "pose.json").exists()


def test_a_model_without_a_known_digest_ends_in_exit_code_3(weights: Path, skater: Path, tmp_path: Path) -> None:
    done = posegen("--run", tmp_path / "run", "-i", skater, "--model", "rtmw-x")
    assert done.returncode == 3
    assert "weights.toml has no file for rtmw-x, because no SHA-256 of it is known" in done.stderr


def test_a_wrong_network_ends_in_exit_code_2_and_leaves_no_skeleton(
    weights: Path, skater: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yolox = weights.read_text().split("[weights.yolox-nano]")[1]
    (tmp_path / "models" / "pose" / "rtmw-l.zip").unlink()
    (tmp_path / "models" / "pose").rmdir()
    other = tmp_path / "other"
    other.mkdir()
    install(other / "models", weights, monkeypatch, keypoints=17)
    (other / "models" / "detect").symlink_to(tmp_path / "models" / "detect")
    weights.write_text(f"{weights.read_text()}\n[weights.yolox-nano]{yolox}")
    done = posegen("--run", tmp_path / "run", "-i", skater)
    assert done.returncode == 2 and "is not an RTMW network of 133 keypoints: its outputs are [" in done.stderr
    assert not (tmp_path / "run" / "pose.json").exists()
