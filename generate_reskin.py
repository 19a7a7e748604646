#!/usr/bin/env python3
"""Paint a new object and a new skater into the clip: output.mp4."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # not there under PYTHONSAFEPATH

from runner import run_named

if __name__ == "__main__":
    run_named("runner.reskin", "reskin")
