"""Two false passes through the real commands: a mask on the trousers, and a clip in which nothing was painted.

The embedded tracker is given a real skateboarder and the detector's own box of his board. Its mask is his trousers and
his shadow, as it was on a snowboarder. The drone is painted there, and every frame has a high IoU.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bench.outlines import read_outlines
from bench.witness import OUTLINES, half, halved, written
from handoff.masks import mask_iou, read_masks
from handoff.video import read_frames
from tests.helpers import Product

pytestmark = [pytest.mark.slow, pytest.mark.stage, pytest.mark.server]

FIRST, LAST = 138, 185
PROMPT = "cyberpunk drone, samurai"
THRESHOLD = "0.8"
"""The lowest IoU of this clip is 0.87: at 0.90 three frames would be a second reason."""


@pytest.fixture(scope="module")
def skater(
    shared: Path, nano_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Product, subprocess.CompletedProcess[str]]:
    """The extracted and painted run `skater`, and what extraction said."""
    folder = tmp_path_factory.mktemp("skater")
    frames = map(halved, read_frames(shared / "clips" / "skateboarder.mp4", FIRST, LAST + 1))
    clip = written(folder / "skater.mp4", frames, Fraction(24))
    product = replace(Product(folder / "data"), settings={"MODELS_DIR": str(nano_models)})
    extracted = product("extract_physics.py", "-i", clip, "--backend", "embedded")
    assert extracted.returncode == 0, extracted.stderr
    painted = product("generate_reskin.py", "--run", "skater", "--prompt", PROMPT, "--workflow", "draft")
    assert painted.returncode == 0, painted.stderr
    return product, extracted


def judged(product: Product, *options: object) -> tuple[subprocess.CompletedProcess[str], dict[str, object], list[str]]:
    """Run the gate; return it, iou.json, and the kinds of the verdict's reasons."""
    done = product("evaluate_iou.py", "--run", "skater", *options)
    report = next(product.run("skater").glob("reskins/*/report"))
    found = json.loads((report / "iou.json").read_text())
    assert (report / "summary.md").read_text().count(found["verdict"]["sentence"]) >= 1
    return done, found, [each["kind"] for each in found["verdict"]["reasons"]]


def test_the_mask_is_not_the_board(shared: Path, skater: tuple[Product, object]) -> None:
    outlines = read_outlines(OUTLINES, shared / "clips" / "skateboarder.mp4").masks
    masks = enumerate(read_masks(skater[0].run("skater") / "mask.mp4"), start=FIRST)
    ious = [mask_iou(half(outlines[frame]), mask) for frame, mask in masks if frame in outlines]
    assert len(ious) == 7 and sum(iou < 0.5 for iou in ious) >= 5 and np.mean(ious) < 0.35


def test_extraction_says_so_at_once_and_shows_it(
    skater: tuple[Product, subprocess.CompletedProcess[str]],
) -> None:
    product, extracted = skater
    assert "the mask is contradicted in" in extracted.stdout and "--correct" in extracted.stdout
    assert (product.run("skater") / "doubt.png").is_file()


def test_a_mask_on_the_trousers_fails_although_every_frame_fits_it(
    skater: tuple[Product, subprocess.CompletedProcess[str]],
) -> None:
    done, report, reasons = judged(skater[0], "--threshold", THRESHOLD)
    assert done.returncode == 1, done.stdout
    assert reasons == ["original mask"] and "[FAIL]" not in done.stdout
    sentence = str(report["verdict"]["sentence"])  # type: ignore[index]
    assert sentence.startswith("Gate: FAIL, the original mask is contradicted in ") and sentence in done.stdout
    assert done.stdout.splitlines()[-1].startswith("FAILED: The original mask is contradicted in ")


def test_who_looked_at_it_may_accept_it_and_the_report_says_so(
    skater: tuple[Product, subprocess.CompletedProcess[str]],
) -> None:
    done, report, reasons = judged(skater[0], "--threshold", THRESHOLD, "--accept-mask")
    assert done.returncode == 0 and reasons == []
    assert "accepted by --accept-mask" in str(report["verdict"]["sentence"])  # type: ignore[index]


def test_a_clip_in_which_nothing_was_painted_fails(skater: tuple[Product, subprocess.CompletedProcess[str]]) -> None:
    product = skater[0]
    folder = product.run("skater")
    report = product.data / "unpainted"
    files = ["-original", folder / "mask.mp4", "-generated", folder / "source.mp4", "--output", report]
    done = product("evaluate_iou.py", *files, "--accept-mask")
    assert done.returncode == 1, done.stdout
    found = json.loads((report / "iou.json").read_text())
    assert "replaced" in [each["kind"] for each in found["verdict"]["reasons"]]
    assert "[UNCHANGED]" in done.stdout and "[PASS]" not in done.stdout
