#!/usr/bin/env python3
"""Prove frame by frame that the new object fills the old outline."""

from runner.evaluate import evaluate
from runner.main import run

if __name__ == "__main__":
    run(evaluate)
