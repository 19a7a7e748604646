"""What make runs: python runner [--words VARIABLE[=OPTION]]... NAME ARGUMENTS

NAME is one of the product's commands (extract, reskin, evaluate, demo, sweep), what a sweep calls (sweep-job,
sweep-contact, demo-clip), docker, doctor, locks, or weights or frame, which run where the product does. Anything else,
pytest, ruff, mypy, and modules such as bench.tracker, runs in the tests' environment. --words: an environment variable
whose words follow the arguments, each after OPTION if given.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from runner import runs
from runner.comfy.comfysource import ensure_source
from runner.commands import help_of, run
from runner.demo import demo, demo_clip
from runner.docker import stage as container
from runner.docker.__main__ import command as docker
from runner.doctor.__main__ import main as doctor
from runner.envs import ensure_env
from runner.evaluate import evaluate
from runner.extract import extract
from runner.locks import compile_locks
from runner.process import ROOT, RunnerError
from runner.reskin import reskin
from runner.stages import run_module, runner, start_stage
from runner.sweep.batch import sweep_job
from runner.sweep.launch import demo_clip_for_sweep, sweep

STAGES = ("posegen", "tracker", "reskin", "evaluator", "comfyui")
ONE_PART = ("bench.tracker", "bench.posegen", "bench.loop")
"""Benchmarks that measure one part by itself, in the tests' environment; the others run the stages."""


def frame(arguments: list[str]) -> int:
    """make frame: write one frame with a pixel grid, where the tracker lives; -i CLIP or --run NAME, --frame N."""
    if "--help" in arguments:
        print(help_of("tracker.grid"))
        return 0
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--run", type=runs.run_folder)
    given, rest = parser.parse_known_args(arguments)
    rest += [] if given.run is None else ["--run", str(given.run)]
    rest += [] if given.output is None else ["--output", str(given.output)]
    folder = runs.check_path(given.output or Path("frame.png")).absolute().parent
    return start_stage("tracker", rest, writes=[folder], module="tracker.grid")


def contact(arguments: list[str]) -> int:
    """Draw a sweep's contact sheet where the evaluator lives: python runner sweep-contact LIST.json OUT.jpg."""
    if len(arguments) != 2:
        raise RunnerError("usage: python runner sweep-contact LIST.json OUT.jpg", 2)
    listed, picture = (runs.check_path(Path(each)).absolute() for each in arguments)
    rows = runs.within(runs.read_manifest(listed, 2**26), "cells")
    cells = [cell for row in rows if isinstance(row, list) for cell in row] if isinstance(rows, list) else []
    videos = [Path(each) for cell in cells if isinstance(each := runs.within(cell, "video"), str)]
    shown = {each.parents[2] for each in videos if each.is_absolute() and len(each.parts) > 4}
    reads = [runs.runs_dir(), *sorted(shown)]  # a run may be a link to another disk
    module, folder = "evaluator.report.contact", picture.parent
    return start_stage("evaluator", [str(listed), str(picture)], reads=reads, writes=[folder], module=module)


def weights(arguments: list[str]) -> int:
    """make weights: fetch or verify model files in the smallest environment, or image, that has what it needs."""
    if "--help" in arguments:
        print(help_of("handoff.weights"))
        return 0
    if runner() == "docker":
        return container.start_container("weights", arguments, writes=[runs.models_dir()])
    return run_module(ensure_env("reskin"), "handoff.weights", arguments)


def set_up(environments: Iterable[str] = STAGES, *, clip: bool = True) -> None:
    """Make what tests or benchmarks of whole stages need, and name it to them in the environment.

    environments: the stages whose environments are made, ComfyUI's with its source; POSEGEN_PYTHON names the pose
    stage's. clip: whether the demo clip is made too; DEMO_CLIP names its folder.
    """
    os.environ["RUNNER"] = "local"  # whatever images there are; the tests of containers ask for them by name
    for stage in sorted(environments):
        python = ensure_env(stage)
        if stage == "posegen":
            os.environ["POSEGEN_PYTHON"] = str(python)
        if stage == "comfyui":
            ensure_source(ROOT / "comfyui" / "pins.toml", runs.cache_dir())
    if clip:
        os.environ["DEMO_CLIP"] = str(demo_clip())


def words(variable: str) -> list[str]:
    """Return the words of $VARIABLE: parted as a shell parts them, quotes and backslashes too, and nothing expanded.

    Raises RunnerError (2) for a quote that is not closed.
    """
    value = os.environ.get(variable, "")
    try:
        return shlex.split(value)
    except ValueError as error:
        raise RunnerError(f"{variable} cannot be parted into words ({error}): {value}", 2) from error


def tool(arguments: list[str]) -> int:
    """Run what is named first with the arguments after it, and then the words of the variables that stand before it."""
    more: list[str] = []
    while arguments[:1] == ["--words"]:
        variable, _, option = arguments[1].partition("=")
        for word in words(variable):
            more += [option, word] if option else [word]
        arguments = arguments[2:]
    name, *rest = [*arguments, *more] or [""]
    if name in OWN:
        return OWN[name](rest)
    if not name:
        print(__doc__, file=sys.stderr)
        return 2
    if name.startswith("bench.") and name not in ONE_PART:
        set_up()  # tests/conftest.py does it for the tests, by what those that are run need
    return run_module(ensure_env("tests"), name, rest)


OWN = {
    "extract": extract,
    "reskin": reskin,
    "evaluate": evaluate,
    "demo": demo,
    "docker": docker,
    "doctor": doctor,
    "locks": compile_locks,
    "frame": frame,
    "sweep-contact": contact,
    "weights": weights,
    "sweep": sweep,
    "sweep-job": sweep_job,
    "demo-clip": demo_clip_for_sweep,
}

if __name__ == "__main__":
    run(tool)
