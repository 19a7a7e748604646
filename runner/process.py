"""The runner's one error, and child processes that end with the process that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
FAILED = 101
"""What a stage that the runner starts ends with where the gate fails: by its own word, not by Python's 1."""
FAILED_AS = {"SKATE_FAILED_AS": str(FAILED)}
"""How it is told so (handoff/command.py)."""


INTERRUPTED, KILLED = 128 + signal.SIGINT, 128 + signal.SIGKILL
"""A stage's exit codes after Ctrl-C, and after what cannot be caught."""


class RunnerError(Exception):
    """Something the runner cannot go on without: a sentence, and an exit code as handoff/errors.py has them.

    exit_code: 2 bad usage, 3 something missing.
    """

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __str__(self) -> str:
        """Return the sentence with nothing in it that steers a terminal, as handoff/errors.py: a name may hold that."""
        return "\n".join(map(printable, super().__str__().split("\n")))


def printable(line: str) -> str:
    """Return a line with nothing in it that steers a terminal or begins another line: an escape stands in its place."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def say(line: str) -> None:
    """Print one line for people, whatever names are in it."""
    print(printable(line), flush=True)


def die_with_parent() -> None:
    """Have the kernel end this process when its parent dies, even by SIGKILL. For `preexec_fn`; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def without_gpu() -> bool:
    """Say whether no GPU is to be used although there may be one: GPU=off."""
    return os.environ.get("GPU") == "off"


ALONE = ("-P", "-s")
"""Python's options for what is started by `-m`: nothing is imported from the current folder, nor from the user's."""


_NOT_FOR_STAGES = ("PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONEXECUTABLE", "PYTHONINSPECT")
"""What would have a stage import other files than those of its environment, or end with another code than its own."""


def check_root() -> None:
    """Raise RunnerError where the project's folder cannot stand on Python's path, nor have environments in it."""
    if os.pathsep in str(ROOT):
        raise RunnerError(f"the project lies in {ROOT}, and Python's path is parted at each '{os.pathsep}'; move it.")


_LOADERS = ("glibc-hwcaps", "tls", "x86_64", "haswell", "avx512_1", "xeon_phi", "aarch64", "atomics")
"""Folders that the system's loader looks into beside a folder of libraries."""


def check_folder() -> None:
    """Raise RunnerError (2) where the current folder has libraries, which are code that would be run.

    Several packages of NVIDIA's that torch and ONNX Runtime load have an empty entry in their RUNPATH ("$ORIGIN:"). It
    means the current folder, and there the loader looks for libcuda.so.1 before it looks in the system's folders.
    """
    files = [*Path().glob("lib*.so*"), *(each for name in _LOADERS for each in Path(name).rglob("lib*.so*"))]
    found = [each for each in files if re.fullmatch(r"lib.+\.so[.0-9]*", each.name)]
    if found:
        raise RunnerError(
            f"the current folder has {str(min(found))!r}, and NVIDIA's packages would have the system's loader take it "
            "for a library of its own; start the command in another folder.",
            2,
        )


def stage_environment() -> dict[str, str]:
    """Return this process's environment with the project alone on Python's path, and no GPU where GPU=off.

    Raises RunnerError where the project's folder cannot stand on that path.
    """
    check_root()
    environment = {key: value for key, value in os.environ.items() if key not in _NOT_FOR_STAGES}
    no_gpu = {"CUDA_VISIBLE_DEVICES": ""} if without_gpu() else {}
    return environment | no_gpu | {"PYTHONPATH": str(ROOT), "PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1"}


@contextlib.contextmanager
def passing_sigterm(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM on to a child while the block waits for it, so that it ends in order and before this process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def leaving_sigint() -> Iterator[list[int]]:
    """Leave Ctrl-C to a child that is started and waited for in the block; yield a list of the signals that came.

    A KeyboardInterrupt here could come just when the child's exit code has been fetched: it would be lost, and the next
    wait would say 0. What came before the child was there is to be passed on to it.
    """
    came: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield came  # only the main thread is interrupted; what is ignored stays so, in the child too
        return
    signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
