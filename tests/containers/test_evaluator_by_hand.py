"""docker compose run --rm evaluator, typed by hand as compose.yaml says: its exit code is the gate's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from handoff.masks import read_masks
from handoff.run import Run
from handoff.video import VideoWriter
from tests.containers.helpers import Done, World

pytestmark = pytest.mark.container
ORIGINAL = ("-original", "runs/clip/mask.mp4")


@pytest.fixture(scope="module")
def by_hand(world: World, undisturbed: Path, place: Path) -> World:
    """A data folder with a run in which nothing was painted over, and masks to compare with its own."""
    made = world.elsewhere(place / "by-hand")
    for name in ("runs", "input", "models"):
        (made.data / name).mkdir(parents=True)
    run = Run.open(shutil.copytree(undisturbed, made.run("clip")))
    same = run.path("reskins/same/output.mp4")
    same.parent.mkdir(parents=True)
    shutil.copy(run.source, same)
    info = run.info
    with VideoWriter(made.data / "input/smaller.mp4", info.fps, info.width, info.height, mode="mask") as writer:
        for mask in read_masks(run.path("mask.mp4")):
            mask[mask.nonzero()[0].min()] = False  # one row less: an IoU of about 0.97
            writer.write(mask.astype(np.uint8) * np.uint8(255))
    with VideoWriter(made.data / "input/other-size.mp4", info.fps, 64, 48, mode="mask") as writer:
        for _ in range(info.frames):
            writer.write(np.zeros((48, 64), np.uint8))
    return made


def evaluator(world: World, *arguments: str) -> Done:
    folders = {"DATA_DIR": str(world.data), "MODELS_DIR": str(world.data / "models")}
    return world.compose("run", "--rm", "--no-TTY", "evaluator", *ORIGINAL, *arguments, **folders)


def sentence(done: Done) -> str:
    assert "Traceback" not in done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def test_it_is_0_where_the_tracked_object_fills_the_old_outline(by_hand: World) -> None:
    done = evaluator(by_hand, "-generated", "runs/clip/reskins/same/output.mp4")
    assert done.returncode == 1 and "[UNCHANGED]" in done.stdout, done.stdout + done.stderr
    done = evaluator(by_hand, "-generated", "runs/clip/reskins/same/output.mp4", "--min-replaced", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Gate: PASS" in done.stdout
    report = json.loads((by_hand.run("clip") / "reskins/same/report/iou.json").read_text())
    assert report["summary"]["passed"]


def test_it_is_0_or_1_by_the_threshold(by_hand: World) -> None:
    smaller = ("--generated-mask", "input/smaller.mp4", "--output", "runs/smaller")
    done = evaluator(by_hand, *smaller)
    assert done.returncode == 0 and "Gate: PASS" in done.stdout, done.stderr
    done = evaluator(by_hand, *smaller, "--threshold", "0.999")
    assert done.returncode == 1 and "Gate: FAIL" in done.stdout, done.stderr


def test_it_is_2_for_a_mask_of_another_size_and_for_one_that_is_not_there(by_hand: World) -> None:
    done = evaluator(by_hand, "--generated-mask", "input/other-size.mp4", "--output", "runs/other")
    assert done.returncode == 2
    assert "64x48" in sentence(done) and "160x120" in sentence(done)
    done = evaluator(by_hand, "--generated-mask", "input/nowhere.mp4", "--output", "runs/other")
    assert done.returncode == 2 and "input/nowhere.mp4" in sentence(done)
    assert not (by_hand.data / "runs" / "other").exists()


def test_it_is_3_for_weights_that_are_not_there(by_hand: World) -> None:
    again = ("-generated", "runs/clip/reskins/same/output.mp4", "--backend", "sam2", "--force")
    done = evaluator(by_hand, *again)
    assert done.returncode == 3
    assert "sam2.1_hiera_" in sentence(done) and "make weights PROFILE=" in sentence(done)


def test_without_the_env_of_make_build_compose_says_what_to_run(by_hand: World, place: Path) -> None:
    bare = place / "bare"
    bare.mkdir()
    for name in ("compose.yaml", "compose.cpu.yaml"):
        shutil.copy(by_hand.root / name, bare)
    done = by_hand.compose("--project-directory", bare, "-f", bare / "compose.yaml", "config", "--quiet")
    assert done.returncode != 0 and "run 'make build', which writes .env" in done.stderr
