"""make frame: one frame with a pixel grid: python -m runner.frame -i CLIP --frame N [-o FILE.png]"""

from __future__ import annotations

from runner.envs import ensure_env
from runner.main import run
from runner.process import run_module


def frame(arguments: list[str]) -> int:
    """Draw it in the tracker's environment."""
    return run_module(ensure_env("tracker"), "tracker.grid", arguments)


if __name__ == "__main__":
    run(frame)
