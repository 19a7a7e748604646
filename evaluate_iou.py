#!/usr/bin/env python3
"""Prove frame by frame that the new object fills the old outline."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # not there under PYTHONSAFEPATH

from runner import run_named

if __name__ == "__main__":
    run_named("runner.evaluate", "evaluate")
