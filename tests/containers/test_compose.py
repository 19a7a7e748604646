"""What compose.yaml and the files over it come to, as Compose itself reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testcontainers.compose import DockerCompose

from runner.docker import compose
from tests.containers.helpers import COMPOSE_READS, STAGES, World

pytestmark = pytest.mark.container
WITH_A_GPU = {"posegen", "tracker", "evaluator", "comfyui"}


def services(world: World, *files: str, **variables: str) -> dict[str, dict[str, Any]]:
    """What Compose makes of these files, or of those that .env names where none is named."""
    with pytest.MonkeyPatch.context() as patch:
        for name in COMPOSE_READS:
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        return dict(DockerCompose(world.root, list(files) or None, profiles=["*"]).get_config()["services"])


@pytest.mark.parametrize(
    "value", ['/a b/it\'s $HOME "q" \\x `t` ${Y} #c', "$X", "two\nlines's", "back\\slash's", "$$'"]
)
def test_a_folder_whose_name_has_signs_in_it_is_read_back_from_env(place: Path, value: str) -> None:
    (place / ".env").write_text(f"VALUE={compose.quoted(value)}\nAFTER='x'\n")
    (place / "c.yaml").write_text('services: {a: {image: x, environment: {VALUE: "${VALUE}", AFTER: "${AFTER}"}}}')
    command = ["docker", "compose", "-f", "c.yaml", "config", "--format", "json"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["services"]["a"]["environment"]
    assert (found["VALUE"].replace("$$", "$"), found["AFTER"]) == (value, "x")


@pytest.fixture
def planted(again: World, undisturbed: Path) -> Path:
    """A run in whose folder lie modules under the names of ones that every stage imports."""
    run = again.run("clip")
    shutil.copytree(undisturbed, run)
    (run / "reskins" / "same").mkdir(parents=True)
    shutil.copy(run / "source.mp4", run / "reskins" / "same" / "output.mp4")
    for name in ("click", "queue", "numpy", "runner", "handoff", "evaluator", "posegen", "sitecustomize"):
        (run / f"{name}.py").write_text(f"open('{run}/ran', 'a').write('{name} ')")
    return run


def test_a_stage_imports_nothing_from_the_folder_that_it_is_called_in(again: World, planted: Path) -> None:
    nothing_new = ("--min-replaced", "0")  # nothing was painted
    for threshold, code, said in (("0.9", 0, "Gate: PASS"), ("1", 1, "Gate: FAIL")):
        command = again.command(
            "evaluate_iou.py", "-generated", "reskins/same/output.mp4", *nothing_new, "--threshold", threshold
        )
        done = subprocess.run(command, cwd=planted, env=again.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code and said in done.stdout, done.stderr
    assert not (planted / "ran").exists(), (planted / "ran").read_text()


def test_a_container_whose_python_breaks_down_is_no_failed_gate(again: World, looking: Path) -> None:
    (looking / "__main__.py").write_text("import nothing_of_that_name")
    code = (
        "import sys; from pathlib import Path; from runner.commands import run; from runner.stages import start_stage\n"
    )
    code += "sys.argv[1:], folder = [], Path(sys.argv[1])\n"
    code += "run(lambda _: start_stage('evaluator', [], module='looking', code=folder))"
    done = subprocess.run(
        [sys.executable, "-c", code, looking], cwd=again.root, env=again.environment, capture_output=True, text=True
    )
    assert done.returncode == 3 and "python -m looking ended with 1 by itself" in done.stderr, done.stderr


def asks_for_a_gpu(service: dict[str, Any]) -> bool:
    devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    return devices == [{"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}]


def test_four_services_ask_for_one_gpu_and_with_the_overlay_none_does(world: World) -> None:
    found = services(world, "compose.yaml")
    assert set(found) == {*STAGES, "weights"}
    assert {name for name, each in found.items() if asks_for_a_gpu(each)} == WITH_A_GPU
    without = services(world, "compose.yaml", "compose.cpu.yaml")
    assert not any(each.get("deploy") for each in without.values())


def test_every_service_is_told_when_a_gpu_is_required(world: World) -> None:
    found = services(world, "compose.yaml", SKATE_GPU="required")
    for stage in WITH_A_GPU - {"comfyui"}:
        assert found[stage]["environment"]["SKATE_GPU"] == "required"
    assert found["comfyui"]["environment"]["COMFYUI_GPU"] == "required"


def test_the_folders_at_data_are_for_compose_by_hand_only(world: World) -> None:
    for stage in set(STAGES) - {"comfyui"}:
        assert not services(world, "compose.yaml")[stage].get("volumes")
    by_hand = services(world)  # the files of .env
    for stage in set(STAGES) - {"comfyui"}:
        shown = {each["target"]: bool(each.get("read_only")) for each in by_hand[stage]["volumes"]}
        assert shown == {"/data/runs": False, "/data/input": True, "/data/models": True}
    assert [(each["target"], each.get("read_only", False)) for each in by_hand["weights"]["volumes"]] == [
        ("/data/models", False)
    ]


@pytest.fixture
def looking(world: World) -> Iterator[Path]:
    """A package of the checkout that prints what the kernel says is mounted where it runs."""
    folder = world.root / "looking"
    folder.mkdir()
    (folder / "__main__.py").write_text("print(open('/proc/mounts').read())\n")
    yield folder
    shutil.rmtree(folder)


def test_a_container_of_a_command_sees_the_files_that_it_names_and_no_others(
    again: World, looking: Path, clip: Path
) -> None:
    mine, models = again.data / "runs" / "mine", again.data / "models"
    for folder in (mine, again.data / "runs" / "other", again.data / "input", models):
        folder.mkdir(parents=True)
    code = "import sys; from pathlib import Path; from runner.docker.stage import start_container\n"
    code += "sys.exit(start_container('evaluator', [sys.argv[1]], writes=[Path(sys.argv[2])], "
    code += "module='looking', code=Path(sys.argv[3])))"
    done = subprocess.run(
        [sys.executable, "-c", code, clip, mine, looking],
        cwd=again.root,
        env=again.environment | {"MODELS_DIR": str(models)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    marks = Path(os.environ["XDG_STATE_HOME"]) / "skate-physics-preserver"  # of this machine's verdicts
    ours = ("/data", str(again.data.parent), str(marks))
    seen = {row[1]: row[3].split(",")[0] for row in rows if row[1].startswith(ours)}
    assert seen == {str(mine): "rw", str(clip): "ro", str(models): "ro", str(marks): "rw"}
    own = {
        "/app/looking",
        "/etc/hosts",
        "/etc/hostname",
        "/etc/resolv.conf",
        "/sbin/docker-init",
        "/usr/sbin/docker-init",
    }
    files = {row[1] for row in rows if row[0].startswith("/dev/")} - set(seen)
    assert files <= own, "something of this machine's disk besides"
