#!/usr/bin/env python3
"""Measure the object and the skater in a clip: mask.mp4, pose.json."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # not there under PYTHONSAFEPATH

from runner import run_named

if __name__ == "__main__":
    run_named("runner.extract", "extract")
