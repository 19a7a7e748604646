"""What the tests of containers are made of: a checkout to run from, its commands, and the engine as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.process import ROOT
from tests.conftest import Product
from tests.manifests import take_out

TAG = os.environ.get("SKATE_TAG") or "test"
PROJECT = f"skate-test-{os.getpid()}"
STAGES = ("posegen", "tracker", "reskin", "evaluator", "comfyui")
BOX = ("--bbox", "20,40,52,72", "--backend", "embedded")
PROMPT = "cyberpunk drone, samurai"
DRAFT = ("--prompt", PROMPT, "--workflow", "draft")
Done = subprocess.CompletedProcess[str]


def docker(*arguments: object, text: str | None = None, timeout_s: float = 60) -> Done:
    """Run `docker ARGUMENTS`."""
    command = ["docker", *(str(each) for each in arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, input=text, timeout=timeout_s)


def lines(*arguments: object) -> list[str]:
    return docker(*arguments).stdout.split()


@dataclass(frozen=True)
class World(Product):
    """The root commands with RUNNER=docker in a copy of the checkout, and Compose typed by hand there."""

    def compose(self, *arguments: object, timeout_s: float = 300, **extra: str) -> Done:
        """Type `docker compose ARGUMENTS` in the checkout, where .env says all the rest."""
        known = ("HOST_UID", "HOST_GID", "SKATE_TAG", "DATA_DIR", "MODELS_DIR", "COMPOSE_FILE")
        environment = {name: value for name, value in self.environment.items() if name not in known}
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
            timeout=300,
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


def containers_of(process: int) -> list[str]:
    """The names of the containers, running or not, that a root command started."""
    return lines("ps", "--all", "--filter", f"name=-{process}-", "--format", "{{.Names}}")


def networks_of(process: int) -> list[str]:
    return lines("network", "ls", "--filter", f"name=-{process}_", "--format", "{{.Name}}")


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
