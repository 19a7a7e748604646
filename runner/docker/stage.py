"""Run one stage's command in its container."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner import runs
from runner.docker import compose, engine, images
from runner.docker.mounts import named_paths, volumes
from runner.process import ALONE, FAILED_AS, INTERRUPTED, KILLED, ROOT, RunnerError, die_with_parent, passing_sigterm

_NAME = "skate-physics-run"
_INTERRUPTED = "error: interrupted; run the same command to go on"
REGISTRY = "WEIGHTS_TOML"
_PASSED_ON = (REGISTRY, "TRACKER_SAM2_OVERRIDES")
"""What the stages read from their environment, beside the folders: another registry of models, another size of one."""
_numbers = itertools.count()


def start_container(
    stage: str,
    arguments: Sequence[str],
    *,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    module: str | None = None,
    code: Path | None = None,
    project: str | None = None,
) -> int:
    """Run `python -m MODULE ARGUMENTS` in the stage's container, in this process's folder; return its exit code.

    reads: what it sees where it is there, besides the existing files that arguments name, the models and the registry.
    writes: folders that it may write, made where they are missing. module: the stage itself unless named. code: a
    package of this checkout that is no part of the image, shown to it read-only. project: where its server runs.
    Raises RunnerError for an image that is missing or old, and when the engine does not start the container.
    """
    images.check(stage)
    state = _state_folder() if stage == "evaluator" else None
    writes = [*writes, *([state] if state else [])]
    made = [folder for folder in writes if _make(folder)]
    models = runs.models_dir().absolute()
    named = named_paths([*arguments, os.environ.get(REGISTRY, "")])
    shown = [*named, *(path for path in (models, *reads) if path.exists())]
    name = f"{_NAME}-{compose.mark()}-{next(_numbers)}"
    options = ["--no-deps", "--name", name, "--workdir", os.getcwd(), *volumes(shown, writes)]
    _announce()  # what is refused is refused by now
    settings = {"MODELS_DIR": str(models)} | ({"XDG_STATE_HOME": str(state.parent)} if state else {}) | FAILED_AS
    for variable, value in settings.items():
        options += ["--env", f"{variable}={value}"]
    for variable in _PASSED_ON:
        if variable in os.environ:
            options += ["--env", variable]
    if code:
        options += ["--volume", f"{code}:/app/{code.relative_to(ROOT).as_posix()}:ro"]
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        options.append("--no-TTY")
    if module:
        options += ["--entrypoint", "python"]
        arguments = [*ALONE, "-m", module, *arguments]
    own = compose.own_project()  # so that make down ends no command that runs beside it
    try:
        return _call(compose.command("run", *options, stage, *arguments, project=project or own), name)
    finally:
        if project is None:  # Compose makes the project's network even for a container without one
            compose.remove_networks(own)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # nothing was written


def _state_folder() -> Path | None:
    """Return the folder in which the evaluator marks its verdicts (evaluator/seal.py), made where it is missing.

    None where it cannot be made, or shown to a container: then the evaluator knows no verdict, and judges anew.
    """
    stated = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        home = stated if stated.is_absolute() else Path.home() / ".local" / "state"
        folder = runs.real(home) / "skate-physics-preserver"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        volumes([], [folder])
    except (OSError, RuntimeError, RunnerError):
        return None
    return folder


@functools.cache
def _announce() -> None:
    """Say once that stages run in containers."""
    print("runner: docker, one container a stage (RUNNER=local does without)", file=sys.stderr, flush=True)


def _make(folder: Path) -> bool:
    """Make a folder; say whether it was missing. The stage says what is wrong where it cannot be made."""
    if folder.is_dir():
        return False
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunnerError(f"cannot make {folder} ({error.strerror}); choose a folder that can be written.") from error
    return True


def _call(command: list[str], name: str) -> int:
    """Run the client, which passes signals on; what came of it is asked from the engine."""
    with _removed(name):
        # the kernel ends the client when this process is killed; the container is ended by what `_removed` started
        child = subprocess.Popen(command, env=compose.environment(), preexec_fn=die_with_parent)
        interrupted = False
        with passing_sigterm(child):
            while True:
                try:
                    code = child.wait()
                    break
                except KeyboardInterrupt:  # the client has it too
                    interrupted = True
        found = engine.inspect("container", name)
        status = found["State"]["Status"] if found else "none"
        if status == "running" or (interrupted and status in ("none", "created")):
            if found:
                engine.docker("stop", name)  # the client leaves it alone when it is ended
            print(_INTERRUPTED, file=sys.stderr)
            return INTERRUPTED if interrupted or code >= 0 else 128 - code
        if found is None or status == "created":
            said = (found or {}).get("State", {}).get("Error") or f"docker compose ended with {code}"
            raise RunnerError(f"the engine did not start the container: {said}.")
        if found["State"]["OOMKilled"]:
            print(
                "error: the container ran out of memory and was killed; raise SKATE_MEMORY, free some, or ask for less",
                file=sys.stderr,
            )
        elif found["State"]["ExitCode"] == KILLED:
            print("error: the container was killed from outside; run the same command to go on", file=sys.stderr)
        elif found["State"]["ExitCode"] == INTERRUPTED:  # the client may have left before the stage's own sentence
            print(_INTERRUPTED, file=sys.stderr)
        return int(found["State"]["ExitCode"])


@contextlib.contextmanager
def _removed(name: str) -> Iterator[None]:
    """End the container and remove it when the block ends, and when this process does, even by SIGKILL.

    A process of its own does it, which waits for the end of a pipe that only this one holds. What ends all of a job's
    processes politely, as SLURM does, ends all but this one, which ends after them.
    """
    script = 'trap "" TERM; read -r _; docker stop "$0"; docker rm --force "$0"'
    guard = subprocess.Popen(
        ["sh", "-c", script, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is not for it
    )
    try:
        yield
    finally:
        guard.communicate()


def remove_left() -> None:
    """Remove the containers of commands that were killed together with their clients."""
    answer = engine.docker("ps", "--all", "--filter", f"name=^{_NAME}-", "--format", "{{.Names}}")
    for name in answer.stdout.split():
        if compose.left_by(name.removeprefix(f"{_NAME}-")):
            engine.docker("rm", "--force", name)
