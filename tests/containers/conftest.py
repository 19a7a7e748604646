"""A real engine, the five images, one run of the demo clip and one of a small clip, each made once."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.docker import engine
from tests.containers.helpers import (
    BOX,
    DRAFT,
    PROJECT,
    STAGES,
    TAG,
    Done,
    World,
    as_json,
    base_image,
    containers,
    copy_checkout,
)
from tests.helpers import moving_square, write_clip

FRAMES = 24


@pytest.fixture(scope="session", autouse=True)
def an_engine() -> None:
    """Skip all of this folder where containers cannot be run."""
    reason = engine.problem()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="skate-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def world(an_engine: None, place: Path) -> Iterator[World]:
    """The images, made by make build's own command, and a checkout with the .env that it wrote."""
    settings = {"RUNNER": "docker", "SKATE_TAG": TAG, "COMPOSE_PROJECT_NAME": PROJECT, "GPU": "auto"}
    settings |= {"MODELS_DIR": str(place / "models"), "PYTHON_IMAGE": base_image()}
    made = World(place / "data", settings, copy_checkout(place / "checkout"))
    done = made("runner.docker", "build", timeout_s=1800)
    assert done.returncode == 0, done.stderr
    yield made
    made("runner.docker", "down")
    assert not containers(PROJECT), "a test left a container behind"


@pytest.fixture
def built_images(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images are there, and this process means them too."""
    monkeypatch.setenv("SKATE_TAG", TAG)


@pytest.fixture(scope="session")
def clip(place: Path) -> Path:
    """A clip of a moving square."""
    return write_clip(place / "clip.mp4", moving_square(FRAMES))


@pytest.fixture(scope="session")
def undisturbed(world: World, clip: Path) -> Path:
    """The run that extract_physics.py makes of the clip in containers: do not change it, copy it."""
    done = world("extract_physics.py", "-i", clip, *BOX)
    assert done.returncode == 0, done.stderr
    return world.run("clip")


@pytest.fixture
def again(world: World, place: Path) -> Iterator[World]:
    """The commands with an empty data folder of the test's own."""
    data = Path(tempfile.mkdtemp(prefix="data-", dir=place))
    data.chmod(0o755)
    yield world.elsewhere(data)
    shutil.rmtree(data)


@pytest.fixture(scope="session")
def docker_demo(world: World, demo_clip: Path, place: Path) -> tuple[World, list[Done]]:
    """The demo clip through the three root commands in containers, as make demo calls them: do not change it."""
    prompt = json.loads((demo_clip / "truth.json").read_text())["prompt"]
    box = ",".join(str(value) for value in prompt["box"])
    made = world.elsewhere(place / "demo")
    options = ("--bbox", box, "--frame", prompt["frame"], "--backend", "embedded")
    steps = [
        made("extract_physics.py", "-i", demo_clip / "demo.mp4", "--run", "demo", *options),
        made("generate_reskin.py", "--run", "demo", *DRAFT),
        made("evaluate_iou.py", "--run", "demo"),
    ]
    return made, steps


@pytest.fixture(scope="session")
def inside(world: World) -> dict[str, dict[str, object]]:
    """What a program finds in the container of each service, by name; see inside.py.

    Typed as a user types it: what confines a container is Compose's reading of compose.yaml.
    """
    script = Path(__file__).with_name("inside.py").read_text()
    return {
        stage: as_json(
            world.compose("run", "--rm", "--no-TTY", "--no-deps", "--entrypoint", "python", stage, "-c", script)
        )
        for stage in STAGES
    }


@pytest.fixture(scope="session")
def python() -> str:
    """A Python 3.11 that every user may run, as root's own may not be."""
    for folder in ("/usr/bin", "/usr/local/bin"):
        if os.access(f"{folder}/python3.11", os.X_OK):
            return f"{folder}/python3.11"
    return sys.executable
