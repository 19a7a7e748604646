"""Which jobs on SLURM are a sweep's, by their names, and what is said where SLURM is not there or does not answer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from runner.process import ROOT
from sweep.cluster import slurm
from sweep.errors import SweepError

UUID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Have squeue print what is given, and scancel note what it is asked."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setattr(slurm, "PAUSE_S", 0.05)

    def make(says: str, code: int = 0) -> Path:
        (tmp_path / "says").write_text(says)
        for name, body in (("squeue", f"cat {tmp_path}/says {'>&2' * bool(code)}; exit {code}"), ("scancel", "exit 8")):
            (tmp_path / name).write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/{name}.calls\n{body}\n')
            (tmp_path / name).chmod(0o755)
        return tmp_path / "scancel.calls"

    return make


@pytest.mark.parametrize("name", ["example", "x" * 80, "übung 1/2; rm -rf", "", "-n"])
def test_a_prefix_is_one_that_the_plugin_takes(name: str, tmp_path: Path) -> None:
    prefix = slurm.job_prefix(name, tmp_path / "a")
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,50}", prefix) and prefix.startswith("skate_")
    assert prefix == slurm.job_prefix(name, tmp_path / "b" / ".." / "a")
    assert prefix != slurm.job_prefix(name, tmp_path / "b")


def test_live_jobs_are_this_sweeps_and_have_not_ended(squeue: Callable[[str], Path]) -> None:
    prefix = "skate_toy_0123abcd"
    squeue(
        f"7|RUNNING|{prefix}_{UUID}|rule_paint_wildcards_demo-000-1a\n"
        f"8_2|PENDING|{prefix}_{UUID}|rule_extract_wildcards_demo-1a\n"
        f"9|COMPLETING|{prefix}_{UUID}|rule_all\n"
        f"10|COMPLETED|{prefix}_{UUID}|rule_paint_wildcards_demo-001-1a\n"
        f"11|NODE_FAIL|{prefix}_{UUID}|rule_paint_wildcards_demo-002-1a\n"
        f"12|RUNNING|{prefix}_more_99999999_{UUID}|rule_paint_wildcards_other\n"
        f"13|RUNNING|{prefix}|theirs\n"
        "14|RUNNING|wrap|a|b\n"
    )
    jobs = slurm.live_jobs(prefix)
    assert [(job.id, job.state, job.target) for job in jobs] == [
        ("7", "RUNNING", "demo-000-1a"),
        ("8_2", "PENDING", "demo-1a"),
        ("9", "COMPLETING", None),
    ]


def test_jobs_that_have_ended_meanwhile_are_cancelled_without_a_word(
    squeue: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = squeue("")
    monkeypatch.setattr(slurm, "_AT_ONCE", 2)
    slurm.cancel([slurm.LiveJob(str(i), "RUNNING", "n", "c") for i in range(3)])
    assert log.read_text().splitlines() == ["--quiet 0 1", "--quiet 2"]


def test_while_jobs_are_waited_for_what_they_do_is_looked_at(
    squeue: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "_LOOK_S", 0.0)
    line, said, looks = f"7|RUNNING|skate_toy_0123abcd_{UUID}|rule_paint_wildcards_demo-000-1a\n", [], []
    squeue(line)

    def look() -> None:
        looks.append(1)
        squeue(line if len(looks) < 3 else "")

    slurm.wait_for(slurm.live_jobs("skate_toy_0123abcd"), said.append, look=look)
    assert len(looks) == 4  # also when the last has ended
    assert said == ["waiting for 1 of the sweep's jobs that SLURM still has: 7 (demo-000-1a, running)"]


def test_a_controller_that_does_not_answer_is_said_in_one_sentence(squeue: Callable[..., Path]) -> None:
    squeue("slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n", code=1)
    with pytest.raises(slurm.ControllerSilent, match=r"not answered for 0 s \(slurm_load_jobs error: Unable"):
        slurm.live_jobs("skate", patience_s=0.2)
    assert not slurm.controller_answers()


def test_a_refusal_is_not_waited_for(squeue: Callable[..., Path]) -> None:
    squeue("squeue: error: Invalid user: 77\n", code=1)
    with pytest.raises(SweepError, match="squeue failed with exit code 1: squeue: error: Invalid user: 77"):
        slurm.live_jobs("skate")


def test_without_slurm_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (lambda: slurm.live_jobs("skate"), lambda: slurm.wrappers(tmp_path / "state")):
        with pytest.raises(SweepError, match=r"not on PATH.*on a login node") as raised:
            call()
        assert raised.value.exit_code == 3


def test_the_profile_is_patient_and_asks_squeue() -> None:
    profile = yaml.safe_load((ROOT / "sweep" / "profiles" / "slurm" / "config.yaml").read_text())
    assert profile["executor"] == "slurm" and profile["keep-going"] and profile["rerun-incomplete"]
    assert profile["retries"] == 1 and profile["slurm-requeue"]
    told = dict(zip(*[iter(slurm.options("skate_x"))] * 2, strict=True))
    assert told["--slurm-status-command"] == profile["slurm-status-command"] == "squeue"
    assert int(told["--slurm-status-attempts"]) == profile["slurm-status-attempts"]
    assert int(told["--slurm-status-attempts"]) * 50 > slurm.PATIENCE_S
