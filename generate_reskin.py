#!/usr/bin/env python3
"""Paint a new object and a new skater into the clip: output.mp4."""

from runner.main import run
from runner.reskin import reskin

if __name__ == "__main__":
    run(reskin)
