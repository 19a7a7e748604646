#!/usr/bin/env python3
"""Find the object in every frame of a clip with SAM 2.1: mask.mp4, mask_skateboard/."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # not there under PYTHONSAFEPATH

from runner import run_named

if __name__ == "__main__":
    run_named("runner.extract", "track")
