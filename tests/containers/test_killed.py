"""Commands and containers that are killed or interrupted: nothing half-made, nothing left, the same command goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from runner.docker import compose
from tests.containers.helpers import (
    BOX,
    DRAFT,
    World,
    containers,
    containers_of,
    copy_without,
    engine,
    networks_of,
)
from tests.helpers import HANG_S, moving_square, outputs, records, until, write_clip

pytestmark = pytest.mark.container
PARTIAL = ".mask_skateboard.*.partial"


@pytest.fixture(scope="module")
def long_clip(place: Path) -> Path:
    """A clip of enough frames to be met in the middle of the work."""
    return write_clip(place / "long.mp4", moving_square(120))


@pytest.fixture(scope="module")
def long_run(world: World, long_clip: Path) -> Path:
    """Its run, as undisturbed containers make it: do not change it, copy it."""
    done = world("extract_physics.py", "-i", long_clip, *BOX)
    assert done.returncode == 0, done.stderr
    return world.run("long")


def running(command: subprocess.Popen[str]) -> list[str]:
    found = containers(f"skate-physics-run-{compose.mark(command.pid)}-", running=True)
    assert found or command.poll() is None, command.stdout and command.stdout.read()
    return found


def start_and_wait(world: World, clip: Path, undisturbed: Path) -> tuple[subprocess.Popen[str], str]:
    """Start extract where only the tracker's work is left, wait until it is in the middle of it; return both."""
    world.data.joinpath("runs").mkdir()
    copy_without(undisturbed, world.run("long"), "tracker")
    command = world.start("extract_physics.py", "-i", clip, *BOX)
    until("the tracker writes masks", lambda: bool(list(world.data.rglob(PARTIAL))) or command.poll() is not None)
    [name] = running(command)
    return command, name


def finish(world: World, clip: Path, undisturbed: Path) -> None:
    """Give the same command again: it goes on, and the result is the undisturbed run's."""
    done = world("extract_physics.py", "-i", clip, *BOX)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing to do") == 1  # the skeleton was there
    assert outputs(world.run("long")) == outputs(undisturbed)
    assert not list(world.data.rglob("*.partial"))


def test_a_container_killed_at_work_is_said_to_be_and_the_same_command_goes_on(
    again: World, long_clip: Path, long_run: Path
) -> None:
    command, name = start_and_wait(again, long_clip, long_run)
    engine().containers.get(name).kill()
    said, _ = command.communicate(timeout=HANG_S)
    assert command.returncode == 137
    last = said.strip().splitlines()[-1]
    assert last == "error: the container was killed from outside; run the same command to go on"
    stages = json.loads((again.run("long") / "run.json").read_text())["stages"]
    assert "posegen" in stages and "tracker" not in stages
    assert not (again.run("long") / "mask.mp4").exists()
    assert not containers_of(command.pid)
    finish(again, long_clip, long_run)


def test_a_stage_that_meets_its_limit_of_memory_is_killed_and_no_verdict_and_says_what_to_raise(
    again: World, undisturbed: Path
) -> None:
    mask = undisturbed / "mask.mp4"
    files = ("-original", mask, "--generated-mask", mask, "--output", again.data / "report")
    done = again.elsewhere(again.data, SKATE_MEMORY="24m", SKATE_TMP="1m")("evaluate_iou.py", *files)
    assert done.returncode == 137, done.stderr
    assert "error: the container ran out of memory and was killed; raise SKATE_MEMORY, free some" in done.stderr
    assert "Gate: " not in done.stdout
    done = again("evaluate_iou.py", *files)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_ends_the_container_and_the_command_with_130(again: World, long_clip: Path, long_run: Path) -> None:
    command, _ = start_and_wait(again, long_clip, long_run)
    os.killpg(command.pid, signal.SIGINT)  # what a terminal does
    said, _ = command.communicate(timeout=HANG_S)
    assert command.returncode == 130, said
    assert said.strip().splitlines()[-1] == "error: interrupted; run the same command to go on"
    assert not containers_of(command.pid) and not networks_of(command.pid)
    assert not list(again.data.rglob("*.partial")), "an interrupted stage clears up after itself"
    finish(again, long_clip, long_run)


def test_a_container_stopped_from_outside_was_interrupted(again: World, long_clip: Path, long_run: Path) -> None:
    command, name = start_and_wait(again, long_clip, long_run)
    engine().containers.get(name).stop()
    said, _ = command.communicate(timeout=HANG_S)
    assert command.returncode == 130, said
    assert said.strip().splitlines()[-1] == "error: interrupted; run the same command to go on"
    assert not list(again.data.rglob("*.partial")), "an interrupted stage clears up after itself"


def test_a_command_killed_outright_takes_its_container_with_it(again: World, long_clip: Path, long_run: Path) -> None:
    command, name = start_and_wait(again, long_clip, long_run)
    command.kill()
    command.wait()
    until("the container ends", lambda: name not in containers_of(command.pid))
    assert not list(again.data.rglob("*.partial"))
    finish(again, long_clip, long_run)
    assert not containers_of(command.pid) and not networks_of(command.pid)


def family(process: int) -> list[int]:
    """Return a process and all that it started, whatever group or session they are in."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(pid): int(parent) for pid, parent in map(str.split, listed.splitlines())}
    found = [process]
    for each in found:  # it grows while it is gone through
        found += [pid for pid, parent in parents.items() if parent == each]
    return found


@pytest.mark.parametrize("all_of_it", [False, True])
def test_a_command_that_is_told_to_end_stops_its_container(
    again: World, long_clip: Path, long_run: Path, all_of_it: bool
) -> None:
    """By kill, and as SLURM ends a job: every process of it is told, but the container is no process of the job's."""
    command, name = start_and_wait(again, long_clip, long_run)
    for process in family(command.pid) if all_of_it else [command.pid]:
        os.kill(process, signal.SIGTERM)
    said, _ = command.communicate(timeout=HANG_S)
    assert command.returncode in (130, 143), said
    until("the container is gone", lambda: name not in containers_of(command.pid))
    assert not list(again.data.rglob("*.partial")), "the stage was let end in order"
    finish(again, long_clip, long_run)
    assert not containers_of(command.pid) and not networks_of(command.pid)


def test_a_painting_that_is_ended_leaves_no_server(again: World, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, again.run("clip"))
    command = start_and_wait_for_painting(again)
    os.killpg(command.pid, signal.SIGINT)
    said, _ = command.communicate(timeout=HANG_S)
    assert command.returncode == 130, said
    assert nothing_left(again, command.pid)
    assert not list(again.data.rglob("*.partial"))
    told = start_and_wait_for_painting(again)
    for process in family(told.pid):
        os.kill(process, signal.SIGTERM)
    said, _ = told.communicate(timeout=HANG_S)
    assert told.returncode in (130, 143), said
    until("its containers are gone", lambda: nothing_left(again, told.pid))
    killed = start_and_wait_for_painting(again)
    killed.kill()
    killed.wait()
    until("its containers end", lambda: not containers(f"-{killed.pid}-", running=True))
    assert not list(again.data.rglob("output.mp4"))
    done = again("generate_reskin.py", "--run", "clip", *DRAFT)
    assert done.returncode == 0, done.stderr
    assert nothing_left(again, killed.pid)
    assert len(list(again.data.rglob("output.mp4"))) == 1
    assert not list(again.data.rglob("*.partial"))


def test_a_painting_whose_containers_are_killed_says_so_and_the_same_command_goes_on(
    again: World, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed, again.run("clip"))
    for which, code, sentence in (
        ("-run-", 137, "error: the container was killed from outside; run the same command to go on"),
        ("-comfyui-", 3, "went away in mid-job"),
    ):
        command = start_and_wait_for_painting(again)
        [name] = [each for each in containers_of(command.pid) if which in each]
        engine().containers.get(name).kill()
        said, _ = command.communicate(timeout=HANG_S)
        assert command.returncode == code and sentence in said.strip().splitlines()[-1], said
        assert nothing_left(again, command.pid)
        assert not list(again.data.rglob("output.mp4"))
        stages = records(again.run("clip"))
        assert "tracker" in stages and not any(each.startswith("reskin") for each in stages)
    done = again("generate_reskin.py", "--run", "clip", *DRAFT)
    assert done.returncode == 0, done.stderr
    assert len(list(again.data.rglob("output.mp4"))) == 1 and not list(again.data.rglob("*.partial"))


def start_and_wait_for_painting(world: World) -> subprocess.Popen[str]:
    """Start generate_reskin.py and wait until its server has painted something."""
    command = world.start("generate_reskin.py", "--run", "clip", *DRAFT)
    painted = world.data / "comfyui" / compose.mark(command.pid) / "output"
    until("the painting begins", lambda: bool(list(painted.rglob("*.png"))) or command.poll() is not None)
    assert command.poll() is None, command.stdout and command.stdout.read()
    assert len(containers_of(command.pid)) == 2 and networks_of(command.pid)
    return command


def nothing_left(world: World, process: int) -> bool:
    """Say whether containers, networks and the server's files of a command are gone."""
    return not containers_of(process) and not networks_of(process) and not list((world.data / "comfyui").iterdir())
