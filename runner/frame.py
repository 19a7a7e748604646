"""make frame: one frame with a pixel grid: python -m runner.frame -i CLIP --frame N [-o FILE.png]"""

from __future__ import annotations

import argparse
from pathlib import Path

from runner.main import run
from runner.stages import run_stage


def frame(arguments: list[str]) -> int:
    """Draw it where the tracker lives."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("-o", "--output", type=Path, default=Path("frame.png"))
    output, _ = parser.parse_known_args(arguments)
    return run_stage("tracker", arguments, writes=[output.output.absolute().parent], module="tracker.grid")


if __name__ == "__main__":
    run(frame)
