#!/usr/bin/env python3
"""Measure the object and the skater in a clip: mask.mp4, pose.json."""

from runner.extract import extract
from runner.main import run

if __name__ == "__main__":
    run(extract)
