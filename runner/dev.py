"""Run a developer's tool (pytest, ruff, mypy) in the tests' environment: python -m runner.dev pytest tests"""

from __future__ import annotations

import os

from runner.comfysource import ensure_source
from runner.demo import demo_clip
from runner.envs import ensure_env
from runner.main import run
from runner.process import ROOT, run_module
from runner.runs import cache_dir

STAGES = ("posegen", "tracker", "reskin", "evaluator", "comfyui")


def tool(arguments: list[str]) -> int:
    """Set up what the tool needs and run it. Tests and benchmarks run the stages, so they need every environment."""
    name, *rest = arguments
    # these benchmarks measure one part by itself, in the tests' environment
    if name == "pytest" or (name.startswith("bench.") and name not in ("bench.tracker", "bench.posegen")):
        os.environ["RUNNER"] = "local"  # whatever images there are; the tests of containers ask for them by name
        pythons = {stage: ensure_env(stage) for stage in STAGES}
        os.environ["POSEGEN_PYTHON"] = str(pythons["posegen"])
        os.environ["DEMO_CLIP"] = str(demo_clip())
        ensure_source(ROOT / "comfyui" / "pins.toml", cache_dir())
    return run_module(ensure_env("tests"), name, rest)


if __name__ == "__main__":
    run(tool)
