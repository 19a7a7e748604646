"""make sbom on the real engine: a small image with the reskin stage's packages, and what Syft finds in it."""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import sbom
from runner.docker import engine, images
from runner.errors import RunnerError
from runner.process import ROOT
from tests.containers.test_images import normal

BASE = "python:3.11-slim-bookworm"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(engine.problem()), reason=f"no containers here: {engine.problem()}"),
]
DOCKERFILE = f"""FROM {BASE}
RUN --mount=type=bind,source=requirements.lock,target=/tmp/lock \\
    python -m venv /opt/venv && /opt/venv/bin/pip install --quiet --require-hashes -r /tmp/lock
RUN mkdir -p /usr/share/doc/bash
COPY copyright /usr/share/doc/bash/copyright
COPY comfyui.cdx.json /opt/nodes/
"""
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-3+
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, name = tmp_path_factory.mktemp("image"), f"sbom-test-{uuid.uuid4().hex[:12]}:7"
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "copyright").write_text(COPYRIGHT)
    shutil.copy(ROOT / "reskin" / "requirements.lock", folder)
    subprocess.run(
        ["python3", ROOT / "comfyui/fetch_nodes.py", "--into", folder / "none", "--bom", folder / "comfyui.cdx.json"],
        check=True,
    )
    done = subprocess.run(["docker", "build", "--quiet", "--tag", name, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    yield name
    subprocess.run(["docker", "rmi", "--force", name], capture_output=True, check=False)


@pytest.fixture(scope="module")
def listed(image: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The list of the image, and where it was written (without the suffix)."""
    stem = tmp_path_factory.mktemp("sbom") / "reskin"
    return sbom.write(image, stem), stem


def found(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in sbom.components(document) if each["name"] == name)


def test_every_package_of_the_lock_is_there_in_its_version(listed: tuple[dict[str, Any], Path]) -> None:
    lock = ROOT / "reskin" / "requirements.lock"
    assert len(sbom.locked(lock)) > 10
    assert sbom.absent(listed[0], lock) == []


def test_what_the_image_does_not_have_is_named(listed: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("requests==0.0.1 \\\n    --hash=sha256:00\nsetuptools==0.1 \\\n    --hash=sha256:00\n")
    assert sbom.absent(listed[0], lock) == ["requests 0.0.1"]


def test_every_python_package_has_a_licence_in_one_line(listed: tuple[dict[str, Any], Path]) -> None:
    python = [each for each in sbom.components(listed[0]) if sbom.kind(each) == "pypi"]
    assert {each["name"]: sbom.licence(each) for each in python if sbom.licence(each) == sbom.UNKNOWN} == {}
    assert sbom.licence(found(listed[0], "requests")) == "Apache-2.0"
    numpy = found(listed[0], "numpy")
    assert sbom.licence(numpy) == "BSD-3-Clause"  # its metadata has the whole text in place of a name
    assert {"name": "skate-physics:licence-from", "value": "sbom/licences.toml"} in numpy["properties"]


def test_debian_packages_are_there_with_the_licences_that_the_image_has(listed: tuple[dict[str, Any], Path]) -> None:
    debian = {each["name"]: each for each in sbom.components(listed[0]) if sbom.kind(each) == "deb"}
    assert {"bash", "libc6", "dpkg"} <= set(debian)
    assert sbom.licence(debian["bash"]) == "GPL-3.0-or-later"


def test_what_came_from_git_is_there_because_the_image_says_so(listed: tuple[dict[str, Any], Path]) -> None:
    server = found(listed[0], "ComfyUI")
    assert (server["version"], sbom.kind(server)) == ("0.30.0", "github")
    assert sbom.licence(server).startswith("GPL-3.0")


def test_the_scanner_lists_the_image_and_not_itself(listed: tuple[dict[str, Any], Path]) -> None:
    kinds = {sbom.kind(each) for each in sbom.components(listed[0])}
    assert "golang" not in kinds and kinds >= {"deb", "pypi", "github"}


def test_both_files_say_the_same_and_name_the_image(image: str, listed: tuple[dict[str, Any], Path]) -> None:
    document, stem = listed
    assert json.loads(stem.with_name("reskin.cdx.json").read_text()) == document
    assert (document["bomFormat"], document["metadata"]["component"]["name"]) == ("CycloneDX", image)
    table = stem.with_name("reskin.md").read_text()
    assert table.count("\n| ") == len(sbom.components(document)) + 2
    assert f"| pypi | requests | {found(document, 'requests')['version']} | Apache-2.0 |" in table
    assert len(list(stem.parent.iterdir())) == 2


def test_an_image_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(RunnerError, match="there is no image sbom-test-none:7; make it with make build"):
        sbom.scan("sbom-test-none:7")


def test_the_command_lists_a_real_image_with_all_of_its_lock(
    built_images: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert sbom.sbom(["reskin"]) == 0
    document = json.loads((tmp_path / "sbom" / "reskin.cdx.json").read_text())
    assert document["metadata"]["component"]["name"] == images.image("reskin")
    python = {each["name"] for each in sbom.components(document) if sbom.kind(each) == "pypi"}
    assert {normal(name) for name in sbom.locked(ROOT / "reskin" / "requirements.lock")} <= set(map(normal, python))
    assert capsys.readouterr().out.startswith(f"{images.image('reskin')}: ")
