"""Where a network runs: what --device says, unless the GPU is required."""

from __future__ import annotations

import os

REQUIRED = "SKATE_GPU"
"""Environment: "required" (GPU=on with containers) has "auto" mean the GPU or an error, never the CPU."""


def asked_device(device: str) -> str:
    """Return what is asked for: `device`, but "cuda" for "auto" where the environment requires the GPU."""
    return "cuda" if device == "auto" and os.environ.get(REQUIRED) == "required" else device


def asked_by(device: str) -> str:
    """Return how a user asked for the GPU, given what --device was: for messages."""
    return "GPU=on" if device == "auto" else f"--device {device}"
