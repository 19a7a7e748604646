"""Models in containers: which is missing and how to get it, and those in MODELS_DIR are used, read-only as they are."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from handoff.masks import read_masks
from tests.containers.helpers import BOX, World
from tests.helpers import write_clip
from tests.posegen.helpers import install_rtmw, scene, write_models

pytestmark = pytest.mark.container


def test_an_image_without_weights_says_which_and_how(again: World, clip: Path) -> None:
    done = again("extract_physics.py", "-i", clip, *BOX[:2], "--backend", "sam2", "--model", "tiny")
    assert done.returncode == 3
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("error: ") and "sam2.1_hiera_tiny.pt" in said and "make weights PROFILE=tracker-tiny" in said
    models = again.settings["MODELS_DIR"]
    assert models in said, "the folder's name in the container means nothing to the caller"
    done = again("extract_physics.py", "-i", clip, *BOX, "--pose-backend", "rtmw")
    assert done.returncode == 3
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("error: ") and models in said and "make weights PROFILE=" in said
    assert not (again.run("clip") / "mask.mp4").exists() and not (again.run("clip") / "pose.json").exists()


@pytest.fixture
def small_networks(again: World, place: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A detector of colours and a tiny RTMW, in its official archive, where a registry of the test's own says."""
    folder = again.data
    install_rtmw(folder / "models", folder / "rtmw.toml", monkeypatch)
    detector = folder / "detector"
    write_models(detector)
    shutil.copytree(detector / "detect", folder / "models" / "detect")
    entries = (detector / "weights.toml").read_text()
    [yolox] = [each for each in entries.split("[weights.") if each.startswith("yolox-nano]")]
    registry = (folder / "rtmw.toml").read_text() + f"\n[weights.{yolox}".replace('["detect"]', '["pose"]')
    (folder / "weights.toml").write_text(registry)
    settings = {"MODELS_DIR": str(folder / "models"), "WEIGHTS_TOML": str(folder / "weights.toml")}
    return again.elsewhere(folder, **settings)


def test_the_detector_and_rtmw_are_used_from_a_models_folder_that_is_read_only(small_networks: World) -> None:
    frames = (scene([("person", 40 + 3 * index, 40), ("skateboard", 40 + 3 * index, 85)]) for index in range(8))
    clip = write_clip(small_networks.data / "colours.mp4", frames)
    before = sorted((small_networks.data / "models").rglob("*"))
    options = ("--backend", "embedded", "--every", "1", "--pose-backend", "rtmw", "--device", "cpu")
    done = small_networks("extract_physics.py", "-i", clip, *options)
    assert done.returncode == 0, done.stderr
    assert "cannot be written, so rtmw-l.zip is unpacked each time" in done.stderr
    folder = small_networks.run("colours")
    prompt = json.loads((folder / "prompts.json").read_text())["object"]
    assert prompt["from"] == "detector" and prompt["class"] == "skateboard"
    for index, mask in enumerate(read_masks(folder / "mask.mp4")):
        assert abs(mask.nonzero()[1].mean() - (40 + 3 * index)) < 8
    made = json.loads((folder / "run.json").read_text())["stages"]["posegen"]
    assert made["params"]["backend"] == "rtmw"
    assert sorted((small_networks.data / "models").rglob("*")) == before


def test_sam_2_is_used_with_a_checkpoint_from_the_models_folder(again: World, place: Path) -> None:
    pytest.importorskip("sam2", reason="the tests' environment has no sam2 to make a small checkpoint with")
    from tests.tracker.sam2.helpers import BOXED, IMAGE_SIZE, TINY, environment, moving_scene, write_checkpoint

    checkpoint = again.data / "random.pt"
    digest = write_checkpoint(checkpoint, IMAGE_SIZE)
    settings = environment(again.data / "home", (checkpoint, digest))
    link = again.data / "home" / "models" / "sam2.1_hiera_tiny.pt"
    link.unlink()  # a link out of the models folder leads nowhere in a container
    checkpoint.rename(link)
    clip = write_clip(again.data / "scene.mp4", moving_scene(8))
    done = again.elsewhere(again.data, **settings, OMP_NUM_THREADS="1")("extract_physics.py", "-i", clip, *BOXED, *TINY)
    assert done.returncode == 0, done.stderr
    assert "tracker: SAM 2.1 Hiera tiny on cpu" in done.stdout
    made = json.loads((again.run("scene") / "run.json").read_text())["stages"]["tracker"]["params"]
    assert made["weights"] == digest


def test_the_real_detector_finds_the_board_by_its_name(again: World, shared: Path) -> None:
    yolox = shared / "weights" / "yolox_nano.onnx"
    real = shared / "clips" / "skateboarder.mp4"
    if not yolox.is_file() or not real.is_file():
        pytest.skip("there is no shared YOLOX-nano or no shared clip")
    from handoff.video import read_frames

    clip = write_clip(again.data / "skater.mp4", list(read_frames(real, stop=148))[136:])
    (again.data / "models" / "detect").mkdir(parents=True)
    shutil.copy(yolox, again.data / "models" / "detect")
    settings = {"MODELS_DIR": str(again.data / "models")}
    options = ("--object", "skateboard", "--backend", "embedded", "--pose-backend", "embedded")
    done = again.elsewhere(again.data, **settings)("extract_physics.py", "-i", clip, *options)
    assert done.returncode == 0, done.stderr
    prompt = json.loads((again.run("skater") / "prompts.json").read_text())["object"]
    assert prompt["from"] == "detector"
    assert hashlib.sha256(yolox.read_bytes()).hexdigest() in (again.run("skater") / "run.json").read_text()
