"""Eight at once on one run: four reskins are painted while four others are judged, each by a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from evaluator import cli as evaluator
from handoff.ingest import ingest
from reskin import cli as reskin
from runner.process import ROOT, stage_environment
from tests.helpers import HANG_S, moving_square, outputs, records, until, write_clip
from tests.reskin.helpers import FPS, HEIGHT, SIDE, WIDTH, disc_mask, square_mask, write_masks

pytestmark = pytest.mark.server
FRAMES, SEEDS = 32, range(4)
GATE = (0, 1)
"""Exit codes of an evaluation that came to its verdict."""
EVALUATIONS = range(4, 8)


STOP_ITSELF = """
import os, re, runpy, signal, sys

pattern, module = sys.argv.pop(1), sys.argv.pop(1)
stopped = []


def stop(event, details):
    if event == "fcntl.flock" and not stopped and re.search(pattern, os.readlink(f"/proc/self/fd/{details[0]}")):
        stopped.append(event)
        os.kill(os.getpid(), signal.SIGSTOP)


sys.addaudithook(stop)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs a module that stops itself, once, where it locks a file whose path has the pattern in it: no clock decides."""


def start(module: str, *arguments: object, stop_at: str | None = None) -> subprocess.Popen[str]:
    program = ["-m", module] if stop_at is None else ["-c", STOP_ITSELF, stop_at, module]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        cwd=ROOT,
        env=stage_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def paint(run: Path, server: str, seed: int, stop_at: str | None = None) -> subprocess.Popen[str]:
    options = ("--workflow", "draft", "--name", f"new{seed}", "--seed", seed, "--server", server)
    return start("reskin", "--run", run, "--prompt", "drone, samurai", *options, stop_at=stop_at)


def judge(run: Path, seed: int, stop_at: str | None = None) -> subprocess.Popen[str]:
    return start("evaluator", *files(run, f"alone-seed{seed}"), stop_at=stop_at)


def end(process: subprocess.Popen[str], *codes: int) -> None:
    said, _ = process.communicate(timeout=HANG_S)
    assert process.returncode in codes, said


def files(run: Path, name: str) -> list[str]:
    return ["-original", str(run / "mask.mp4"), "-generated", str(run / "reskins" / name / "output.mp4")]


@pytest.fixture(scope="module")
def finished(comfy_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with four reskins, painted one after the other."""
    folder = tmp_path_factory.mktemp("at-once")
    run = ingest(write_clip(folder / "in.mp4", moving_square(FRAMES, WIDTH, HEIGHT, SIDE), fps=FPS), folder / "run")
    write_masks(run.path("mask.mp4"), FRAMES, square_mask)
    write_masks(run.path("human_mask.mp4"), FRAMES, disc_mask)
    options = ["--workflow", "draft", "--name", "alone", "--seeds", str(len(SEEDS)), "--server", comfy_server]
    call(reskin.command, ["--run", str(run.dir), "--prompt", "drone, samurai", *options])
    return run.dir


@pytest.fixture(scope="module")
def alone(finished: Path) -> dict[str, str]:
    """The digests of all files where the four were judged one after the other too."""
    run = shutil.copytree(finished, finished.with_name("judged") / "run")
    for seed in SEEDS:
        call(evaluator.command, files(run, f"alone-seed{seed}"))
    return outputs(run)


def call(stage: click.Command, arguments: list[str]) -> None:
    assert CliRunner().invoke(stage, arguments, catch_exceptions=False, standalone_mode=False).return_value in GATE


@pytest.fixture
def painted(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, for one test."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def crowd(painted: Path, comfy_server: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Four paintings and four evaluations, all eight stopped in the middle of their work; see `go_on`."""
    processes = [paint(painted, comfy_server, seed, r"/\.scratch\.") for seed in SEEDS]
    processes += [judge(painted, seed, r"/\.overlay\.mp4\.") for seed in SEEDS]
    half = [f"new{seed}/.scratch.*.partial" for seed in SEEDS]
    half += [f"alone-seed{seed}/report/.overlay.mp4.*.partial" for seed in SEEDS]
    try:
        for process in processes:
            until("it is at work", lambda process=process: has_stopped(process))
        assert all(list(painted.glob(f"reskins/{pattern}")) for pattern in half)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def has_stopped(process: subprocess.Popen[str]) -> bool:
    """Say whether it has stopped itself; fail with what it said where it has ended."""
    if os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT):
        return True
    assert process.poll() is None, process.communicate()
    return False


def go_on(processes: Iterable[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.send_signal(signal.SIGCONT)


def all_is_right(run: Path, alone: dict[str, str]) -> None:
    """All eight are there, listed with their digests, and to the byte what each is when it is done alone."""
    made = outputs(run)
    wanted = dict(alone)
    for seed in SEEDS:
        for name in ("output.mp4", "output.json"):
            wanted[f"reskins/new{seed}/{name}"] = alone[f"reskins/alone-seed{seed}/{name}"]
    assert made == wanted
    both = {f"{stage}/alone-seed{seed}" for stage in ("reskin", "evaluator") for seed in SEEDS}
    assert records(run).keys() == {"ingest", *both, *(f"reskin/new{seed}" for seed in SEEDS)}
    assert not list(run.rglob("*.partial"))
    assert (run / "reskins" / ".latest").read_text().strip() in {f"new{seed}" for seed in SEEDS}


def test_eight_at_once_are_all_complete_and_right_and_a_ninth_on_one_of_them_is_refused(
    painted: Path, alone: dict[str, str], crowd: list[subprocess.Popen[str]], comfy_server: str
) -> None:
    for ninth in (judge(painted, 0), paint(painted, comfy_server, 0)):
        said, _ = ninth.communicate(timeout=HANG_S)
        assert ninth.returncode == 2, said
        assert said.splitlines()[-1].startswith("error: another process is painting or judging the reskin"), said
    go_on(crowd)
    for number, process in enumerate(crowd):
        end(process, *(GATE if number in EVALUATIONS else (0,)))
    all_is_right(painted, alone)


@pytest.mark.slow
def test_one_that_is_killed_harms_none_of_the_others_and_can_be_done_again(
    painted: Path, alone: dict[str, str], crowd: list[subprocess.Popen[str]], comfy_server: str
) -> None:
    victims = (1, 6)
    for victim in victims:
        crowd[victim].kill()
        crowd[victim].wait()
    go_on(crowd)
    for number, process in enumerate(crowd):
        if number not in victims:
            end(process, *(GATE if number in EVALUATIONS else (0,)))
    assert len(list(painted.rglob("*.partial"))) >= 2, "what the two left is still there"
    assert not {"reskin/new1", "evaluator/alone-seed2"} & records(painted).keys()
    again = [paint(painted, comfy_server, 1), judge(painted, 2)]
    end(again[0], 0)
    end(again[1], *GATE)
    all_is_right(painted, alone)
