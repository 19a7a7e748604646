#!/usr/bin/env python3
"""Paint a new object and a new skater into the clip: output.mp4."""

from runner.commands import reskin
from runner.main import run

if __name__ == "__main__":
    run(reskin)
