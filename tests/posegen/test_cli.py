"""python -m posegen as it is typed: options, refusals, "as another run", and RTMW on real and on awkward footage."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from handoff.errors import InputError, MissingError, UsageError
from handoff.places import read_prompts
from handoff.poses import check_poses, read_header, read_poses
from handoff.run import Run
from handoff.video import probe, read_frames
from posegen.cli import FOUND_BY, OPTIONS, command
from posegen.onnx_session import gpu_problem
from runner.process import ROOT
from tests.helpers import HANG_S, textured, write_clip
from tests.posegen.helpers import install_networks, install_rtmw, two_people

HEAVY = ("cv2", "onnxruntime", "rtmlib", "mediapipe", "torch", "av", "numpy")


def test_the_command_loads_nothing_heavy() -> None:
    code = f"import sys, posegen, posegen.cli; print([each for each in {HEAVY} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--help"], "Find the object and the skater"),
        (["--person", "here"], "the person 'here' is not frame:x,y"),
        (["--object", "skatebord"], "perhaps you meant 'skateboard'"),
        (["--pose-backend", "embedded", "--pose-model", "rtmw-l"], "--pose-model rtmw-l is for RTMW"),
        (["--again-as", "nowhere", "--every", "2"], "--every does not go with --again-as"),
    ],
)
def test_help_and_refusals_need_no_opencv(arguments: list[str], said: str, tmp_path: Path) -> None:
    without = "import runpy, sys; sys.modules['cv2'] = sys.modules['numpy'] = None; "
    line = [
        sys.executable,
        "-c",
        without + "runpy.run_module('posegen', run_name='__main__')",
        "--run",
        str(tmp_path / "run"),
        *arguments,
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said in done.stdout + done.stderr and done.returncode == (0 if arguments == ["--help"] else 2)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option[0][0]))
def test_every_option_has_an_example_that_names_it(option: tuple[tuple[str, ...], dict[str, object], str]) -> None:
    assert "e.g." in option[2] and any(name in option[2].split("e.g.")[1] for name in option[0] if name[0] == "-")


def test_what_extract_calls_the_backend_and_its_model_goes_through_by_name() -> None:
    names = {each.name: each.opts for each in command.params}
    assert names["backend"] == ["--pose-backend", "--backend"] and names["model"] == ["--pose-model", "--model"]


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_networks(tmp_path, monkeypatch)
    return tmp_path / "models"


def run(folder: Path, clip: Path, *options: object) -> Run:
    command.main(["--run", str(folder), "-i", str(clip), *map(str, options)], standalone_mode=False)
    return Run.open(folder)


def middles(made: Run) -> list[float | None]:
    return [people[0].box.centre[0] if people else None for people in read_poses(made.path("pose.json"))]


@pytest.fixture
def source(networks: Path, tmp_path: Path) -> Run:
    """A run made with options that are not the usual ones."""
    options = ("--pose-backend", "rtmw", "--smooth", "none", "--every", "1")
    return run(tmp_path / "source", two_people(tmp_path / "source.mp4", "skateboard"), *options)


def test_another_clip_is_looked_at_exactly_as_the_runs_own_was(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = two_people(tmp_path / "painted.mp4", "kite")  # no skateboard says who the skater is
    again = run(tmp_path / "again", clip, "--again-as", source.dir, "--device", "cpu")
    headers = [read_header(each.path("pose.json")) for each in (source, again)]
    assert headers[0] == headers[1] and headers[1]["model"]["name"] == "RTMW-l"
    assert headers[1]["smoothing"] == {"method": "none"}
    stages = again.manifest["stages"]
    assert stages["detect"]["params"] == source.manifest["stages"]["detect"]["params"]
    place = source.manifest["stages"]["posegen"]["notes"]["skater"]
    assert stages["posegen"]["params"]["person"] == f"{place['frame']}:{','.join(map(str, place['box']))}"
    for first, other in zip(middles(source), middles(again), strict=True):
        assert first == other if first is None or other is None else abs(first - other) < 8 and other < 80
    assert set(read_prompts(again)) == {"skater"} and "kite" not in capsys.readouterr().err
    before = again.path("pose.json").stat().st_mtime_ns
    again = run(tmp_path / "again", clip, "--again-as", source.dir)
    assert again.path("pose.json").stat().st_mtime_ns == before and "nothing has changed" in capsys.readouterr().out


def test_an_object_that_was_painted_over_is_not_missed(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "again", two_people(tmp_path / "painted.mp4", None), "--again-as", source.dir)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("frames", "why"), [(12, "nobody was detected at"), (2, "is not in the clip: it has 2 frames")]
)
def test_where_nobody_stands_there_the_skater_is_whoever_there_is(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], frames: int, why: str
) -> None:
    clip = two_people(tmp_path / "painted.mp4", "kite", frames, skater=False)
    again = run(tmp_path / "again", clip, "--again-as", source.dir)
    assert why in capsys.readouterr().err
    assert all(middle is not None and middle > 100 for middle in middles(again))


def test_without_its_detector_or_network_nothing_else_is_taken(source: Run, networks: Path, tmp_path: Path) -> None:
    clip = two_people(tmp_path / "painted.mp4", "kite")
    for file, why in (("pose/rtmw-l.zip", "make weights PROFILE=pose"), ("detect/yolox_nano.onnx", "make weights")):
        (networks / file).unlink()
        with pytest.raises(MissingError, match=why):
            run(tmp_path / "again", clip, "--again-as", source.dir)


GIVEN = {
    "--object": "kite",
    "--person": "0:1,2",
    "--every": "2",
    "--detector": "s",
    "--no-detector": None,
    "--pose-backend": "rtmw",
    "--pose-model": "rtmw-l",
    "--smooth": "savgol",
    "--prompt-only": None,
}


@pytest.mark.parametrize("option", GIVEN)
def test_what_another_run_says_is_not_said_again(option: str, tmp_path: Path) -> None:
    assert {each[0][0] for each in FOUND_BY} | {"--prompt-only"} == set(GIVEN)
    value = GIVEN[option]
    with pytest.raises(UsageError, match=f"^{option} does not go with --again-as"):
        run(tmp_path / "run", tmp_path / "a.mp4", "--again-as", tmp_path, option, *([value] if value else []))


def test_a_run_to_do_as_that_is_none_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        run(tmp_path / "run", tmp_path / "a.mp4", "--again-as", tmp_path)
    assert not (tmp_path / "run").exists()


def test_one_euro_is_no_smoothing_any_more(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="one-euro"):
        run(tmp_path / "run", tmp_path / "a.mp4", "--smooth", "one-euro")


FRAMES = 12


@pytest.fixture
def weights(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny RTMW-l and the real YOLOX-nano in a models folder of the test's own; returns the registry."""
    registry = tmp_path / "weights.toml"
    install_rtmw(tmp_path / "models", registry, monkeypatch)
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
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANG_S)


@pytest.fixture
def skater(shared: Path, tmp_path: Path) -> Path:
    frames = list(read_frames(shared / "clips" / "skateboarder.mp4", stop=136 + FRAMES))[136:]
    return write_clip(tmp_path / "skater.mp4", frames)


def test_with_its_weights_there_rtmw_does_the_work_by_itself(weights: Path, skater: Path, tmp_path: Path) -> None:
    done = posegen("--run", tmp_path / "run", "-i", skater)
    assert done.returncode == 0, done.stderr
    assert "posegen: RTMW-l rtmlib 0.0.16, ONNX Runtime" in done.stdout and "embedded" not in done.stdout
    run = Run.open(tmp_path / "run")
    check_poses(run.path("pose.json"), run.info)
    assert probe(run.path("pose.mp4")).frames == FRAMES and not run.path("person_mask.mp4").exists()
    model = read_header(run.path("pose.json"))["model"]
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
    done = posegen("--run", tmp_path / "run", "-i", clip, "--pose-backend", "rtmw")
    assert done.returncode == 0, done.stderr
    people = list(read_poses(tmp_path / "run" / "pose.json"))
    assert len(people) == FRAMES and all(len(each) == 1 for each in people)


def test_where_nobody_is_rtmw_invents_nobody(weights: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "empty.mp4", [textured(240, 320, seed) for seed in range(6)])
    done = posegen("--run", tmp_path / "run", "-i", clip, "--pose-backend", "rtmw")
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
    install_rtmw(other / "models", weights, monkeypatch, keypoints=17)
    (other / "models" / "detect").symlink_to(tmp_path / "models" / "detect")
    weights.write_text(f"{weights.read_text()}\n[weights.yolox-nano]{yolox}")
    done = posegen("--run", tmp_path / "run", "-i", skater)
    assert done.returncode == 2 and "is not an RTMW network of 133 keypoints: its outputs are [" in done.stderr
    assert not (tmp_path / "run" / "pose.json").exists()
