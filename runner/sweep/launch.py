"""make sweep: python runner sweep FILE.yaml [--profile NAME|FOLDER] [OPTIONS]; and the demo clip for it.

The sweep itself, sweep/, runs in its own environment: it has Snakemake, which nothing else of the product needs.
"""

from __future__ import annotations

import json
import os
import sys

from runner import runs
from runner.demo import demo_clip, demo_excerpt
from runner.envs import ensure_env
from runner.process import ALONE, FAILED, FAILED_AS, RunnerError, stage_environment
from runner.stages import run_module
from runner.sweep.gpus import found


def sweep(arguments: list[str]) -> int:
    """make sweep: every cell of a file, on this machine or on a cluster."""
    if any(each in ("-h", "--help") for each in arguments):
        os.execve(sys.executable, [sys.executable, *ALONE, "-m", "sweep.cli", "--help"], stage_environment())
    told = {"DATA_DIR": str(runs.data_dir()), "SWEEP_GPUS": str(len(found())), "SWEEP_PYTHON": sys.executable}
    code = run_module(ensure_env("sweep"), "sweep", arguments, **told, **FAILED_AS)
    if code == 1:  # Python's own: a gate that fails says so by FAILED
        raise RunnerError("python -m sweep ended with 1 by itself (above is what it said): nothing was decided.")
    return 1 if code == FAILED else code


def demo_clip_for_sweep(arguments: list[str]) -> int:
    """Make the demo clip, or an excerpt of it (FIRST LAST), and print as JSON where it is and where its board is."""
    if arguments and not (len(arguments) == 2 and all(each.isdigit() for each in arguments)):
        raise RunnerError("usage: python runner demo-clip [FIRST LAST]", 2)
    folder = demo_excerpt(*map(int, arguments)) if arguments else demo_clip()
    prompt = json.loads((folder / "truth.json").read_text())["prompt"]
    print(json.dumps({"clip": str(folder / "demo.mp4"), "frame": prompt["frame"], "bbox": prompt["box"]}))
    return 0
