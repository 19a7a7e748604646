"""Nothing is installed in an image that its stage does not import, or that what it imports does not require."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.docker import images
from tests.containers.helpers import output_of, python_in

pytestmark = pytest.mark.container
SCRIPT = Path(__file__).with_name("needed.py")
CODE = {"comfyui": ["/app", "/opt/ComfyUI"]}


def unneeded(stage: str, folders: list[str]) -> list[str]:
    container = python_in(images.image(stage), "/needed.py", *folders, network_mode="none")
    return list(json.loads(output_of(container.with_volume_mapping(SCRIPT, "/needed.py")))["unneeded"])


@pytest.mark.parametrize("stage", images.STAGES)
def test_every_installed_package_is_imported_or_required(built_images: None, stage: str) -> None:
    assert unneeded(stage, CODE.get(stage, ["/app"])) == []


def test_this_check_sees_packages_that_nothing_imports(built_images: None) -> None:
    # without ComfyUI's own code, start.py alone imports nothing of what is installed beside it
    assert {"torch", "aiohttp", "transformers"} <= set(unneeded("comfyui", ["/app"]))
