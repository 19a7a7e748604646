#!/usr/bin/env python3
"""Find the object in every frame of a clip with SAM 2.1: mask.mp4, mask_skateboard/."""

from runner.main import run
from runner.tracking import track

if __name__ == "__main__":
    run(track)
