"""How Docker Compose is called: which files, which variables, and the .env for whoever calls it by hand."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from runner import runs
from runner.docker import engine, images
from runner.docker.gpu import required, use_gpu
from runner.holds import write_text
from runner.process import ROOT, RunnerError

PROJECT = os.environ.get("COMPOSE_PROJECT_NAME") or "skate-physics"
"""Compose's own name for what belongs together: the server of `make up` and its network."""


def own_project() -> str:
    """Return the project of this process: what one command starts besides `make up`, and takes away."""
    return f"{PROJECT}-{mark()}"


def mark(process: int | None = None) -> str:
    """Return what tells a process's containers from others: user, where its number means something, and the number.

    process: this one unless given.
    """
    return f"{os.getuid()}-{_numbered_in()}-{process or os.getpid()}"


@functools.cache
def _numbered_in() -> str:
    """Return a name for this start of this machine, and for the container where this process is in one.

    Commands in containers and on other machines may use the same engine, and process numbers say nothing about them.
    """
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink("/proc/self/ns/pid")
    except OSError:  # no Linux
        text = platform.node()
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def marked(name: str) -> str | None:
    """Return the `mark` at the beginning of a name, of any user and process, else None."""
    found = re.match(r"\d+-[0-9a-f]{8}-\d+(?![^-])", name)
    return found[0] if found else None


def left_by(name: str) -> str | None:
    """Return the `mark` at the beginning of a name where that process was this user's and is gone, else None.

    None also for one of another machine or container, which may be at work.
    """
    found = marked(name)
    if not found:
        return None
    user, numbered_in, process = found.split("-")
    if (user, numbered_in) != (str(os.getuid()), _numbered_in()):
        return None
    with contextlib.suppress(PermissionError, OverflowError):
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return found
    return None


def files(publish: bool = False, by_hand: bool = False) -> list[str]:
    """Return the compose files for this machine and user: names in the project's root, or absolute."""
    names = ["compose.yaml", *(["compose.byhand.yaml"] if by_hand else [])]
    if not use_gpu():
        names.append("compose.cpu.yaml")
    if publish:
        names.append("compose.publish.yaml")
    others = groups_file()
    return [*names, *([str(others)] if others else [])]


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


def user() -> tuple[int, int]:
    """Return the user and group in a container that are the caller's outside: root's where the engine is rootless."""
    return (0, 0) if "rootless" in engine.security() else (os.getuid(), os.getgid())


def groups() -> list[int]:
    """Return the caller's other groups, without the one that may talk to the engine; a rootless one knows none."""
    if "rootless" in engine.security():
        return []
    return sorted(set(os.getgroups()) - {os.getgid(), engine.socket_group()})


def groups_file() -> Path | None:
    """Return a compose file that gives every service the caller's other groups, None where there are none.

    Compose has no variable for a list. The file's name says what is in it, so that it need not be written twice.
    """
    numbers = [str(each) for each in groups()]
    if not numbers:
        return None
    text = json.dumps({"services": {name: {"group_add": numbers} for name in (*images.STAGES, *images.IMAGE_OF)}})
    path = folders()["DATA_DIR"] / f".groups-{hashlib.sha256(text.encode()).hexdigest()[:12]}.yaml"
    if not path.exists():
        _write(path, text + "\n")
    return path


def variables() -> dict[str, str]:
    """Return what stands in ${...} in compose.yaml."""
    uid, gid = user()
    return {
        "HOST_UID": str(uid),
        "HOST_GID": str(gid),
        "SKATE_TAG": images.tag(),
        "SKATE_GPU": "required" if required() else "",
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
    lines = {**variables(), "COMPOSE_FILE": ":".join(files(by_hand=True))}
    text = "# Written by make build: for docker compose by hand. The runner does not read it.\n"
    text += "".join(f"{name}='{value}'\n" for name, value in lines.items())
    _write(ROOT / ".env", text)


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise RunnerError(f"cannot write {path} ({error.strerror}).") from error
