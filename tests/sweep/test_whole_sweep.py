"""A whole sweep: what is done is not done again; whatever is interrupted or killed is gone on with, nothing twice."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time

import pytest

from tests.helpers import HANG_S, until
from tests.sweep.wholes import RUN, WholeSweep

pytestmark = [pytest.mark.slow, pytest.mark.stage, pytest.mark.server]
SNAKEMAKE, JOB, STAGE, SERVER = "-m snakemake", "sweep-job .* paint", "-m reskin ", "main.py .*--port"


def test_only_what_is_not_done_is_painted(sweep: WholeSweep) -> None:
    began = time.monotonic()
    again = sweep.run()
    assert again.returncode in (0, 1) and time.monotonic() - began < 60
    assert "1 clip, 1 cell, 0 left" in again.stdout and not [*(sweep.folder / "logs").glob("*.log")]
    foretold = sweep.run("-n", seeds=[0, 1])
    assert foretold.returncode == 0 and "2 cells, 1 left" in foretold.stdout and sweep.asked() == 0
    more = sweep.run()
    assert more.returncode in (0, 1) and sweep.painted() == 1, more.stdout + more.stderr
    assert set(sweep.rows().values()) <= {"pass", "FAIL"} and len(sweep.rows()) == 2
    reskin = next((sweep.data / "runs" / RUN / "reskins").glob("*-seed0-*"))
    shutil.rmtree(reskin)
    assert sweep.run().returncode in (0, 1) and sweep.painted() == 2
    assert (reskin / "output.mp4").is_file()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_an_interrupted_sweep_leaves_no_process_and_is_gone_on_with(sweep: WholeSweep, number: int) -> None:
    process = sweep.start(seeds=[0, 1])
    sweep.until_painting()
    if number == signal.SIGINT:  # as a terminal does: all of the foreground
        for each in (process.pid, sweep.process("-m sweep ")):
            os.kill(each, number)
    else:
        process.send_signal(number)
    assert process.wait(60) == 130, sweep.said_so_far()
    sweep.until_nothing_is_left(5)
    assert "interrupted: ending the jobs; what is done is kept" in sweep.said_so_far()
    assert list(sweep.rows().values()).count("not yet") == 1
    before = sweep.painted()
    assert sweep.run().returncode in (0, 1)
    assert before + 1 >= sweep.painted() >= 1 and "not yet" not in sweep.rows().values()


@pytest.mark.parametrize("victim", ["-m sweep ", r"runner\S* sweep ", SNAKEMAKE], ids=["sweep", "runner", "snakemake"])
def test_a_killed_sweep_is_gone_on_with_and_paints_nothing_twice(sweep: WholeSweep, victim: str) -> None:
    process = sweep.start(seeds=[0, 1])
    sweep.until_painting()
    os.kill(sweep.process(victim), signal.SIGKILL)
    code = process.wait(HANG_S)
    if victim == SNAKEMAKE:
        assert code in (0, 1) and "Snakemake was killed by signal 9" in sweep.said_so_far()
    else:
        assert code != 0
    assert sweep.run().returncode in (0, 1), sweep.said_so_far()
    interrupted = "interrupted: ending the jobs" in sweep.said_so_far()  # it hears of the runner's end
    assert interrupted == (victim not in ("-m sweep ", SNAKEMAKE))
    assert 1 <= sweep.painted() <= 1 + interrupted and "not yet" not in sweep.rows().values()
    sweep.until_nothing_is_left(30)


def test_a_killed_job_is_done_again_in_the_same_sweep(sweep: WholeSweep) -> None:
    process = sweep.start(seeds=[0, 1])
    sweep.until_painting()
    os.kill(sweep.process(JOB), signal.SIGKILL)
    assert process.wait(HANG_S) in (0, 1), sweep.said_so_far()
    assert sweep.painted() <= 2 and set(sweep.rows().values()) <= {"pass", "FAIL"}
    sweep.until_nothing_is_left(30)


@pytest.mark.parametrize(("victim", "code"), [(STAGE, 137), (SERVER, 3)], ids=["stage", "server"])
def test_a_cell_whose_stage_or_server_is_killed_fails_alone(sweep: WholeSweep, victim: str, code: int) -> None:
    process = sweep.start(seeds=[0, 1, 2], batch=8)
    sweep.until_painting()
    os.kill(sweep.process(victim), signal.SIGKILL)
    assert process.wait(HANG_S) == 3, sweep.said_so_far()
    said = sweep.said_so_far()
    assert re.search(rf"failed with exit code {code}\b", said) or code == 3, said
    assert re.search(r"^failed: .*\(1 cell, logs/\S+\.log\)$", said, re.M), said
    assert list(sweep.rows().values()).count("failed") == 1
    asked = sweep.asked()
    assert sweep.run().returncode in (0, 1)
    assert sweep.asked() - asked <= 1 and "failed" not in sweep.rows().values()


def test_two_sweeps_of_one_file_are_not_done_at_once(sweep: WholeSweep) -> None:
    process = sweep.start(seeds=[0, 1])
    sweep.until_painting()
    second = sweep.run()
    assert second.returncode == 2
    assert second.stderr.splitlines()[-1].startswith(
        f"error: another command is at work on the sweep in {sweep.folder}"
    )
    assert process.wait(HANG_S) in (0, 1) and sweep.painted() == 1


def test_two_sweeps_that_share_a_cell_both_go_on_and_paint_it_once(sweep: WholeSweep) -> None:
    process = sweep.start(seeds=[0, 1], gpus=2)
    sweep.until_painting()
    other = WholeSweep(sweep.place, sweep.said | {"name": "other"})
    result = other.run(seeds=[1, 2])
    assert result.returncode in (0, 1), result.stdout + result.stderr
    assert process.wait(HANG_S) in (0, 1), sweep.said_so_far()
    assert sweep.painted() == 1 and other.painted() == 1
    until("nothing is left", lambda: not sweep.processes(), 30)
