"""Ctrl-C and SIGTERM, sent to a real process: what it tidies up is tidied up, however often they arrive."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from handoff.command import interruptible
from runner.process import ROOT
from tests.helpers import HANG_S, until

COMMAND = """
import pathlib, sys, time
import click
from handoff import command as commands

commands.GRACE_S = float(sys.argv[1])

@click.command()
def command():
    try:
        pathlib.Path("at-work").touch()  # in here: the signal may come at once
        time.sleep(3600)
    finally:
        pathlib.Path("tidying").touch()
        while not pathlib.Path("go-on").exists():
            time.sleep(0.01)
        pathlib.Path("tidied").touch()

commands.main(command, [])
"""
A_DAY_S = 86400.0


@contextlib.contextmanager
def started(folder: Path, grace_s: float, *, ignoring: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A command that works for ever, and tidies up until there is a file "go-on"; it ends with the block."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignoring else signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(grace_s)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignore,
    ) as child:
        try:
            until("it is at work", (folder / "at-work").exists)
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_does_not_end_the_tidying_up(
    tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    with started(tmp_path, A_DAY_S) as child:
        child.send_signal(first)
        until("it tidies up", (tmp_path / "tidying").exists)
        child.send_signal(second)  # pending when this returns: taken before the child sees the file made next
        (tmp_path / "go-on").touch()
        assert child.wait(HANG_S) == 130
        assert (tmp_path / "tidied").exists()
        assert child.stderr is not None
        said = child.stderr.read()
    assert said.strip() == "error: interrupted; the run is left as it was, run the same command to go on."


def test_later_a_second_signal_ends_a_tidying_up_that_hangs(tmp_path: Path) -> None:
    with started(tmp_path, 0.2) as child:
        child.send_signal(signal.SIGINT)
        until("it tidies up", (tmp_path / "tidying").exists)
        time.sleep(0.3)  # more than the grace, which began before the tidying up
        child.send_signal(signal.SIGINT)
        assert child.wait(HANG_S) == 130
        assert not (tmp_path / "tidied").exists()


def ignored_by(process: int) -> int:
    """The signals that a process ignores, as the kernel knows them: bit n - 1 is signal n."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1], 16)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    with started(tmp_path, A_DAY_S, ignoring=True) as child:
        assert ignored_by(child.pid) >> (signal.SIGINT - 1) & 1
        child.send_signal(signal.SIGINT)
        assert child.poll() is None and not (tmp_path / "tidying").exists()
        (tmp_path / "go-on").touch()
        child.send_signal(signal.SIGTERM)
        assert child.wait(HANG_S) == 130


def test_a_block_that_was_not_interrupted_puts_back_what_signals_do() -> None:
    heard = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(each) for each in heard]
    with interruptible():
        assert all(signal.getsignal(each) not in before for each in heard)
    assert [signal.getsignal(each) for each in heard] == before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
