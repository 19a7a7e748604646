"""With containers and without: the same files, byte for byte, and each goes on where the other stopped."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from handoff.files import sha256_file
from tests.containers.helpers import DRAFT, Done, World, files
from tests.helpers import DemoRun, Product, outputs

pytestmark = [pytest.mark.container, pytest.mark.stage, pytest.mark.server, pytest.mark.slow]
DemoInDocker = tuple[World, list[Done]]


def test_the_demo_ends_alike(docker_demo: DemoInDocker, demo_run: DemoRun) -> None:
    _, steps = docker_demo
    assert [done.returncode for done in steps] == [0, 0, demo_run.result.returncode], steps[-1].stderr
    frames = re.compile(r"^Frame .*$|^Gate: .*$", re.M)
    assert frames.findall(steps[-1].stdout) == frames.findall(demo_run.result.stdout)


def test_every_output_has_the_same_digest(docker_demo: DemoInDocker, demo_run: DemoRun) -> None:
    ours, theirs = outputs(docker_demo[0].run("demo")), outputs(demo_run.folder)
    assert len(ours) > 15
    assert ours == theirs


def test_every_file_of_the_run_is_the_same(docker_demo: DemoInDocker, demo_run: DemoRun) -> None:
    folders = (docker_demo[0].run("demo"), demo_run.folder)
    ours, theirs = ({path.relative_to(folder): path for path in files(folder)} for folder in folders)
    assert set(ours) == set(theirs)
    differing = [str(name) for name in ours if sha256_file(ours[name]) != sha256_file(theirs[name])]
    told = "the manifests have seconds and addresses in them; the log, times and folders"
    assert {Path(name).name for name in differing} <= {"run.json", "comfyui.log"}, told


def without_where(value: Any) -> Any:
    """A manifest without how long each stage took, and at which address each window was painted."""
    if isinstance(value, dict):
        left_out = {"seconds", "server"} if "window" in value else {"seconds"}
        return {name: without_where(each) for name, each in value.items() if name not in left_out}
    return [without_where(each) for each in value] if isinstance(value, list) else value


def test_the_manifests_differ_only_in_how_long_it_took_and_where(docker_demo: DemoInDocker, demo_run: DemoRun) -> None:
    ours, theirs = docker_demo[0].run("demo"), demo_run.folder
    for name in ("run.json", f"reskins/{demo_run.reskin.name}/run.json"):
        first, second = (json.loads((folder / name).read_text()) for folder in (ours, theirs))
        assert without_where(first) == without_where(second)


@pytest.fixture
def prompt(demo_clip: Path) -> tuple[object, ...]:
    found = json.loads((demo_clip / "truth.json").read_text())["prompt"]
    box = ",".join(str(value) for value in found["box"])
    return ("-i", demo_clip / "demo.mp4", "--run", "demo", "--bbox", box, "--frame", found["frame"])


def test_a_run_begun_in_containers_goes_on_without_them(
    docker_demo: DemoInDocker, prompt: tuple[object, ...], tmp_path: Path
) -> None:
    product = Product(tmp_path)
    shutil.copytree(docker_demo[0].run("demo"), product.run("demo"))
    nothing_is_done_again(product, prompt)


def test_a_run_begun_without_containers_goes_on_in_them(
    demo_run: DemoRun, prompt: tuple[object, ...], again: World
) -> None:
    shutil.copytree(demo_run.folder, again.run("demo"))
    nothing_is_done_again(again, prompt)


def nothing_is_done_again(product: Product, prompt: tuple[object, ...]) -> None:
    done = product("extract_physics.py", *prompt, "--backend", "embedded")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing to do") == 2
    done = product("generate_reskin.py", "--run", "demo", *DRAFT)
    assert done.returncode == 0 and done.stdout.count("nothing to do") == 1, done.stderr
    done = product("evaluate_iou.py", "--run", "demo")
    assert done.returncode in (0, 1) and done.stdout.count("nothing to do") == 1, done.stderr


def test_everything_in_the_run_is_the_callers(docker_demo: DemoInDocker) -> None:
    made = list(docker_demo[0].data.rglob("*"))
    assert {path.lstat().st_uid for path in made} == {os.getuid()}
