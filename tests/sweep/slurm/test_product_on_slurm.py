"""The product's own sweep on a real SLURM: the same table as on one machine, and nothing twice, whatever is killed."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from runner.process import ROOT
from sweep.cluster import slurm
from tests.helpers import HANG_S
from tests.sweep.slurm.cluster import Cluster
from tests.sweep.wholes import WholeSweep

pytestmark = [pytest.mark.slow, pytest.mark.stage, pytest.mark.stage("sweep"), pytest.mark.server]
JOB = r"sweep-job .* paint"
SMALL = {
    r"mem_mb: \d+": "mem_mb: 1500",
    r"cpus_per_task: \d+": "cpus_per_task: 1",
    r"(status-checks): \d+": r"\1: 1",
    r"latency-wait: \d+": "latency-wait: 5",
}
"""What a copy of the profile has for the pretended node."""


class SlurmSweep(WholeSweep):
    """A sweep whose jobs a cluster does."""

    @property
    def profile(self) -> list[str]:
        """Write a profile of the user's own, and return the option that names it."""
        text = (ROOT / "sweep" / "profiles" / "slurm" / "config.yaml").read_text()
        for line, small in SMALL.items():
            text, count = re.subn(line, small, text)
            assert count == 1, line
        own = self.place / "profile"
        own.mkdir(parents=True, exist_ok=True)
        (own / "config.yaml").write_text(text)
        return ["--profile", f"{own}/"]

    @property
    def live(self) -> list[slurm.LiveJob]:
        return slurm.live_jobs(slurm.job_prefix("mine", self.folder))

    def follower(self, job: slurm.LiveJob) -> slurm.LiveJob | None:
        """Return the job that does what `job` was to do."""
        return next((each for each in self.live if each.target == job.target and each.id != job.id), None)

    def running(self) -> list[slurm.LiveJob]:
        return [job for job in self.live if job.state == "RUNNING"]

    def asked_in(self) -> Counter[str]:
        """How many paintings each batch was asked for, by all its servers."""
        asked = Counter[str]()
        for log in (self.folder / "logs").glob("*.comfyui-*.log"):
            asked[log.name.partition(".")[0]] += log.read_text(errors="replace").count("got prompt")
        return asked

    def until_painting_in(self, jobs: int) -> None:
        """Wait until `jobs` jobs run that each have asked their server for one more painting than now."""
        before = self.asked_in()
        wait_until("paintings are under way", lambda: len(self.asked_in() - before) >= jobs)

    def until_at_work(self, jobs: int) -> None:
        """Wait until so many jobs of the product are at work."""
        wait_until("the jobs are at work", lambda: len(self._jobs()) == jobs)

    def freeze(self) -> list[int]:
        """Stop the jobs, so that none ends before it is looked at; return their processes."""
        found = self._jobs()
        for each in found:
            os.kill(each, signal.SIGSTOP)
        assert found
        return found

    def _jobs(self) -> list[int]:
        return [each for each, words in self.processes().items() if re.search(JOB, words)]

    def begun(self) -> Counter[str]:
        """How often each job has begun."""
        logs = (self.folder / "logs").glob("*-[0-9][0-9][0-9]-*.log")
        found = {log: len(re.findall("^--- ", log.read_text(), re.M)) for log in logs if "comfyui" not in log.name}
        return Counter({log.stem: count for log, count in found.items()})

    def until_it_waits_for(self, jobs: int) -> None:
        """Wait until the sweep has found so many jobs that an earlier one left."""
        told = f"waiting for {jobs} of the sweep's jobs that SLURM still has: "
        wait_until("it has found them", lambda: told in self.said_so_far())

    def outcomes(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("cells/*/*.json"))]

    def told(self) -> list[tuple[str, ...]]:
        """What the table says of each cell, apart from how long it took."""
        with (self.folder / "table.csv").open(newline="") as file:
            return sorted(
                tuple(row[name] for name in ("clip", "prompt", "seed", "verdict", "worst_iou", "worst_frame", "path"))
                for row in csv.DictReader(file)
            )


def wait_until(what: str, holds: Callable[[], bool], limit_s: float = HANG_S) -> None:
    """Wait until something holds that SLURM is asked for."""
    ends = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < ends, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.5)


def thaw(processes: list[int]) -> None:
    for each in processes:
        os.kill(each, signal.SIGCONT)


def span(outcome: dict[str, Any]) -> tuple[datetime, datetime]:
    """When a job had a thing in work; the beginning is told in whole seconds."""
    began = datetime.fromisoformat(outcome["began"])
    return began, began + timedelta(seconds=outcome["seconds"])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("product")


@pytest.fixture
def done(cluster: Cluster, place: Path) -> SlurmSweep:
    """Three cells done on the cluster, by the first test that asks: do not change them, copy them."""
    sweep = SlurmSweep(place / "slurm", {"seeds": [0, 1, 2], "gpus": 2})
    if not (sweep.folder / "table.csv").is_file():
        process = sweep.start(*sweep.profile)
        most = 0
        ends = time.monotonic() + HANG_S
        while process.poll() is None and time.monotonic() < ends:
            most = max(most, len(sweep.running()))
            time.sleep(0.5)
        assert process.wait(1) in (0, 1), sweep.said_so_far()
        (place / "most").write_text(str(most))
    return sweep


@pytest.fixture
def sweep(done: SlurmSweep, cluster: Cluster, tmp_path: Path) -> Iterator[SlurmSweep]:
    copied = SlurmSweep(tmp_path / "copy", dict(done.said))
    done.copy(copied.place)
    yield copied
    cluster("scancel", "--user", "root")
    copied.kill()


def test_a_sweep_on_slurm_has_the_table_of_one_machine_and_each_job_its_own_gpu(done: SlurmSweep, place: Path) -> None:
    said = done.said_so_far()
    local = SlurmSweep(place / "local", dict(done.said))
    result = local.run()
    assert done.told() == local.told() and len(done.told()) == 3, said
    verdicts = {row[3] for row in done.told()}
    code = int("FAIL" in verdicts)
    assert verdicts <= {"pass", "FAIL"} and result.returncode == code, result.stdout + result.stderr
    again = done.run(*done.profile)
    assert again.returncode == code and "3 cells, 0 left" in again.stdout
    assert sorted(re.findall(r"^\[\d/3\] .*: (pass|FAIL) \(\d+ s\)$", said, re.M)) == sorted(r[3] for r in done.told())
    assert (place / "most").read_text() == "2"
    assert set(done.asked_in().values()) == {1} and len(done.asked_in()) == 3 and done.painted() == 3
    cells, [extraction] = done.outcomes(), [json.loads(f.read_text()) for f in done.folder.glob("extracted/*.json")]
    assert {each["gpu"] for each in cells} == {"0", "1"} and extraction["gpu"] in ("0", "1")
    second = timedelta(seconds=1)
    assert all(span(each)[0] >= span(extraction)[1] - second for each in cells)
    for gpu in ("0", "1"):
        spans = sorted(span(each) for each in cells if each["gpu"] == gpu)
        assert all(later[0] >= earlier[1] - second for earlier, later in pairwise(spans)), cells


@pytest.mark.skip(reason="not reliable yet: on a busy machine a process of a cancelled job was left after 30 s")
def test_a_cancelled_job_an_interrupted_and_a_killed_sweep_paint_nothing_twice(
    sweep: SlurmSweep, cluster: Cluster
) -> None:
    process = sweep.start(*sweep.profile, seeds=[0, 1, 2, 3, 4])
    sweep.until_painting_in(2)
    victim = sweep.running()[0]
    frozen = sweep.freeze()  # neither is done before it is looked at
    cluster("scancel", victim.id)
    thaw(frozen)
    wait_until("it is submitted again", lambda: sweep.follower(victim) is not None)
    assert process.poll() is None
    assert cluster.jobs(slurm.job_prefix("mine", sweep.folder))[victim.id][0] == "CANCELLED"
    wait_until("it runs", lambda: getattr(sweep.follower(victim), "state", "") == "RUNNING")
    began = time.monotonic()
    for each in (process.pid, sweep.process("-m sweep ")):  # as a terminal does: all of the foreground
        os.kill(each, signal.SIGINT)
    wait_until("SLURM has no job of it", lambda: not sweep.live, 60)
    assert process.wait(60) == 130, sweep.said_so_far()
    assert time.monotonic() - began < 60 and not sweep.live
    assert "interrupted: ending the jobs; what is done is kept" in sweep.said_so_far()
    sweep.until_nothing_is_left(30)
    left = list(sweep.rows().values()).count("not yet")
    assert left >= 1
    asked, begun = sweep.asked_in(), sweep.begun()

    process = sweep.start(*sweep.profile)
    sweep.until_at_work(left)
    frozen = sweep.freeze()
    os.kill(sweep.process("-m sweep "), signal.SIGKILL)
    assert process.wait(60) not in (0, 1)
    jobs = sweep.live
    assert len(jobs) == left
    process = sweep.start(*sweep.profile)
    sweep.until_it_waits_for(left)
    thaw(frozen)
    assert process.wait(HANG_S) in (0, 1), sweep.said_so_far()
    said = sweep.said_so_far()
    assert all(f"{job.id} ({job.target}, running)" in said for job in jobs)
    assert "5 cells, 0 left" in said and len(re.findall(r"^\[\d/5\] .*: (?:pass|FAIL)", said, re.M)) == left, said
    assert sorted((sweep.begun() - begun).values()) == [1] * left
    assert set((sweep.asked_in() - asked).values()) <= {1}  # what was painted before is only judged
    assert set(sweep.rows().values()) <= {"pass", "FAIL"} and len(sweep.rows()) == 5
    assert not sweep.live


def test_a_controller_that_is_away_costs_time_and_one_that_stays_away_ends_the_sweep_with_3(
    sweep: SlurmSweep, cluster: Cluster
) -> None:
    process = sweep.start(*sweep.profile, seeds=[0, 1, 2, 3])
    sweep.until_painting_in(1)
    frozen = sweep.freeze()  # what ends meanwhile SLURM takes minutes to notice
    cluster.kill_controller()
    time.sleep(30)
    assert process.poll() is None
    cluster.start_controller()
    thaw(frozen)
    assert process.wait(HANG_S) in (0, 1), sweep.said_so_far()
    assert sweep.painted() == sweep.asked() == 1 == sweep.begun().total() and len(sweep.rows()) == 4
    assert set(sweep.rows().values()) <= {"pass", "FAIL"}

    process = sweep.start(*sweep.profile, "--patience", "40", seeds=[0, 1, 2, 3, 4])
    sweep.until_painting_in(1)
    frozen = sweep.freeze()
    cluster.kill_controller()
    began = time.monotonic()
    assert process.wait(240) == 3, sweep.said_so_far()
    assert time.monotonic() - began > 40
    sentence = sweep.said_so_far().splitlines()[-1]
    assert sentence.startswith("error: SLURM's controller has not answered for 40 s (")
    assert sentence.endswith("start the same sweep again: it waits for them and goes on.")
    cluster.start_controller()
    process = sweep.start(*sweep.profile)
    sweep.until_it_waits_for(1)
    thaw(frozen)
    assert process.wait(HANG_S) in (0, 1), sweep.said_so_far()
    assert "5 cells, 0 left" in sweep.said_so_far()
    assert sweep.painted() == sweep.asked() == 2 == sweep.begun().total() and not sweep.live
    assert set(sweep.rows().values()) <= {"pass", "FAIL"} and len(sweep.rows()) == 5
