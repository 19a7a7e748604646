#!/usr/bin/env python3
"""Find the object in every frame of a clip with SAM 2.1: mask.mp4, mask_skateboard/."""

from runner.commands import run_named

if __name__ == "__main__":
    run_named("runner.tracking", "track")
