"""make weights: fetch or verify model files: python -m runner.weights [--profile NAME] [--check]"""

from __future__ import annotations

from runner.envs import ensure_env
from runner.main import run
from runner.process import run_module


def weights(arguments: list[str]) -> int:
    """Run handoff.weights in the smallest environment that has what it needs."""
    return run_module(ensure_env("reskin"), "handoff.weights", arguments)


if __name__ == "__main__":
    run(weights)
