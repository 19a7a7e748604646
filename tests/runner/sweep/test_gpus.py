"""A GPU for each job: real processes, real locks. nvidia-smi is a script on the PATH: a program's answer."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from runner.process import ROOT, RunnerError
from runner.sweep import gpus
from runner.sweep.gpus import GpuSlot, found, held, slots
from tests.helpers import until
from tests.preload import preloaded

TWO = [GpuSlot("0", there=True), GpuSlot("1", there=True)]
JOB = """
import json, os, pathlib, sys, time
from runner.sweep.gpus import held, slots
with held(slots(json.loads(sys.argv[2]))) as index:
    began = time.monotonic()
    time.sleep(float(sys.argv[3]))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    told = {"index": index, "shown": shown, "began": began, "ended": time.monotonic()}
    pathlib.Path(sys.argv[1], f"{os.getpid()}.json").write_text(json.dumps(told))
"""
HOLDING = """
import subprocess, sys
from runner.sweep.gpus import held, slots
with held(slots(None)) as index:
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    print(index, child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the test's own: no SLURM, no GPU named, no nvidia-smi, and a folder for the locks."""
    for name in (
        "CUDA_VISIBLE_DEVICES",
        "CUDA_DEVICE_ORDER",
        "GPU",
        "SLURM_JOB_ID",
        "SLURM_STEP_GPUS",
        "SLURM_JOB_GPUS",
    ):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(gpus.tempfile, "tempdir", None)
    gpus._indices.cache_clear()
    gpus._say.cache_clear()
    return tmp_path


def locks(machine: Path) -> Path:
    return machine / "tmp" / f"skate-physics-gpus-{os.getuid()}"


def nvidia_smi(machine: Path, script: str) -> None:
    path = machine / "bin" / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def jobs(machine: Path, number: int, wanted: int | None, seconds: float, **variables: str) -> list[dict[str, Any]]:
    """Start so many jobs at once, wait for them, and return what each one had, in the order of their beginnings."""
    folder = machine / "jobs"
    folder.mkdir()
    command = [sys.executable, "-c", JOB, str(folder), json.dumps(wanted), str(seconds)]
    started = [
        subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stderr=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    said = [each.communicate()[1] for each in started]
    assert [each.returncode for each in started] == [0] * number, said
    return sorted((json.loads(each.read_text()) for each in folder.iterdir()), key=lambda told: told["began"])


def never_two_on_one(told: list[dict[str, Any]]) -> bool:
    """Say whether the jobs of each index came one after the other. The clock is one for all processes."""
    for index in {each["index"] for each in told}:
        own = [each for each in told if each["index"] == index]
        if any(later["began"] < before["ended"] for before, later in itertools.pairwise(own)):
            return False
    return True


def test_six_jobs_on_two_gpus_have_one_each_and_never_two_the_same(machine: Path) -> None:
    told = jobs(machine, 6, None, 0.3, CUDA_VISIBLE_DEVICES="4,7")
    assert {each["index"] for each in told} == {"4", "7"}
    assert all(each["shown"] == each["index"] for each in told)
    assert never_two_on_one(told)


def test_without_a_gpu_so_many_jobs_at_a_time_as_the_file_says_and_the_environment_stays(machine: Path) -> None:
    told = jobs(machine, 4, 2, 0.3)
    assert {each["index"] for each in told} == {"0", "1"} and never_two_on_one(told)
    assert {each["shown"] for each in told} == {None}


def test_without_a_gpu_and_a_number_it_is_one_job_at_a_time(machine: Path) -> None:
    told = jobs(machine, 3, None, 0.1)
    assert {(each["index"], each["shown"]) for each in told} == {(None, None)}
    assert never_two_on_one(told)


def test_a_killed_jobs_gpu_is_free_though_a_child_of_it_lives(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    command = [sys.executable, "-c", HOLDING]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        index, child = job.stdout.readline().split()
        try:
            assert index == "3" and gpus._locked(locks(machine) / "3.lock") is None
            job.send_signal(signal.SIGKILL)
            job.wait()
            os.kill(int(child), 0)
            with held(slots(None)) as mine:
                assert mine == "3"
        finally:
            os.kill(int(child), signal.SIGKILL)


def test_who_waits_says_what_for_and_gets_it(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpus, "SILENT_S", 0.0)
    monkeypatch.setattr(gpus, "POLL_S", 0.05)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    waiting = subprocess.Popen([sys.executable, "-c", HOLDING], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert waiting.stdout is not None and waiting.stdin is not None
    index, child = waiting.stdout.readline().split()
    os.kill(int(child), signal.SIGKILL)
    assert index == b"0"
    with held(TWO) as second:
        assert second == "1" and os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        monkeypatch.setattr(gpus.time, "sleep", lambda _: (waiting.communicate(), time.perf_counter()))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
        with held(TWO) as third:
            assert third == "0"
    said = capfd.readouterr().err
    assert said.count("sweep: waiting for one of the GPUs 0, 1, which other jobs of yours have (locks: ") == 1


def test_the_environment_is_what_it_was_afterwards(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(machine, "printf '0\\n1\\n'")
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), held(slots(None)) as index:
        assert index == "0"
        changed = {name: os.environ[name] for name in os.environ if os.environ[name] != before.get(name)}
        assert changed == {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        raise ZeroDivisionError
    assert dict(os.environ) == before
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8932f937,1")
    with held(slots(None)) as index:
        assert index == os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-8932f937"
        assert "CUDA_DEVICE_ORDER" not in os.environ, "what an index means is the caller's"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-8932f937,1"


@pytest.mark.parametrize(
    ("variables", "index"),
    [
        ({}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, None),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "1"),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_STEP_GPUS": "3"}, "3"),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "2"}, "2"),
        ({"CUDA_VISIBLE_DEVICES": "1", "GPU": "off"}, "1"),
    ],
)
def test_what_slurm_gave_is_left_alone(
    machine: Path, monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], index: str | None
) -> None:
    nvidia_smi(machine, "touch asked; printf '0\\n1\\n'")
    for name, value in {"SLURM_JOB_ID": "17", **variables}.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with held(slots(2)) as first, held(slots(2)) as second:
        assert first == second == index
        assert dict(os.environ) == before
    assert not locks(machine).exists()


def test_of_several_gpus_that_slurm_gave_to_one_job_a_block_gets_one(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep on one machine, started in an allocation of two."""
    given = {"SLURM_JOB_ID": "17", "CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "2,3", "SLURM_JOB_GPUS": "2,3,5"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert slots(None) == TWO
    told = jobs(machine, 4, None, 0.2)
    assert {(each["index"], each["shown"]) for each in told} == {("2", "0"), ("3", "1")} and never_two_on_one(told)
    with held(slots(None)) as index:
        assert index == os.environ["SLURM_STEP_GPUS"] == "2" and os.environ["SLURM_JOB_GPUS"] == "2,3,5"
    monkeypatch.setenv("SLURM_JOB_ID", "18")
    with held(slots(None)):
        assert {each.name for each in locks(machine).iterdir()} == {
            f"slurm-{job}.lock" for job in ("17-0", "17-1", "18-0")
        }


def test_a_folder_of_locks_that_others_could_write_is_refused(machine: Path) -> None:
    folder, theirs = locks(machine), machine / "theirs"

    def refused(why: str) -> None:
        with pytest.raises(RunnerError, match=rf"skate-physics-gpus-\d+ {why}, and the locks of your GPUs must lie"):
            held(TWO).__enter__()

    theirs.mkdir()
    folder.symlink_to(theirs)
    refused("is no folder but a link")
    assert not list(theirs.iterdir())
    folder.unlink()
    folder.touch()
    with pytest.raises(RunnerError, match=r"cannot make .* \(File exists\); set TMPDIR to a folder of yours\."):
        held(TWO).__enter__()
    folder.unlink()
    folder.mkdir()
    folder.chmod(0o770)
    refused(r"is open to others \(mode 770\)")
    folder.chmod(0o700)
    (folder / "0.lock").symlink_to(theirs / "lock")
    with pytest.raises(RunnerError, match=r"0\.lock is a link, and a lock is a file; remove the link\."):
        held(TWO).__enter__()
    assert not list(theirs.iterdir())
    if os.getuid() != 0:
        pytest.skip("only root can give a folder to another user")
    os.chown(folder, 65534, 65534)
    refused("belongs to user 65534")


def test_without_locks_no_job_has_a_gpu_for_itself_and_that_is_said(machine: Path) -> None:
    command = [sys.executable, "-c", JOB, str(machine), "2", "0"]
    environment = preloaded(machine, locks=errno.ENOLCK)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "has no locks, so no job can have a GPU for itself; set TMPDIR" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 0 ", ["2", "0"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["1"]),
        ("NoDevFiles", []),
        ("1,1", ["1"]),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6,2", ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "2"]),
        ("MIG-GPU-8932f937/1/0", ["MIG-GPU-8932f937/1/0"]),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_does_and_nobody_else_is_asked(
    machine: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str]
) -> None:
    nvidia_smi(machine, "printf '0\\n1\\n2\\n3\\n'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert found() == expected
    with held(slots(None)) as index:
        assert index == (expected[0] if expected else None)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == (expected[0] if expected else text), "what is hidden stays hidden"
    with held(slots(1)):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == (expected[0] if expected else text)


def test_nvidia_smi_names_the_gpus_and_the_file_takes_the_first_of_them(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nvidia_smi(machine, '[ "$*" = "--query-gpu=index --format=csv,noheader" ] && printf "0\\n1\\n"')
    assert slots(None) == slots(2) == TWO and slots(1) == TWO[:1]
    assert capsys.readouterr().err == ""
    assert slots(3) == slots(3) == TWO
    assert capsys.readouterr().err == "sweep: gpus: 3, and there are only 2 to be used: 0, 1\n"
    monkeypatch.setenv("GPU", "off")
    assert found() == [] and slots(None) == [GpuSlot(None, there=False)]
    monkeypatch.delenv("GPU")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert found() == [], "what SLURM did not give is not the job's"


def test_without_gpus_the_file_still_says_how_many_at_a_time_and_it_is_said_once(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretended = [GpuSlot("0", there=False), GpuSlot("1", there=False)]
    assert slots(None) == [GpuSlot(None, there=False)]
    assert slots(2) == slots(2) == pretended
    nvidia_smi(machine, "echo 'No devices were found'; exit 6")
    gpus._indices.cache_clear()
    assert slots(2) == pretended
    assert capsys.readouterr().err == "sweep: gpus: 2, and there is no GPU to be used; 2 at a time without one\n"


def test_an_nvidia_smi_that_hangs_is_no_gpu_after_a_while(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpus.SMI_TIMEOUT_S == 30.0
    monkeypatch.setattr(gpus, "SMI_TIMEOUT_S", 2.0)
    nvidia_smi(machine, f"echo $$ >{machine}/pid; exec sleep 1000")
    assert slots(None) == [GpuSlot(None, there=False)]
    assert "nvidia-smi gave no answer for 2 s, so no GPU is used" in capsys.readouterr().err
    pid = int((machine / "pid").read_text())
    until(
        "it is gone",
        lambda: (
            subprocess.run(["ps", "-o", "stat=", str(pid)], capture_output=True, text=True, check=False).stdout.strip()[
                :1
            ]
            in ("", "Z")
        ),
    )
