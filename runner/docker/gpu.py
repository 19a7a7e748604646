"""Whether containers get the GPU (GPU=on, off, or auto, which is on where an NVIDIA runtime answers), and which one."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import shutil
import sys

from runner.docker import engine
from runner.process import RunnerError

CHOICES = ("auto", "on", "off")
_ADVICE = (
    "install the NVIDIA Container Toolkit and run: sudo nvidia-ctk runtime configure --runtime=docker && "
    "sudo systemctl restart docker; or go on without the GPU: GPU=off"
)
VISIBLE = "CUDA_VISIBLE_DEVICES"
SLURMS = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
"""SLURM's own numbers of what a step or a batch job was given. CUDA_VISIBLE_DEVICES may count from 0 in each job, where
SLURM hides the others; the engine, which is no part of the job, sees them all."""
_DEVICE = re.compile(r"[0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+")


def visible() -> list[str] | None:
    """Return the GPUs that CUDA_VISIBLE_DEVICES names, indices or UUIDs, each once; None where it is not set.

    As CUDA reads it: the list ends at the first that is neither, such as -1, and an empty one hides every GPU.
    """
    text = os.environ.get(VISIBLE)
    if text is None:
        return None
    return list(dict.fromkeys(itertools.takewhile(_DEVICE.fullmatch, (each.strip() for each in text.split(",")))))


def given() -> str | None:
    """Return the GPU that this process has, as the engine knows it: an index or a UUID; None where nobody gave it one.

    The first that SLURM gave, else the first that CUDA_VISIBLE_DEVICES names. A UUID names the same GPU everywhere.
    """
    named = visible() or []
    if named and not named[0].isdigit():
        return named[0]
    slurms = re.match("[0-9]+", os.environ.get("SLURM_STEP_GPUS") or os.environ.get("SLURM_JOB_GPUS") or "")
    if slurms:
        return slurms[0]
    return named[0] if named else None


def for_containers() -> str:
    """Return the GPU that containers get, where they get one: this process's, else the engine's first."""
    return given() or "0"


@functools.cache
def runtime() -> bool:
    """Say whether the engine can hand an NVIDIA GPU to a container."""
    answer = engine.docker("info", "--format", "{{json .Runtimes}}")
    try:
        named = "nvidia" in json.loads(answer.stdout or "{}")
    except ValueError:
        named = False
    # without a named runtime the engine still can where the toolkit's hook is on its path
    return named or shutil.which("nvidia-container-runtime-hook") is not None


def required() -> bool:
    """Say whether a stage must fail rather than go on without a GPU: GPU=on."""
    return os.environ.get("GPU") == "on"


@functools.cache
def use_gpu() -> bool:
    """Decide by $GPU; say so once where the GPU is taken away. RunnerError where it is asked for and cannot be had."""
    wish = os.environ.get("GPU") or "auto"
    if wish not in CHOICES:
        raise RunnerError(f"GPU={wish} is not known; use one of {', '.join(CHOICES)}.", 2)
    if wish == "off":
        return False
    if visible() == []:
        if wish == "on":
            raise RunnerError(
                f"GPU=on, but {VISIBLE}={os.environ[VISIBLE]} hides every GPU; take one of the two back.", 2
            )
        print(f"docker: {VISIBLE} hides every GPU, so the containers have none (compose.cpu.yaml)", file=sys.stderr)
        return False
    if runtime():
        return True
    if wish == "on":
        raise RunnerError(f"GPU=on, but the Docker engine has no NVIDIA runtime; {_ADVICE}.")
    print("docker: no NVIDIA runtime answers, so the containers have no GPU (compose.cpu.yaml)", file=sys.stderr)
    return False
