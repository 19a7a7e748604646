"""Which runner is used, and why containers cannot be; docker itself is a small program of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.process import ROOT

# what the real programs print
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NOT_LET_IN = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.45/version": dial unix /var/run/docker.sock: connect: permission denied'
)
REMAPPED = '["name=seccomp,profile=builtin","name=cgroupns","name=userns"]'
ROOTLESS = '["name=seccomp,profile=builtin","name=rootless","name=cgroupns"]'
NO_COMPOSE = "docker: 'compose' is not a docker command."
Answers = dict[str, tuple[int, str]]
WELL: Answers = {"version": (0, "26.1.5"), "compose": (0, "2.26.1-4")}
Only = Callable[[Answers | None], None]


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Only:
    """Have nothing on the PATH but a docker with these answers, by its first argument; None: not even that."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://nowhere:1")
    (tmp_path / "bin").mkdir()

    def make(answers: Answers | None) -> None:
        if answers is None:
            return
        cases = "".join(
            f"{command}) echo {text!r} >&{1 if code == 0 else 2}; exit {code};;\n"
            for command, (code, text) in answers.items()
        )
        program = tmp_path / "bin" / "docker"
        program.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}*) exit 1;;\nesac\n')
        program.chmod(0o755)

    return make


def ask(code: str, wish: str | None = None) -> str:
    """Run a line of the runner's own in a new process, where nothing is remembered yet; return what it says."""
    environment = {name: value for name, value in os.environ.items() if name != "RUNNER"}
    environment |= {} if wish is None else {"RUNNER": wish}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def problem() -> str:
    return ask("from runner.docker import engine; print(engine.problem())")


def runner(wish: str | None) -> str:
    code = (
        "from runner import stages; from runner.process import RunnerError\n"
        "try: print(stages.runner())\nexcept RunnerError as error: print(error.exit_code, error)"
    )
    return ask(code, wish)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (None, ("there is no docker command", "install Docker Engine")),
        ({"version": (1, NO_DAEMON)}, ("does not answer", "Is the docker daemon running?", "systemctl start docker")),
        ({"version": (1, NOT_LET_IN)}, ("does not let this user in", "usermod -aG docker")),
        ({**WELL, "version": (0, "24.0.7")}, ("Docker Engine is 24.0.7, 25 is needed", "update it")),
        ({**WELL, "info": (0, REMAPPED)}, ("maps users to others (userns-remap)", "daemon.json")),
        ({**WELL, "compose": (1, NO_COMPOSE)}, ("no compose plugin", "docker-compose-plugin")),
        ({**WELL, "compose": (0, "2.23.3")}, ("Docker Compose is 2.23.3, 2.24 is needed", "update it")),
        ({**WELL, "compose": (0, "v1.29.2")}, ("Docker Compose is v1.29.2, 2.24 is needed",)),
    ],
    ids=["no docker", "no daemon", "not let in", "old", "remapped", "no compose", "old compose", "older compose"],
)
def test_why_containers_cannot_be_run_is_one_sentence_with_both_ways_on(
    only: Only, answers: Answers | None, words: tuple[str, ...]
) -> None:
    only(answers)
    said = problem()
    assert len(said.splitlines()) == 1 and "RUNNER=local" in said
    for word in words:
        assert word in said
    assert runner("docker") == f"3 {said}"
    assert runner("auto") == "local", "auto goes without containers and says nothing"
    assert runner("local") == "local"


def test_the_caller_is_the_containers_root_where_the_engine_is_rootless_and_keeps_the_number_elsewhere(
    only: Only,
) -> None:
    code = "import os; from runner.docker import compose; os.getgroups = lambda: [os.getgid(), 4242]; "
    code += "known = compose.variables(); print(known['HOST_UID'], known['HOST_GID'], compose.groups())"
    only({**WELL, "info": (0, ROOTLESS)})
    assert ask(code) == "0 0 []"
    only({**WELL, "info": (0, '["name=seccomp,profile=builtin"]')})
    assert ask(f"import os; os.getuid = os.getgid = lambda: 1234; {code}") == "1234 1234 [4242]"


def test_images_are_not_built_without_the_plugin_that_builds_them(only: Only) -> None:
    only({**WELL, "buildx": (1, "docker: 'buildx' is not a docker command.")})
    done = subprocess.run(
        [sys.executable, "-m", "runner.docker", "build"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert done.stderr.startswith("error: Docker has no buildx plugin") and "docker-buildx-plugin" in done.stderr


@pytest.mark.parametrize("version", ["2.24.0", "2.26.1-4", "v2.30.3", "2.29.1+ds1", "3.0"])
def test_a_compose_that_is_new_enough_is_one(only: Only, version: str) -> None:
    only({**WELL, "compose": (0, version)})
    assert problem() == "None"


def test_auto_is_docker_only_where_all_five_images_are(only: Only) -> None:
    only({**WELL, "image": (1, "Error: No such image")})
    assert runner(None) == runner("auto") == "local"
    only({**WELL, "image": (0, '[{"Config": {"Labels": {}}}]'), "ps": (0, ""), "network": (0, "")})
    assert runner(None) == runner("auto") == runner("") == "docker"


def test_a_server_by_address_is_reached_without_a_container_unless_docker_was_asked_for(
    only: Only, tmp_path: Path
) -> None:
    only({**WELL, "image": (0, '[{"Config": {"Labels": {}}}]'), "ps": (0, ""), "network": (0, "")})
    for name in ("run.json", "mask.mp4", "pose.json"):
        (tmp_path / name).write_text("{}")
    code = (
        "from runner import reskin, stages\n"
        "reskin.start_stage = lambda *arguments, **options: print(stages.runner()) or 0\n"
        f"files = ['--mask', '{tmp_path}/mask.mp4', '--pose', '{tmp_path}/pose.json']\n"
        f"reskin.reskin(['--run', '{tmp_path}', *files, '--prompt', 'drone', '--server', 'gpu1:8188'])"
    )
    assert runner(None) == "docker"
    for wish in (None, "", "auto", "local"):
        assert ask(code, wish) == "local", wish
    assert "--server gpu1:8188 cannot be reached from the reskin container" in ask(code, "docker")


def test_an_unknown_runner_is_said_to_be(only: Only) -> None:
    only(None)
    assert runner("podman") == "2 RUNNER=podman is not known; use one of auto, local, docker."


def test_a_root_command_ends_with_that_sentence_and_its_code(only: Only, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("")
    only({"version": (1, NO_DAEMON)})
    for wish, code, word in (("podman", 2, "podman is not known"), ("docker", 3, "systemctl start docker")):
        done = subprocess.run(
            [sys.executable, ROOT / "extract_physics.py", "-i", tmp_path / "x.mp4"],
            env=os.environ | {"RUNNER": wish, "DATA_DIR": str(tmp_path / "data")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        assert done.stderr.startswith("error: ") and word in done.stderr and len(done.stderr.splitlines()) == 1
