"""Processes that are measured side by side: they take turns, so that whatever else the machine does slows all alike."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handoff.errors import GateFailed

ROOT = Path(__file__).resolve().parent.parent
TURN_S = 2.0


def answer(process: subprocess.Popen[str]) -> str:
    """The next line that a child prints."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise GateFailed("a measured process ended before its time; its message is above.")
    return line


def start(
    stack: contextlib.ExitStack, names: Sequence[str], module: str, arguments: Sequence[str], env: dict[str, str]
) -> dict[str, subprocess.Popen[str]]:
    """Start `python -m module --child NAME arguments...` for each name, each frozen once it has said "ready".

    The word to go on waits in its stdin, so that it works when it is thawed. All end with `stack` at the latest.
    """
    children = {}
    for name in names:
        command = [sys.executable, "-m", module, "--child", name, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
        children[name] = stack.enter_context(process)
        stack.callback(process.kill)
        answer(process)
        os.kill(process.pid, signal.SIGSTOP)
        print("go", file=process.stdin, flush=True)
    return children


def take_turns(children: dict[str, subprocess.Popen[str]]) -> dict[str, float]:
    """Let the frozen processes run one after the other until each has said "done"; returns how long each ran, s."""
    seconds = dict.fromkeys(children, 0.0)
    working = dict(children)
    while working:
        for name, process in list(working.items()):
            started = time.perf_counter()
            os.kill(process.pid, signal.SIGCONT)
            output: Any = process.stdout
            finished = output in select.select([output], [], [], TURN_S)[0]
            if not finished:
                os.kill(process.pid, signal.SIGSTOP)
            seconds[name] += time.perf_counter() - started
            if finished:
                answer(process)
                del working[name]
    return seconds
