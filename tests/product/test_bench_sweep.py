"""What `make bench-sweep` measures, on so few cells that no figure means anything: it is all there, and was done."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import sweep
from bench.sweep import SweepHere
from handoff.errors import GateFailed
from runner.process import ROOT
from tests.helpers import HANG_S

FIGURES = {
    *("overhead_s_per_cell", "overhead_cpu_s_per_cell", "engine_s_per_cell", "saved_s_per_cell"),
    *("cells", "batch", "rounds", "sweep_s", "by_hand_s_per_cell", "by_hand_cpu_s_per_cell"),
    *("own_server_s_per_cell", "server_start_s", "again_s", "cores"),
    *("speedup_two_gpus", "one_gpu_s", "two_gpus_s", "batches", "slept_s_per_batch"),
}
"""The last line's."""


@pytest.mark.slow
@pytest.mark.stage
@pytest.mark.server
def test_two_cells_are_measured_beside_their_commands_and_on_two_pretended_gpus() -> None:
    few = ["--cells", "2", "--rounds", "1", "--batches", "2", "--seconds", "8"]
    command = [sys.executable, "-m", "bench.sweep", *few]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=4 * HANG_S)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert {*figures} == FIGURES
    assert figures["cells"] == 2 and figures["batches"] == 2 and figures["slept_s_per_batch"] == 8
    assert figures["one_gpu_s"] > 16, "one after the other, both slept"
    assert figures["again_s"] < min(15, figures["sweep_s"])
    assert figures["own_server_s_per_cell"] > figures["server_start_s"] > 0
    assert figures["saved_s_per_cell"] == pytest.approx(
        figures["own_server_s_per_cell"] - figures["sweep_s"] / 2, abs=0.1
    )


class Clock:
    """In the place of `time`: what goes on only where a command is said to take so long."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class MadeUp(SweepHere):
    """A sweep whose commands take as long as is said here, by `clock`; those by hand end as `verdicts`."""

    verdicts = (0, 1)
    clock = Clock()

    def __init__(self, folder: Path, said: dict[str, Any], *, servers_have_nodes: bool = False) -> None:
        self.made: list[list[str]] = []

    def sweep(self, *more: str, allowed: object = ()) -> None:
        self.clock.now += 0.0 if self.made else 9.0
        self.made.append(["sweep"])

    def forget(self) -> None:
        self.made.clear()

    def cells(self) -> list[dict[str, Any]]:
        return [{"arguments": [str(number)]} for number in range(2)]

    def outcomes(self) -> list[dict[str, Any]]:
        return [{"code": 0, "seconds": 3.0}, {"code": 1, "seconds": 4.0}]

    def by_hand(self, cells: Any, *more: str) -> list[int]:
        self.clock.now += len(cells) * (1.0 if more else 6.0)
        return [self.verdicts[int(cell["arguments"][0])] for cell in cells]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> type[MadeUp]:
    @contextlib.contextmanager
    def server(folder: Path) -> Iterator[str]:
        MadeUp.clock.now += 2.0
        yield "127.0.0.1:1"

    monkeypatch.setattr(sweep, "own_server", server)
    monkeypatch.setattr(sweep, "SweepHere", MadeUp)
    monkeypatch.setattr(sweep, "time", MadeUp.clock)
    return MadeUp


def test_each_figure_is_of_what_it_says(made_up: type[MadeUp], tmp_path: Path) -> None:
    found = sweep.overhead(tmp_path, 2, 2)
    assert found["sweep_s"] == 9 and found["again_s"] == 0 and found["server_start_s"] == 2
    assert found["by_hand_s_per_cell"] == 1 and found["own_server_s_per_cell"] == 6
    assert found["overhead_s_per_cell"] == 9 / 2 - 1
    assert found["engine_s_per_cell"] == (9 - 3 - 4) / 2
    assert found["saved_s_per_cell"] == 6 - 9 / 2


def test_a_sweep_that_judges_otherwise_than_its_commands_is_not_measured(
    made_up: type[MadeUp], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(made_up, "verdicts", (0, 0))
    with pytest.raises(GateFailed, match=r"\[0, 1\], those by hand \[0, 0\]"):
        sweep.overhead(tmp_path, 2, 1)


@pytest.mark.slow
def test_a_sweep_that_is_refused_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match=r"bench\.yaml:1: .*\bcells\b"):
        SweepHere(tmp_path / "refused", {"prompts": ["drone"], "cells": 3})
