"""Whether containers get the GPU: GPU=on, off, or auto, which is on where an NVIDIA runtime answers."""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys

from runner.docker import engine
from runner.process import RunnerError

CHOICES = ("auto", "on", "off")
_ADVICE = (
    "install the NVIDIA Container Toolkit and run: sudo nvidia-ctk runtime configure --runtime=docker && "
    "sudo systemctl restart docker; or go on without the GPU: GPU=off"
)


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
    if runtime():
        return True
    if wish == "on":
        raise RunnerError(f"GPU=on, but the Docker engine has no NVIDIA runtime; {_ADVICE}.")
    print("docker: no NVIDIA runtime answers, so the containers have no GPU (compose.cpu.yaml)", file=sys.stderr)
    return False
