"""What is missing or wrong is said in one sentence of ours, with its exit code, before any work."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.docker import gpu
from tests.containers.helpers import BOX, TAG, Done, World, image, image_of

pytestmark = pytest.mark.container


def refused(done: Done, code: int, *words: str) -> None:
    """Assert the exit code, and that all that is said beside the runner's own notes is one sentence with the words."""
    assert done.returncode == code, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith(("runner: ", "docker: "))]
    assert len(said) == 1 and said[0].startswith("error: "), done.stderr
    for word in words:
        assert word in said[0]


@pytest.fixture
def no_runtime() -> None:
    if gpu.runtime():
        pytest.skip("this engine has an NVIDIA runtime")


def test_a_gpu_that_is_asked_for_and_cannot_be_had_is_our_sentence_not_the_engines(
    again: World, clip: Path, no_runtime: None
) -> None:
    with_gpu = again.elsewhere(again.data, GPU="on")
    done = with_gpu("extract_physics.py", "-i", clip, *BOX)
    refused(done, 3, "GPU=on, but the Docker engine has no NVIDIA runtime", "nvidia-ctk runtime configure", "GPU=off")
    assert not list(again.data.rglob("*.mp4"))
    refused(with_gpu("runner.docker", "up"), 3, "GPU=on", "GPU=off")


def test_a_gpu_that_nobody_has_heard_of_is_a_mistake_of_the_callers(again: World, clip: Path) -> None:
    done = again.elsewhere(again.data, GPU="perhaps")("extract_physics.py", "-i", clip, *BOX)
    refused(done, 2, "GPU=perhaps is not known", "auto, on, off")


def test_without_a_runtime_the_gpu_is_taken_away_and_that_is_said(
    again: World, undisturbed: Path, no_runtime: None
) -> None:
    said = "docker: no NVIDIA runtime answers, so the containers have no GPU (compose.cpu.yaml)"
    mask = shutil.copytree(undisturbed, again.run("clip")) / "mask.mp4"
    done = again("evaluate_iou.py", "--run", "clip", "--generated-mask", mask)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines().count(said) == 1
    assert "compose.cpu.yaml" in (again.root / ".env").read_text()
    done = again.elsewhere(again.data, GPU="off")("evaluate_iou.py", "--run", "clip", "--generated-mask", mask)
    assert done.returncode == 0 and said not in done.stderr


def test_without_an_image_the_command_that_makes_it_is_named(again: World, clip: Path) -> None:
    done = again.elsewhere(again.data, SKATE_TAG="none")("extract_physics.py", "-i", clip, *BOX)
    refused(done, 3, "there is no image skate-physics-tracker:none", "make build", "RUNNER=local")
    assert not list(again.data.rglob("*.mp4"))


@pytest.fixture
def other_code(world: World) -> Iterator[str]:
    """The tag of an image of the tracker that says that it was made from other code."""
    tag = f"{TAG}-other"
    with image_of(f"FROM {image('tracker')}\nLABEL skate-physics.code=other\n", f"skate-physics-tracker:{tag}"):
        yield tag


def test_an_image_of_other_code_is_not_used(again: World, clip: Path, other_code: str) -> None:
    done = again.elsewhere(again.data, SKATE_TAG=other_code)("extract_physics.py", "-i", clip, *BOX)
    refused(done, 3, f"skate-physics-tracker:{other_code} was made from other code", "'other'", "make build")
    assert not list(again.data.rglob("*.mp4"))


def test_a_server_by_address_and_a_window_are_not_for_containers(again: World, undisturbed: Path, clip: Path) -> None:
    options = ("--run", undisturbed, "--prompt", "drone", "--server", "127.0.0.1:8188")
    refused(again("generate_reskin.py", *options), 2, "--server 127.0.0.1:8188 cannot be reached", "RUNNER=local")
    refused(again("extract_physics.py", "-i", clip, "--select"), 3, "--select opens a window", "make frame")


def test_a_stage_without_an_image_cannot_be_built(world: World) -> None:
    refused(world("runner.docker", "build", "selector"), 2, "there is no image for 'selector'", "posegen, tracker")


@pytest.mark.parametrize("name", ["cl:ip.mp4", "none.mp4"])
def test_a_file_that_cannot_be_shown_to_a_container_is_named(again: World, clip: Path, name: str) -> None:
    path = again.data / name
    if name.startswith("cl:"):
        path.write_bytes(clip.read_bytes())
        words = (2, f"cannot mount '{path}'", "colon", "rename it")
    else:
        words = (2, f"there is no file {path}")
    refused(again("extract_physics.py", "-i", path, *BOX), *words)
    assert not (again.run("clip") / "run.json").exists()


def test_a_picture_or_a_report_straight_under_tmp_is_refused_and_below_it_is_not(
    again: World, clip: Path, undisturbed: Path
) -> None:
    refused(
        again("runner.tools", "frame", "-i", clip, "-o", "/tmp/skate-frame.png"),
        2,
        "'/tmp' cannot be shown",
        "name a folder",
    )
    mask = undisturbed / "mask.mp4"
    done = again("evaluate_iou.py", "-original", mask, "--generated-mask", mask, "--output", "/tmp")
    refused(done, 2, "'/tmp' cannot be shown", "RUNNER=local")
    picture = again.data / "new" / "frame.png"
    done = again("runner.tools", "frame", "-i", clip, "-o", picture)
    assert done.returncode == 0 and picture.stat().st_size > 1000, done.stderr
