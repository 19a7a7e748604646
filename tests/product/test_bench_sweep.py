"""What `make bench-sweep` measures, on so few cells that no figure means anything: it is all there, and was done."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.sweep import SweepHere
from handoff.errors import GateFailed
from runner.process import ROOT
from tests.helpers import HANG_S

pytestmark = pytest.mark.slow

FIGURES = {
    *("overhead_s_per_cell", "overhead_cpu_s_per_cell", "engine_s_per_cell", "saved_s_per_cell"),
    *("cells", "batch", "rounds", "sweep_s", "by_hand_s_per_cell", "by_hand_cpu_s_per_cell"),
    *("own_server_s_per_cell", "server_start_s", "again_s", "cores"),
    *("speedup_two_gpus", "one_gpu_s", "two_gpus_s", "batches", "slept_s_per_batch"),
}
"""The last line's."""


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


def test_a_sweep_that_is_refused_is_not_measured(tmp_path: Path) -> None:
    with pytest.raises(GateFailed, match=r"bench\.yaml:1: .*\bcells\b"):
        SweepHere(tmp_path / "refused", {"prompts": ["drone"], "cells": 3})
