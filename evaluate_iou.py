#!/usr/bin/env python3
"""Prove frame by frame that the new object fills the old outline."""

from runner.commands import run_named

if __name__ == "__main__":
    run_named("runner.evaluate", "evaluate")
