"""A real ComfyUI server loads the packages of nodes that the image brought, and no others."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from runner.comfy.comfyargs import nodes_arguments
from runner.comfy.comfysource import ensure_source
from runner.envs import ensure_env
from runner.process import ROOT
from runner.runs import cache_dir
from tests.helpers import until

pytestmark = [pytest.mark.server, pytest.mark.slow]
NODE = """
class Node:
    RETURN_TYPES, FUNCTION, CATEGORY = ("INT",), "run", "test"
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}
    def run(self):
        return (1,)
NODE_CLASS_MAPPINGS = {"%s": Node}
"""


def package(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(NODE % name)


def start_of_the_image(work: Path, nodes: Path) -> ModuleType:
    """Return comfyui/start.py, which is a script and no package, with folders of the test's own."""
    spec = importlib.util.spec_from_file_location("start", ROOT / "comfyui" / "start.py")
    assert spec and spec.loader
    start = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(start)
    vars(start).update(WORK=work, NODES=nodes, MODELS=work / "models")
    (work / "models").mkdir()
    return start


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The node classes of a server with one package of the image's and one that somebody put beside its own."""
    image, work = tmp_path_factory.mktemp("nodes"), tmp_path_factory.mktemp("work")
    package(image, "FromTheImage")
    (image / "paths.yaml").write_text("image:\n  custom_nodes: .\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMFYUI_PORT", str(port))
        patch.setenv("COMFYUI_CPU", "1")
        arguments = start_of_the_image(work, image).command()
    command = [str(ensure_env("comfyui")), "-s", *(each.replace("0.0.0.0", "127.0.0.1") for each in arguments)]
    package(work / "base" / "custom_nodes", "PutThereByHand")  # the folder is there: without it the server ends
    log = (work / "log").open("wb")
    server = subprocess.Popen(
        command,
        cwd=ensure_source(ROOT / "comfyui" / "pins.toml", cache_dir()),
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield set(_object_info(server, port, work / "log"))
    finally:
        server.kill()
        server.wait()


def _object_info(server: subprocess.Popen[bytes], port: int, log: Path) -> dict[str, object]:
    opener, found = urllib.request.build_opener(urllib.request.ProxyHandler({})), dict[str, object]()

    def answers() -> bool:
        with contextlib.suppress(OSError), opener.open(f"http://127.0.0.1:{port}/object_info", timeout=60) as answer:
            found.update(json.load(answer))
        return bool(found)

    until("the server answers", lambda: answers() or server.poll() is not None)
    assert found, log.read_text(errors="replace")[-3000:]
    return found


def test_the_packages_of_the_image_are_loaded(classes: set[str]) -> None:
    assert {"KSampler", "FromTheImage"} <= classes


def test_a_package_that_was_put_there_by_hand_is_not(classes: set[str]) -> None:
    assert "PutThereByHand" not in classes


def test_an_image_without_packages_adds_nothing_to_the_command_line(tmp_path: Path) -> None:
    assert nodes_arguments(tmp_path) == []
    assert nodes_arguments(tmp_path / "not there") == []
