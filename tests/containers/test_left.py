"""What commands leave: nothing, and what a killed one left is removed without touching one that runs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from runner.docker import compose
from tests.containers.helpers import PROJECT, World, engine, networks

pytestmark = pytest.mark.container


@pytest.fixture
def alive_and_gone() -> tuple[str, str]:
    """The marks of a process that runs (this one) and of one that is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return compose.mark(), compose.mark(gone.pid)


def test_make_down_removes_what_servers_wrote_but_a_running_commands(
    again: World, alive_and_gone: tuple[str, str]
) -> None:
    work = again.data / "comfyui"
    alive, gone, stranger = (work / name for name in (*alive_and_gone, compose.mark(1).replace("-", "1-", 1)))
    for folder in (alive, gone, stranger, work / "output"):
        folder.mkdir(parents=True)
        (folder / "window.png").touch()
    done = again.elsewhere(again.data, COMPOSE_PROJECT_NAME=f"{PROJECT}-none")("runner.docker", "down")
    assert done.returncode == 0, done.stderr
    assert sorted(work.iterdir()) == sorted([alive, stranger])
    assert (alive / "window.png").exists()


def test_make_weights_does_its_work_in_the_models_folder_and_leaves_no_network(again: World) -> None:
    content = b"not really a model"
    entry = f'file = "some/model.bin"\nurl = "https://192.0.2.1/model.bin"\nbytes = {len(content)}\n'
    entry += f'sha256 = "{hashlib.sha256(content).hexdigest()}"\n'
    entry += 'licence = "MIT"\nlicence_url = "https://192.0.2.1/"\nprofiles = ["some"]\n'
    registry, models = again.data / "weights.toml", again.data / "models"
    registry.write_text(f'schema = 1\ndefault = ["some"]\n[profiles]\nsome = "nothing"\n[weights.some]\n{entry}')
    weights = again.elsewhere(again.data, MODELS_DIR=str(models), WEIGHTS_TOML=str(registry))
    done = weights("runner.tools", "weights", "--check")
    assert done.returncode == 3
    assert done.stderr.strip().splitlines()[-1].startswith("error: 1 of 1 files are not there or not right"), (
        done.stderr
    )
    models.mkdir(exist_ok=True)
    (models / "model.bin").write_bytes(content)  # as one does without a network
    done = weights("runner.tools", "weights")
    assert done.returncode == 0, done.stderr
    assert (models / "some" / "model.bin").read_bytes() == content and not (models / "model.bin").exists()
    assert networks(f"^{PROJECT}-") == []


@pytest.fixture
def left_network(alive_and_gone: tuple[str, str]) -> Iterator[list[str]]:
    """Networks as Compose makes them for the weights of a command that runs and of one that was killed."""
    names = []
    for mark in alive_and_gone:
        project = f"{PROJECT}-{mark}"
        names.append(f"{project}_default")
        engine().networks.create(names[-1], labels={"com.docker.compose.project": project})
    yield names
    for network in engine().networks.list(names=names):
        network.remove()


def test_the_next_command_removes_the_network_of_one_that_was_killed(again: World, left_network: list[str]) -> None:
    assert sorted(networks(f"^{PROJECT}-")) == sorted(left_network)
    done = again("runner.tools", "weights", "--list")
    assert done.returncode == 0, done.stderr
    assert networks(f"^{PROJECT}-") == left_network[:1]
