"""Child processes that end with the process that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel end this process when its parent dies, even by SIGKILL. For `preexec_fn`; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def stage_environment() -> dict[str, str]:
    """Return this process's environment with the project on Python's path and nothing else on it."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH")}
    return environment | {"PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}


def run_module(python: Path, module: str, arguments: Sequence[str]) -> int:
    """Run `python -m module arguments` in the caller's folder and return its exit code.

    Ctrl-C reaches the child too (same process group); it ends by itself and its code is returned.
    """
    command = [str(python), "-m", module, *arguments]
    child = subprocess.Popen(command, env=stage_environment(), preexec_fn=die_with_parent)
    while True:
        try:
            code = child.wait()
            return 128 - code if code < 0 else code
        except KeyboardInterrupt:
            continue
