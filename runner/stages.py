"""Run a stage: in its container or in its own virtual environment. Nothing else knows which."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner import runs
from runner.comfy import comfyserver
from runner.comfy.comfysource import ensure_source
from runner.docker import engine, images, server
from runner.docker import stage as container
from runner.envs import ensure_env
from runner.holds import held_folder
from runner.process import (
    ALONE,
    FAILED,
    FAILED_AS,
    INTERRUPTED,
    KILLED,
    ROOT,
    RunnerError,
    check_folder,
    die_with_parent,
    leaving_sigint,
    passing_sigterm,
    stage_environment,
)

_WITH_NVIDIA = ("posegen", "tracker", "evaluator")
RUNNERS = ("auto", "local", "docker")


def chosen() -> str:
    """Return "local" or "docker", by $RUNNER; auto, the default, is docker where all five images have been made.

    Raises RunnerError for another name.
    """
    wish = os.environ.get("RUNNER") or "auto"
    if wish not in RUNNERS:
        raise RunnerError(f"RUNNER={wish} is not known; use one of {', '.join(RUNNERS)}.", 2)
    if wish == "auto":
        wish = "local" if engine.problem() or images.missing() else "docker"
    return wish


@functools.cache
def runner() -> str:
    """Return what `chosen` does, made ready to be used; RunnerError where docker is asked for and cannot run."""
    wish = chosen()
    if wish == "docker":
        engine.check()
        container.remove_left()
        server.remove_left()
    return wish


def run_module(python: Path, module: str, arguments: Sequence[str], **variables: str) -> int:
    """Run `python -m module arguments` in the caller's folder and return its exit code.

    Ctrl-C reaches the child too (same process group), SIGTERM is passed on to it; it ends by itself and its code is
    returned: 128 and the signal's number where a signal ended it. variables: more of its environment. Raises
    RunnerError where the Python cannot be started.
    """
    command = [str(python), *ALONE, "-m", module, *arguments]
    environment = stage_environment() | variables
    with leaving_sigint() as came:
        try:
            child = subprocess.Popen(command, env=environment, preexec_fn=die_with_parent)
        except OSError as error:
            raise RunnerError(f"{python} cannot be started ({error.strerror}); {_made_anew(python)}.") from error
        if came:
            child.send_signal(signal.SIGINT)
        with passing_sigterm(child):
            code = child.wait()
    if came and code == 1:  # a Python that is interrupted before it runs anything of ours ends like this
        return INTERRUPTED
    return 128 - code if code < 0 else code


def _made_anew(python: Path) -> str:
    """Return what mends a damaged environment."""
    return f"remove {python.parent.parent}, and the same command makes it anew"


def start_stage(
    stage: str,
    arguments: Sequence[str],
    *,
    reads: Sequence[Path] = (),
    writes: Sequence[Path] = (),
    module: str | None = None,
    code: Path | None = None,
    project: str | None = None,
) -> int:
    """Run `python -m MODULE ARGUMENTS` (the stage itself unless named) where the stage lives; return its exit code.

    reads: files that it looks at where they are there, besides those that arguments name. writes: folders that it may
    write. code: a package of this checkout that is no part of the stage. project: of the server that `comfyui`
    yielded. These four matter to containers only.

    A gate that fails says so by FAILED. So 1, the code of a Python that does not start, of a package that is
    not there and of whatever library ends a process by itself, is never taken for a verdict: RunnerError.
    """
    name = module or stage
    if stage in _WITH_NVIDIA:
        check_folder()
    if runner() == "local":
        python = ensure_env(stage)
        ended = run_module(python, name, arguments, **FAILED_AS)
        mend = _made_anew(python)
        if ended == KILLED:
            print("error: the stage was killed from outside, or ran out of memory; run it again", file=sys.stderr)
    else:
        ended = container.start_container(
            stage, arguments, reads=reads, writes=writes, module=module, code=code, project=project
        )
        mend = "make build makes its image anew"
    if ended == 1:
        raise RunnerError(
            f"python -m {name} ended with 1 by itself (above is what it said), which is no verdict: nothing was "
            f"decided. If what it runs in is damaged: {mend}."
        )
    return 1 if ended == FAILED else ended


@contextlib.contextmanager
def comfyui(log: Path) -> Iterator[tuple[str, str | None]]:
    """Start a ComfyUI server for one command; yield its address and the project to run the reskin stage in."""
    if runner() == "docker":
        with server.serve(log) as (address, project):
            yield address, project
        return
    source = ensure_source(ROOT / "comfyui" / "pins.toml", runs.cache_dir())
    python = ensure_env("comfyui")
    with (
        held_folder(runs.data_dir(), "comfyui") as work,
        comfyserver.serve(python, source, work, log, models=runs.models_dir()) as address,
    ):
        yield address, None
