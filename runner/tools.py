"""What make runs besides the product's commands: python -m runner.tools NAME ARGUMENTS

pytest, ruff, mypy, and modules such as bench.tracker run in the tests' environment; weights and frame where the product
runs, in an environment or a container.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from runner import runs
from runner.comfy.comfysource import ensure_source
from runner.commands import help_of, run
from runner.demo import demo_clip
from runner.docker import stage as container
from runner.envs import ensure_env
from runner.process import ROOT
from runner.stages import run_module, runner, start_stage

STAGES = ("posegen", "tracker", "reskin", "evaluator", "comfyui")
ONE_PART = ("bench.tracker", "bench.posegen")
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


def tool(arguments: list[str]) -> int:
    """Run what is named first with the arguments after it."""
    name, *rest = arguments or [""]
    if name in OWN:
        return OWN[name](rest)
    if not name:
        print(__doc__, file=sys.stderr)
        return 2
    if name.startswith("bench.") and name not in ONE_PART:
        set_up()  # tests/conftest.py does it for the tests, by what those that are run need
    return run_module(ensure_env("tests"), name, rest)


OWN = {"frame": frame, "weights": weights}

if __name__ == "__main__":
    run(tool)
