"""Nothing is installed in an image that its stage does not import, or that what it imports does not require."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from runner.docker import images

pytestmark = pytest.mark.container
SCRIPT = Path(__file__).with_name("needed.py")
CODE = {"comfyui": ["/app", "/opt/ComfyUI"]}


def unneeded(stage: str, folders: list[str]) -> list[str]:
    shown = f"{SCRIPT}:/needed.py:ro"
    command = ["docker", "run", "--rm", "--network", "none", "--volume", shown, "--entrypoint", "python"]
    done = subprocess.run(
        [*command, images.image(stage), "/needed.py", *folders], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout)["unneeded"])


@pytest.mark.parametrize("stage", images.STAGES)
def test_every_installed_package_is_imported_or_required(built_images: None, stage: str) -> None:
    assert unneeded(stage, CODE.get(stage, ["/app"])) == []


def test_this_check_sees_packages_that_nothing_imports(built_images: None) -> None:
    # without ComfyUI's own code, start.py alone imports nothing of what is installed beside it
    assert {"torch", "aiohttp", "transformers"} <= set(unneeded("comfyui", ["/app"]))
