"""What is in the images: what the locks say and the stage's own code; big layers only once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.docker import images
from runner.locks import SHARED, pins, shared_lock
from runner.process import ROOT
from tests.containers.helpers import STAGES, TAG, World, base_image, engine, has_image, image, image_of

pytestmark = pytest.mark.container
Inside = dict[str, dict[str, Any]]

BUILDING = {"setuptools", "wheel"}
"""What builds SAM 2.1, and is taken away after it."""

OURS = {
    "posegen": {"handoff", "posegen", "weights.toml", "LICENSE"},
    "tracker": {"handoff", "tracker", "weights.toml", "LICENSE"},
    "reskin": {"handoff", "reskin", "weights.toml", "LICENSE"},
    "evaluator": {"handoff", "tracker", "evaluator", "weights.toml", "LICENSE"},
    "comfyui": {"comfyui", "runner"},
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def inspected(name: str) -> dict[str, Any]:
    return dict(engine().images.get(name).attrs)


@pytest.fixture(scope="module")
def base() -> str:
    """Python's own image, which a builder may keep for itself: then the engine's own images need not hold it."""
    if not has_image(base_image()):
        engine().images.pull(base_image())
    return base_image()


def layers(name: str) -> list[str]:
    return list(inspected(name)["RootFS"]["Layers"])


def built(folder: Path, recipe: str, to: Path) -> None:
    """Build with BuildKit, and write the files to a folder; testcontainers builds images, and without BuildKit."""
    command = ["docker", "build", "--quiet", "--file", "-", "--output", f"type=local,dest={to}", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, input=recipe)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("stage", STAGES)
def test_the_packages_are_the_locks_and_nothing_else(inside: Inside, stage: str) -> None:
    wanted = {normal(name) for name in pins(ROOT / stage / "requirements.lock")}
    if stage in ("tracker", "evaluator"):
        wanted = {name for name in wanted if name.split("==")[0] not in BUILDING}
    found = {normal(name) for name in inside[stage]["packages"]}
    assert {re.sub(r"\+.*", "", name) for name in found} == {re.sub(r"\+.*", "", name) for name in wanted}


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_that_builds_or_downloads_is_left(inside: Inside, stage: str) -> None:
    assert inside[stage]["tools"] == []


@pytest.mark.parametrize("stage", STAGES)
def test_our_code_is_the_stages_own_and_that_of_this_checkout(inside: Inside, stage: str) -> None:
    names = inside[stage]["app"]
    assert {name.split("/")[0] for name in names} == OURS[stage]
    code = [name for name in names if not name.endswith(".pyc")]
    assert all((ROOT / name).is_file() for name in code)
    compiled = {re.sub(r"__pycache__/(\w+)\.cpython-311\.pyc", r"\1.py", name) for name in names}
    assert compiled == set(code), "a compiled file without its source, or the other way round"
    assert inspected(image(stage))["Config"]["Labels"][images.LABEL] == images.code(stage)


def test_big_layers_are_there_once(base: str) -> None:
    have = {stage: layers(image(stage)) for stage in STAGES}
    first = len(layers(base))
    cuda, torch, own = first + 1, first + 2, first + 3  # how many layers there are up to these
    assert all(each[:first] == layers(base) for each in have.values())
    assert have["tracker"][:cuda] == have["posegen"][:cuda], "CUDA's libraries are there twice"
    assert have["tracker"][:torch] == have["comfyui"][:torch], "PyTorch is there twice"
    assert have["tracker"][:own] == have["evaluator"][:own], "the tracker's packages are there twice"


def test_the_evaluator_has_the_trackers_packages_and_beside_them_what_draws_a_chart() -> None:
    tracker, evaluator = (pins(ROOT / stage / "requirements.lock") for stage in ("tracker", "evaluator"))
    assert tracker.items() <= evaluator.items()
    more = {name.split("==")[0] for name in evaluator.keys() - tracker.keys()}
    drawing = {"matplotlib", "contourpy", "cycler", "fonttools", "kiwisolver", "pyparsing", "python-dateutil", "tzdata"}
    assert more == drawing


@pytest.mark.parametrize("which", sorted(SHARED))
def test_the_shared_locks_are_what_the_stages_pin_now(which: str) -> None:
    assert (ROOT / "runner" / "docker" / f"{which}.lock").read_text() == shared_lock(which), "run make lock"


def test_little_is_sent_to_the_engine(world: World, place: Path) -> None:
    """Unpacked into an image of nothing else, the context is what .dockerignore lets through."""
    out = place / "context"
    built(world.root, "FROM scratch\nCOPY . /\n", out)
    sent = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in sent)
    print(f"the build context: {len(sent)} files, {size / 1e6:.2f} MB")
    assert size < 5e6
    allowed = {"handoff", *STAGES, "runner", "weights.toml", "LICENSE"}
    assert {path.relative_to(out).parts[0] for path in sent} <= allowed


def test_a_linters_cache_is_no_part_of_what_an_image_is_made_from(world: World) -> None:
    digest = [sys.executable, "-c", "from runner.docker import images; print(images.code('tracker'))"]
    before = subprocess.run(digest, cwd=world.root, capture_output=True, text=True, check=True).stdout
    cache = world.root / "handoff" / ".mypy_cache" / "3.11" / "x.meta.json"
    cache.parent.mkdir(parents=True)
    cache.write_text("{}")
    try:
        assert subprocess.run(digest, cwd=world.root, capture_output=True, text=True, check=True).stdout == before
        out = cache.parent.parent / "sent"
        built(world.root, "FROM scratch\nCOPY handoff /\n", out)
        assert (out / "files.py").exists() and not (out / ".mypy_cache").exists()
    finally:
        shutil.rmtree(world.root / "handoff" / ".mypy_cache")


@pytest.fixture
def built_with_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An image of the comfyui stage that says that it was built with a package of nodes."""
    monkeypatch.setenv("SKATE_TAG", f"{TAG}-nodes")
    recipe = f"FROM {image('reskin')}\nLABEL {images.NODES_LABEL}=ComfyUI-GGUF\n"
    with image_of(recipe, images.image("comfyui")) as name:
        yield name


def test_a_build_keeps_the_nodes_of_the_image_that_is_there_and_says_so(
    built_with_nodes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NODES", raising=False)
    assert images.build_arguments()["NODES"] == "ComfyUI-GGUF"
    assert "with the nodes of the image that is there, ComfyUI-GGUF (NODES=none" in capsys.readouterr().err
    for wish, meant in (("", "ComfyUI-GGUF"), ("none", ""), ("all", "all")):
        monkeypatch.setenv("NODES", wish)
        images.check_nodes()
        assert images.build_arguments()["NODES"] == meant


def test_an_image_says_which_nodes_it_was_built_with() -> None:
    labels = inspected(image("comfyui"))["Config"]["Labels"]
    assert labels[images.NODES_LABEL] == ""


def test_no_image_has_settings_but_the_bases_and_ours(base: str) -> None:
    known = {each.partition("=")[0] for each in inspected(base)["Config"]["Env"]}
    for stage in STAGES:
        names = {each.partition("=")[0] for each in inspected(image(stage))["Config"]["Env"]}
        ours = {"PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH", "HOME", "USER"}
        assert names - known <= ours


def test_an_image_says_which_image_of_python_it_was_made_from() -> None:
    for stage in STAGES:
        assert inspected(image(stage))["Config"]["Labels"]["org.opencontainers.image.base.name"] == base_image()


@pytest.mark.parametrize("stage", STAGES)
def test_a_dockerfile_names_no_moving_target(stage: str) -> None:
    text = (ROOT / stage / "Dockerfile").read_text()
    pinned = re.findall(r"^ARG PYTHON_IMAGE=(python:3\.11-slim-bookworm@sha256:[0-9a-f]{64})$", text, re.M)
    assert len(pinned) == 1
    assert (ROOT / "compose.yaml").read_text().count(f"${{PYTHON_IMAGE:-{pinned[0]}}}") == len(STAGES)
    assert ":latest" not in text and "# syntax=" not in text and not re.search(r"^ADD ", text, re.M)
    assert text.count("--require-hashes") >= 2, "every package by its hash"
