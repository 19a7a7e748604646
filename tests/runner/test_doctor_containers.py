"""make doctor for containers: an engine that cannot be used as it is, the builder, and what containers do without."""

from __future__ import annotations

import importlib.util

import pytest

from runner.doctor.diagnosis import python_line
from tests.runner.helpers import Machine


def test_an_engine_that_cannot_be_used_as_it_is_says_why_on_its_own_line(machine: Machine) -> None:
    machine.docker(version="24.0.9")
    report = machine.doctor(RUNNER="docker")
    assert report.line("Docker engine") == (
        "missing Docker engine Docker Engine is 24.0.9, 25 is needed -> update it, or use RUNNER=local"
    )
    machine.docker(security='["name=userns"]')
    report = machine.doctor(RUNNER="docker")
    assert report.code == 3 and "userns-remap" in report.line("Docker engine") and not report.has("Docker Compose")
    machine.docker(security='["name=rootless"]')
    rootless = machine.doctor(RUNNER="docker").line("Docker engine")
    assert rootless.endswith("27.5.1, rootless: root in a container is you")


def test_the_builder_is_missing_only_while_images_are(machine: Machine) -> None:
    machine.docker(built=False)
    assert machine.doctor(RUNNER="docker").line("Docker buildx") == "ok Docker buildx v0.21.1"
    for built, code, status in ((False, 3, "missing"), (True, 0, "warn")):
        machine.docker(built=built, builder=False)
        report = machine.doctor(RUNNER="docker")
        assert report.code == code
        assert report.line("Docker buildx").startswith(f"{status} Docker buildx not there: make build needs it -> ")


def test_a_server_by_address_is_not_asked_for_containers(machine: Machine) -> None:
    machine.docker(built=True)
    report = machine.doctor(RUNNER="docker", SERVER="127.0.0.1:9")
    assert report.code == 0
    assert report.line("ComfyUI").startswith("warn ComfyUI 127.0.0.1:9 is not asked: a container would not reach it")


def test_a_python_that_makes_no_environments_is_missing_for_local_and_a_warning_for_docker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    local, docker = python_line(docker=False), python_line(docker=True)
    assert (local.status, docker.status) == ("missing", "warn")
    assert docker.value.endswith("without venv and ensurepip, which make demo needs")
    assert local.mend == docker.mend == "sudo apt install python3.11-venv"


def test_an_unhealthy_server_container_is_a_warning(machine: Machine) -> None:
    machine.docker(built=True, ps="Up 3 minutes (unhealthy)")
    report = machine.doctor(RUNNER="docker")
    assert report.line("ComfyUI").startswith("warn ComfyUI its container is Up 3 minutes (unhealthy) -> docker compose")
    assert report.code == 0
