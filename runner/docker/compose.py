"""How Docker Compose is called: which files, which variables, and the .env for whoever calls it by hand."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runner import runs
from runner.docker import engine, images
from runner.docker.gpu import use_gpu
from runner.errors import RunnerError
from runner.process import ROOT

PROJECT = os.environ.get("COMPOSE_PROJECT_NAME") or "skate-physics"
"""Compose's own name for what belongs together: the server of `make up` and its network."""


def own_project() -> str:
    """Return the project of this process: what one command starts besides `make up`, and takes away."""
    return f"{PROJECT}-{mark()}"


def mark() -> str:
    """Return what tells this process's containers from those of other people and commands: user and process id."""
    return f"{os.getuid()}-{os.getpid()}"


def marked(name: str) -> str | None:
    """Return the `mark` at the beginning of a name, of any user and process, else None."""
    found = re.match(r"\d+-\d+(?![^-])", name)
    return found[0] if found else None


def left_by(name: str) -> str | None:
    """Return the `mark` at the beginning of a name where that process was this user's and is gone, else None."""
    found = marked(name)
    user, _, process = (found or "").partition("-")
    return found if user == str(os.getuid()) and not Path(f"/proc/{process}").exists() else None


def files(publish: bool = False) -> list[str]:
    """Return the compose files for this machine, names in the project's root."""
    names = ["compose.yaml"]
    if not use_gpu():
        names.append("compose.cpu.yaml")
    if publish:
        names.append("compose.publish.yaml")
    return names


def folders() -> dict[str, Path]:
    """Return the folders that compose.yaml mounts, made where they are missing (the engine would make them root's)."""
    data = runs.data_dir().absolute()
    found = {"DATA_DIR": data, "MODELS_DIR": runs.models_dir().absolute()}
    for folder in (*found.values(), data / "runs", data / "input", data / "comfyui"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunnerError(f"cannot make {folder} ({error.strerror}); choose another DATA_DIR.") from error
    return found


def variables() -> dict[str, str]:
    """Return what stands in ${...} in compose.yaml."""
    return {
        "HOST_UID": str(os.getuid()),
        "HOST_GID": str(os.getgid()),
        "SKATE_TAG": images.tag(),
        **{name: str(folder) for name, folder in folders().items()},
    }


def command(*arguments: str, project: str = PROJECT, publish: bool = False, progress: str = "quiet") -> list[str]:
    """Return the command line of `docker compose ARGUMENTS`."""
    named = [part for name in files(publish) for part in ("-f", str(ROOT / name))]
    options = ["--progress", progress, "-p", project, "--project-directory", str(ROOT)]
    return ["docker", "compose", *options, *named, *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment to call it in."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COMPOSE_FILE", "COMPOSE_PROFILES")}
    return kept | variables() | dict(extra or {})


def quiet(*arguments: str, project: str = PROJECT, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `docker compose ARGUMENTS` and return what it printed."""
    return subprocess.run(
        command(*arguments, project=project), env=environment(extra), capture_output=True, text=True, check=False
    )


def remove_networks(project: str) -> None:
    """Remove the networks that Compose made for a project, whichever of them its services used."""
    found = engine.docker("network", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={project}")
    if found.stdout.split():
        engine.docker("network", "rm", *found.stdout.split())


def write_env() -> None:
    """Write .env beside compose.yaml, so that `docker compose run ...` by hand means what the runner means."""
    lines = {**variables(), "COMPOSE_FILE": ":".join(files())}
    text = "# Written by make build: for docker compose by hand. The runner does not read it.\n"
    text += "".join(f"{name}='{value}'\n" for name, value in lines.items())
    partial = ROOT / f".env.{os.getpid()}"
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, ROOT / ".env")
    except OSError as error:
        raise RunnerError(f"cannot write {ROOT / '.env'} ({error.strerror}).") from error
