"""How Docker Compose is called: which files, which variables, and the .env for whoever calls it by hand.

What Compose reads as settings is of this checkout, of the environment, or was written by this very process. Nothing in
the data folder, or in the folder that a command is called in, says how a container is started.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from runner import runs
from runner.docker import engine, images
from runner.docker.gpu import for_containers, required, use_gpu
from runner.holds import write_text
from runner.process import ROOT, RunnerError

PROJECT = os.environ.get("COMPOSE_PROJECT_NAME") or "skate-physics"
"""Compose's own name for what belongs together: the server of `make up` and its network."""
GPU_ID = "SKATE_GPU_ID"
"""The variable that says which GPU containers get. Inside, it is the only one, and so it is 0 there."""


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
    """Return the compose files of this checkout for this machine: names in the project's root."""
    names = ["compose.yaml", *(["compose.byhand.yaml"] if by_hand else [])]
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


def work_folder() -> Path:
    """Return the folder of the server that `make up` leaves running: all that it sees of data/comfyui."""
    return runs.data_dir().absolute() / "comfyui" / PROJECT


def user() -> tuple[int, int]:
    """Return the user and group in a container that are the caller's outside: root's where the engine is rootless."""
    return (0, 0) if "rootless" in engine.security() else (os.getuid(), os.getgid())


def groups() -> list[int]:
    """Return the caller's other groups, without the one that may talk to the engine; a rootless one knows none."""
    if "rootless" in engine.security():
        return []
    return sorted(set(os.getgroups()) - {os.getgid(), engine.socket_group()})


def groups_text() -> str | None:
    """Return a compose file that gives every service the caller's other groups, None where there are none.

    Compose has no variable for a list.
    """
    numbers = [str(each) for each in groups()]
    if not numbers:
        return None
    services = {name: {"group_add": numbers} for name in (*images.STAGES, *images.IMAGE_OF)}
    return json.dumps({"services": services}) + "\n"


@functools.cache
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder that only this user may enter, and that ends with this process."""
    return tempfile.TemporaryDirectory(prefix="skate-compose-")


def own_files() -> list[str]:
    """Return the compose files that this process writes for itself, each time anew: absolute paths."""
    text = groups_text()
    if text is None:
        return []
    path = Path(_own_folder().name) / "groups.yaml"
    _write(path, text)
    return [str(path)]


STAGE_MEMORY_GIB = 8
"""What a stage may use: several times what any was measured to (docs/measurements.md), of the clip's size."""
SERVER_SHARE = 0.9
"""How much of the engine's memory ComfyUI may use: its models do not fit into less, and the machine needs some."""


def limits() -> dict[str, str]:
    """Return how much memory, how many processes and how large a /tmp containers get at most, where nobody says else.

    No limit is above the engine's own memory, which is that of another machine where the engine runs elsewhere.
    """
    there = engine.memory()
    stage = min(STAGE_MEMORY_GIB * 2**30, there) if there else STAGE_MEMORY_GIB * 2**30
    defaults = {
        "SKATE_MEMORY": str(stage),
        "COMFYUI_MEMORY": str(int(SERVER_SHARE * there)) if there else "0",
        "SKATE_PROCESSES": "2048",
        "SKATE_TMP": "2g",
    }
    return {name: os.environ.get(name) or default for name, default in defaults.items()}


def variables() -> dict[str, str]:
    """Return what stands in ${...} in compose.yaml."""
    uid, gid = user()
    return {
        "HOST_UID": str(uid),
        "HOST_GID": str(gid),
        "SKATE_TAG": images.tag(),
        "SKATE_GPU": "required" if required() else "",
        GPU_ID: for_containers(),
        "COMFYUI_WORK": str(work_folder()),
        **limits(),
        **{name: str(folder) for name, folder in folders().items()},
    }


def command(*arguments: str, project: str = PROJECT, publish: bool = False, progress: str = "quiet") -> list[str]:
    """Return the command line of `docker compose ARGUMENTS`; no .env counts, of whichever folder."""
    named = [part for name in [*files(publish), *own_files()] for part in ("-f", str(ROOT / name))]
    options = ["--progress", progress, "-p", project, "--project-directory", str(ROOT), "--env-file", os.devnull]
    return ["docker", "compose", *options, *named, *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment to call it in: no setting of Compose's own but those on its command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
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
    """Write .env beside compose.yaml, so that `docker compose run ...` by hand means what the runner means.

    Where the caller has other groups, .env.groups.yaml beside it says so.
    """
    names, others, text = files(by_hand=True), ROOT / ".env.groups.yaml", groups_text()
    if text:
        _write(others, text)
        names.append(others.name)
    else:
        others.unlink(missing_ok=True)
    lines = {**variables(), "COMPOSE_FILE": ":".join(names)}
    del lines[GPU_ID]  # of the moment: by hand it is the first, or the caller's
    work_folder().mkdir(exist_ok=True)  # what Compose mounts is there, and the caller's
    text = "# Written by make build: for docker compose by hand. The runner does not read it.\n"
    _write(ROOT / ".env", text + "".join(f"{name}={quoted(value)}\n" for name, value in lines.items()))


def quoted(value: str) -> str:
    """Return a value as .env has it: as it is in single quotes, or with escapes in double ones where it has those."""
    if "'" not in value and "\n" not in value:
        return f"'{value}'"
    for sign, instead in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$"), ("\n", "\\n")):
        value = value.replace(sign, instead)
    return f'"{value}"'


def _write(path: Path, text: str) -> None:
    try:
        write_text(path, text)
    except OSError as error:
        raise RunnerError(f"cannot write {path} ({error.strerror}).") from error
