#!/usr/bin/env python3
"""Paint a new object and a new skater into the clip: output.mp4."""

from runner.commands import run_named

if __name__ == "__main__":
    run_named("runner.reskin", "reskin")
