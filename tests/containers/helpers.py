"""What the tests of containers are made of: a checkout to run from, its commands, and the engine as it is.

testcontainers drives what is a test's own: containers and images that it starts and removes, and questions to the
engine. The commands that a user types are what is tested, so they are typed here too, as processes: the product's with
RUNNER=docker, and `docker compose run`, for which testcontainers has no call.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from docker.errors import ImageNotFound
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.image import DockerImage

from runner.process import ROOT
from tests.helpers import HANG_S, Product, take_out

TAG = os.environ.get("SKATE_TAG") or "test"
PROJECT = f"skate-test-{os.getpid()}"
STAGES = ("posegen", "tracker", "reskin", "evaluator", "comfyui")
BOX = ("--bbox", "20,40,52,72", "--backend", "embedded")
PROMPT = "cyberpunk drone, samurai"
DRAFT = ("--prompt", PROMPT, "--workflow", "draft")
COMPOSE_READS = ("HOST_UID", "HOST_GID", "SKATE_TAG", "DATA_DIR", "MODELS_DIR", "COMPOSE_FILE")
"""What Compose takes from .env, where the environment does not say otherwise."""
Done = subprocess.CompletedProcess[str]


# its helper that removes what a killed test leaves is one more image to pull, which an engine without a registry cannot
os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"


@functools.cache
def engine() -> Any:
    """The engine's own client, of the SDK on which testcontainers is built."""
    return DockerClient().client


@functools.cache
def base_image() -> str:
    """What the images are made from here: $PYTHON_IMAGE, else the pinned image of Python.

    An engine without a registry may have a stand-in for it, by the tag alone: then that one.
    """
    named = os.environ.get("PYTHON_IMAGE")
    if named:
        return named
    pinned = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "tracker" / "Dockerfile").read_text(), re.M)[0]
    tagged = str(pinned).partition("@")[0]
    return tagged if not has_image(pinned) and has_image(tagged) else str(pinned)


def has_image(name: str) -> bool:
    try:
        engine().images.get(name)
    except ImageNotFound:
        return False
    return True


def image(stage: str) -> str:
    return f"skate-physics-{stage}:{TAG}"


def python_in(name: str, *arguments: str, **settings: object) -> DockerContainer:
    """A container of that image, not yet started, that runs `python ARGUMENTS`; settings: as of the engine's SDK."""
    return DockerContainer(name, command=list(arguments), entrypoint="python", **settings)


def output_of(container: DockerContainer) -> str:
    """Run a container to its end and return what it printed; it must end well."""
    with container:
        code = container.wait()
        said, errors = (each.decode() for each in container.get_logs())
    assert code == 0, errors
    return said


@contextlib.contextmanager
def image_of(recipe: str, tag: str) -> Iterator[str]:
    """An image made by these lines of a Dockerfile, in a folder of nothing else; gone with the block."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(recipe)
        with DockerImage(folder, tag=tag) as made:
            yield str(made)


@dataclass(frozen=True)
class World(Product):
    """The root commands with RUNNER=docker in a copy of the checkout, and Compose typed by hand there."""

    def compose(self, *arguments: object, timeout_s: float = 300, **extra: str) -> Done:
        """Type `docker compose ARGUMENTS` in the checkout, where .env says all the rest."""
        environment = {name: value for name, value in self.environment.items() if name not in COMPOSE_READS}
        return subprocess.run(
            ["docker", "compose", *(str(each) for each in arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.root,
            env=environment | extra,
            timeout=timeout_s,
        )

    def as_user(self, user: int, groups: Sequence[int], python: str, script: str, *arguments: object) -> Done:
        """Run a root command as somebody else, with these groups and no more, the own one first; only root can.

        python: one that everybody may run.
        """
        return subprocess.run(
            [python, *self.command(script, *arguments)[1:]],
            user=user,
            group=groups[0],
            extra_groups=groups[1:],
            env=self.environment | {"PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_S,
        )

    def elsewhere(self, data: Path, **settings: str) -> World:
        """The same with another data folder and more settings."""
        return replace(self, data=data, settings={**self.settings, **settings})

    def start(self, script: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a root command as a terminal does, in a process group of its own."""
        return subprocess.Popen(
            self.command(script, *arguments),
            env=self.environment,
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )


def copy_checkout(to: Path) -> Path:
    """Copy the checkout without what it has made; its .env and the owner of its files are then the tests' own."""
    made = shutil.ignore_patterns(".git", ".envs", ".env*", "data", "__pycache__", "*_cache", ".hypothesis")
    shutil.copytree(ROOT, to, ignore=made)
    return to


def containers(mark: str, *, running: bool = False) -> list[str]:
    """The names of the containers, or of those that run, that have `mark` in their names."""
    found = engine().containers.list(all=not running, ignore_removed=True, filters={"name": mark})
    return [each.name for each in found]


def networks(mark: str) -> list[str]:
    return [each.name for each in engine().networks.list(filters={"name": mark})]


def containers_of(process: int) -> list[str]:
    """The names of the containers, running or not, that a root command started."""
    return containers(f"-{process}-")


def networks_of(process: int) -> list[str]:
    return networks(f"-{process}_")


def copy_without(run: Path, to: Path, stage: str) -> Path:
    """Copy a run, and take a stage out of the copy, its files and its record."""
    shutil.copytree(run, to)
    take_out(to, stage)
    return to


def files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def as_json(done: Done) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
