"""What Docker Compose is given to read: this checkout's files, and what this very process wrote; no engine is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from runner.docker import compose, engine, images
from runner.process import ROOT

OTHER = 54321
GIB = 2**30


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a GPU, whose caller has one other group, and the data folder."""
    monkeypatch.setattr(compose, "use_gpu", lambda: False)
    monkeypatch.setattr(compose, "groups", lambda: [OTHER])
    monkeypatch.setattr(engine, "security", frozenset)
    monkeypatch.setattr(engine, "memory", lambda: 24 * GIB)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    for name in ("SKATE_MEMORY", "COMFYUI_MEMORY", "SKATE_PROCESSES", "SKATE_TMP"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


def read(command: list[str]) -> list[Path]:
    return [Path(command[at + 1]) for at, word in enumerate(command) if word == "-f"]


def test_it_reads_the_checkouts_files_and_a_new_one_in_a_folder_that_only_this_user_may_enter(machine: Path) -> None:
    *ours, own = read(compose.command("config"))
    assert ours == [ROOT / "compose.yaml", ROOT / "compose.cpu.yaml"]
    services = json.loads(own.read_text())["services"]
    assert set(services) == {*images.STAGES, "weights"} and set(map(str, services.values())) == {
        str({"group_add": [str(OTHER)]})
    }
    assert machine not in own.parents and own.parent.stat().st_mode & 0o777 == 0o700
    own.write_text("planted")
    assert str(OTHER) in read(compose.command("config"))[-1].read_text(), "written anew each time"
    assert not list(machine.rglob("*.y*ml"))


def test_the_file_goes_with_the_process() -> None:
    code = "from runner.docker import compose; compose.groups = lambda: [1]; print(*compose.own_files())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    own = Path(done.stdout.strip())
    assert own.name == "groups.yaml" and not own.parent.exists()


def test_no_env_file_and_no_variable_of_composes_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FILE", "PROFILES", "ENV_FILES", "PROJECT_NAME", "PATH_SEPARATOR", "DISABLE_ENV_FILE"):
        monkeypatch.setenv(f"COMPOSE_{name}", "planted")
    command = compose.command("config")
    assert command[command.index("--env-file") + 1] == os.devnull
    assert command[command.index("--project-directory") + 1] == str(ROOT)
    assert "planted" not in compose.environment().values()


def test_the_limits_are_a_stages_and_the_servers_and_the_environments_where_it_has_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual = {"SKATE_PROCESSES": "2048", "SKATE_TMP": "2g"}
    for there, stage, server in ((24 * GIB, 8 * GIB, 0.9 * 24 * GIB), (4 * GIB, 4 * GIB, 0.9 * 4 * GIB)):
        monkeypatch.setattr(engine, "memory", lambda there=there: there)
        assert compose.limits() == usual | {"SKATE_MEMORY": str(stage), "COMFYUI_MEMORY": str(int(server))}
    monkeypatch.setattr(engine, "memory", lambda: None)
    assert compose.limits() == usual | {"SKATE_MEMORY": str(8 * GIB), "COMFYUI_MEMORY": "0"}
    wanted = {"SKATE_MEMORY": "3g", "COMFYUI_MEMORY": "5g", "SKATE_PROCESSES": "99", "SKATE_TMP": "7m"}
    for name, value in wanted.items():
        monkeypatch.setenv(name, value)
    assert compose.limits() == wanted
    monkeypatch.setenv("SKATE_TMP", "")
    assert compose.limits()["SKATE_TMP"] == "2g", "an empty value counts as none"


@pytest.mark.parametrize("service", [*images.STAGES, "weights"])
def test_every_service_has_limits(service: str) -> None:
    found = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][service]
    which = "COMFYUI_MEMORY:-0" if service == "comfyui" else "SKATE_MEMORY:-8g"
    assert found["mem_limit"] == found["memswap_limit"] == f"${{{which}}}"
    assert found["pids_limit"] == "${SKATE_PROCESSES:-2048}"
    assert found["tmpfs"] == ["/tmp:size=${SKATE_TMP:-2g},mode=1777"]


def test_the_server_that_stays_has_a_folder_of_its_own(machine: Path) -> None:
    assert compose.variables()["COMFYUI_WORK"] == str(machine / "comfyui" / compose.PROJECT)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('a $b \\ "c" `d`', "'a $b \\ \"c\" `d`'"),
        ("it's", '"it\'s"'),
        ('it\'s $b \\ "c"\n', '"it\'s \\$b \\\\ \\"c\\"\\n"'),
    ],
)
def test_a_value_in_env_is_what_it_was_whatever_is_in_it(value: str, written: str) -> None:
    """tests/containers/test_compose.py asks Compose."""
    assert compose.quoted(value) == written
