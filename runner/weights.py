"""make weights: fetch or verify model files: python -m runner.weights [--profile NAME] [--check]"""

from __future__ import annotations

from runner import runs
from runner.docker import stage as container
from runner.envs import ensure_env
from runner.main import run
from runner.process import run_module
from runner.stages import runner


def weights(arguments: list[str]) -> int:
    """Run handoff.weights in the smallest environment, or image, that has what it needs."""
    if runner() == "docker":
        return container.run_stage("weights", arguments, writes=[runs.models_dir()])
    return run_module(ensure_env("reskin"), "handoff.weights", arguments)


if __name__ == "__main__":
    run(weights)
