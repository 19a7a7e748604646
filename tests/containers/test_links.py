"""A data folder behind a symbolic link, which a container does not see: the run is found all the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.containers.helpers import BOX, DRAFT, World
from tests.helpers import outputs, records

pytestmark = pytest.mark.container


@pytest.fixture
def linked(again: World) -> World:
    """The commands with a DATA_DIR that is a symbolic link."""
    real, link = again.data / "real", again.data / "link"
    real.mkdir()
    link.symlink_to(real)
    return again.elsewhere(link)


def test_the_three_commands_find_the_run_and_record_in_it(linked: World, clip: Path, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, linked.run("clip"))
    done = linked("extract_physics.py", "-i", clip, *BOX)
    assert done.returncode == 0 and done.stdout.count("nothing to do") == 2, done.stdout + done.stderr
    done = linked("generate_reskin.py", *DRAFT)
    assert done.returncode == 0, done.stderr
    done = linked("evaluate_iou.py")
    assert done.returncode in (0, 1), done.stderr
    stages = records(linked.run("clip"))
    assert {"evaluator", "posegen", "reskin", "tracker"} <= {each.partition("/")[0] for each in stages}
    reskin = next((linked.run("clip") / "reskins").glob("*/output.mp4"))
    assert f"reskins/{reskin.parent.name}/report/iou.json" in outputs(linked.run("clip"))
    paths = ("-original", linked.run("clip") / "mask.mp4", "-generated", reskin)
    named = ("--output", reskin.parent / "report", "--run", linked.run("clip"))
    done = linked("evaluate_iou.py", *paths, *named)
    assert "nothing to do" in done.stdout, done.stdout + done.stderr
