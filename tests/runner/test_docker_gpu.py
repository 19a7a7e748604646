"""Which GPU containers get: the job's, by a name that the engine knows. Compose reads the files; no engine is asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.docker import compose, engine, gpu, images, server, stage
from runner.process import ROOT, RunnerError
from tests.helpers import until

WITH_GPU = ("posegen", "tracker", "evaluator", "comfyui")
UUID = "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"
GIVEN = [
    ({}, None),
    ({"CUDA_VISIBLE_DEVICES": "1"}, "1"),
    ({"CUDA_VISIBLE_DEVICES": " 2,0"}, "2"),
    ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_STEP_GPUS": "3"}, "3"),
    ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_GPUS": "2,3"}, "2"),
    ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "5"}, "5"),
    ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_STEP_GPUS": "3", "SLURM_JOB_GPUS": "2,3"}, "3"),
    ({"SLURM_STEP_GPUS": "3"}, "3"),
    ({"CUDA_VISIBLE_DEVICES": "1", "SLURM_STEP_GPUS": ""}, "1"),
    ({"CUDA_VISIBLE_DEVICES": UUID, "SLURM_STEP_GPUS": "3"}, UUID),
]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine whose engine hands out GPUs, in a shell that names none."""
    monkeypatch.setattr(gpu, "runtime", lambda: True)
    monkeypatch.setattr(engine, "security", frozenset)
    monkeypatch.setattr(engine, "memory", lambda: None)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for name in ("GPU", gpu.VISIBLE, *gpu.SLURMS, compose.GPU_ID):
        monkeypatch.delenv(name, raising=False)
    gpu.use_gpu.cache_clear()
    yield tmp_path
    gpu.use_gpu.cache_clear()


def set_all(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def services(*more: str) -> dict[str, Any]:
    """Return the services as Compose reads them, with the command line and the environment of the runner."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command here")
    command = compose.command("config", "--format", "json", *more)
    done = subprocess.run(command, env=compose.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def devices(service: Mapping[str, Any]) -> list[Any]:
    return list((service.get("deploy") or {}).get("resources", {}).get("reservations", {}).get("devices", []))


@pytest.mark.parametrize(("variables", "expected"), GIVEN)
def test_the_gpu_is_slurms_then_cudas_by_a_number_that_counts_outside_of_the_job(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str], expected: str | None
) -> None:
    set_all(monkeypatch, variables)
    assert gpu.given() == expected
    assert compose.variables()["SKATE_GPU_ID"] == (expected or "0")


@pytest.mark.parametrize("variables", [GIVEN[0][0], GIVEN[3][0], GIVEN[-1][0]])
def test_each_container_gets_that_one_and_comfyuis_too(
    monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]
) -> None:
    set_all(monkeypatch, variables | {"SKATE_GPU_ID": "7"})  # which is Compose's by hand, and not the runner's
    found = services()
    expected = [{"driver": "nvidia", "device_ids": [gpu.for_containers()], "capabilities": ["gpu"]}]
    assert {name: devices(each) for name, each in found.items()} == {
        name: expected if name in WITH_GPU else [] for name in found
    }
    # inside, the one GPU is number 0, whatever it is outside
    assert not [name for name, each in found.items() if {gpu.VISIBLE, *gpu.SLURMS} & set(each["environment"])]


def test_without_a_gpu_none_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU", "off")
    assert not any(map(devices, services().values()))


def test_by_hand_it_is_the_first_unless_the_caller_names_one() -> None:
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name in WITH_GPU:
        [device] = devices(found[name])
        assert device == {"driver": "nvidia", "device_ids": ["${SKATE_GPU_ID:-0}"], "capabilities": ["gpu"]}, name


def test_env_names_no_gpu_since_that_is_of_the_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compose, "ROOT", tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    compose.write_env()
    text = (tmp_path / ".env").read_text()
    assert "SKATE_GPU=''" in text and "SKATE_GPU_ID" not in text


@pytest.mark.parametrize("text", ["", "-1", "NoDevFiles"])
def test_where_every_gpu_is_hidden_containers_have_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", text)
    assert not gpu.use_gpu() and not gpu.use_gpu()
    said = "docker: CUDA_VISIBLE_DEVICES hides every GPU, so the containers have none (compose.cpu.yaml)\n"
    assert capsys.readouterr().err == said
    gpu.use_gpu.cache_clear()
    monkeypatch.setenv("GPU", "on")
    with pytest.raises(RunnerError, match=rf"GPU=on, but CUDA_VISIBLE_DEVICES={text} hides every GPU") as refused:
        gpu.use_gpu()
    assert refused.value.exit_code == 2


def test_a_stages_container_is_told_of_no_gpu_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(images, "check", lambda stage: None)
    monkeypatch.setattr(compose, "remove_networks", lambda project: None)
    monkeypatch.setattr(stage, "_call", lambda command, name: commands.append(command) or 0)
    set_all(monkeypatch, {"CUDA_VISIBLE_DEVICES": "1", "SLURM_STEP_GPUS": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert stage.start_container("tracker", []) == 0
    assert not [word for word in commands[0] if "CUDA" in word or "SLURM" in word]


@pytest.mark.parametrize(
    ("requests", "ours", "used"),
    [
        (None, "1", True),  # made without a GPU
        ([{"Driver": "nvidia", "Count": 0, "DeviceIDs": ["1"]}], "1", True),
        ([{"Driver": "nvidia", "Count": 0, "DeviceIDs": ["0"]}], "1", False),
        ([{"Driver": "nvidia", "Count": 1, "DeviceIDs": None}], "0", True),  # of an older compose.yaml
        ([{"Driver": "nvidia", "Count": 1, "DeviceIDs": None}], "1", False),
    ],
)
def test_the_server_of_make_up_is_used_on_its_own_gpu_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, requests: object, ours: str, used: bool
) -> None:
    def stop(name: str) -> None:
        raise RunnerError("a server of its own")

    found = {"State": {"Running": True, "Health": {"Status": "healthy"}}, "HostConfig": {"DeviceRequests": requests}}
    monkeypatch.setattr(server, "_container", lambda project: "c0ffee")
    monkeypatch.setattr(engine, "inspect", lambda kind, name: found)
    monkeypatch.setattr(images, "check", stop)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    if used:
        with server.serve(tmp_path / "log") as (_, project):
            assert project == compose.PROJECT
    else:
        with pytest.raises(RunnerError, match="a server of its own"):
            server.serve(tmp_path / "log").__enter__()


def ignores(process: int, number: signal.Signals) -> bool:
    [mask] = re.findall(r"^SigIgn:\t(\w+)$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_what_ends_all_of_a_jobs_processes_leaves_the_one_that_ends_its_container(machine: Path) -> None:
    """As SLURM does it: SIGTERM to each, however it was started."""
    told = machine / "told"
    docker = machine / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$*" >>{told}\n')
    docker.chmod(0o755)
    code = "import sys\nfrom runner.docker.stage import _removed\n"
    code += "with _removed('ours'):\n    print(flush=True)\n    sys.stdin.read()"
    job = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{docker.parent}:{os.environ['PATH']}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert job.stdout is not None
    job.stdout.readline()
    listed = subprocess.run(["ps", "--ppid", str(job.pid), "-o", "pid="], capture_output=True, text=True, check=True)
    [guard] = map(int, listed.stdout.split())
    until("it has begun", lambda: ignores(guard, signal.SIGTERM))
    for process in (guard, job.pid):
        os.kill(process, signal.SIGTERM)
    job.communicate()
    assert job.returncode == -signal.SIGTERM
    until("the container is ended", lambda: told.exists() and told.read_text() == "stop ours\nrm --force ours\n")
