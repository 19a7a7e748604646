#!/usr/bin/env python3
"""Measure the object and the skater in a clip: mask.mp4, pose.json."""

from runner.commands import run_named

if __name__ == "__main__":
    run_named("runner.extract", "extract")
