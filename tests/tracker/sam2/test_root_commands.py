"""The root commands with SAM 2.1, each stage in its own environment: the gate tracks again with what extracted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from handoff.run import Run
from tests.helpers import Product
from tests.tracker.helpers import masks_of, stage_of
from tests.tracker.sam2.helpers import BOXED, CLIP_FRAMES, TINY, environment

pytestmark = [pytest.mark.stage, pytest.mark.slow]


def test_extract_tracks_with_sam_2_and_the_gate_tracks_again_with_the_same(
    product: Product, clip: Path, tmp_path: Path, checkpoint: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (environment(tmp_path / "home", checkpoint) | {"OMP_NUM_THREADS": "1"}).items():
        monkeypatch.setenv(key, value)
    done = product("extract_physics.py", "-i", clip, "--run", "a", *BOXED, *TINY)
    assert done.returncode == 0, done.stderr
    assert "tracker: SAM 2.1 Hiera tiny on cpu" in done.stdout
    run = Run.open(product.run("a"))
    stage = stage_of(run)
    assert (stage["params"]["backend"], stage["params"]["model"], stage["tools"]["sam2"]) == ("sam2", "tiny", "1.1.0")
    assert stage["params"]["weights"] == checkpoint[1]
    seen = masks_of(run).any(axis=(1, 2))
    assert len(seen) == CLIP_FRAMES and seen.any()
    output = run.path("reskins/same/output.mp4")
    output.parent.mkdir(parents=True)
    shutil.copy(run.source, output)  # nothing was painted over, so the same tracker finds the same masks
    named = ("--run", "a", "-original", "mask.mp4", "-generated", output)
    done = product("evaluate_iou.py", *named)
    assert done.returncode == 1 and done.stdout.count("IoU = 1.0000 [UNCHANGED]") == np.count_nonzero(seen), done.stderr
    done = product("evaluate_iou.py", *named, "--min-replaced", "0")  # what was painted is not the question here
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("IoU = 1.0000 [PASS]") == CLIP_FRAMES
    how = json.loads((output.parent / "report" / "iou.json").read_text())["how"]
    assert {"tracker": "sam2", "model": "tiny", "weights": checkpoint[1]}.items() <= how.items()
    (run.dir.parent.parent.parent / "home" / "models" / "sam2.1_hiera_tiny.pt").unlink()
    done = product("evaluate_iou.py", "--run", "a", "-generated", output, "--force")
    assert done.returncode == 3 and "sam2.1_hiera_tiny.pt" in done.stderr  # no other tracker takes its place


def test_extract_tracking_writes_the_masks_of_the_named_checkpoint(
    product: Product, clip: Path, tmp_path: Path, checkpoint: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in (environment(tmp_path / "home", checkpoint, weights=False) | {"OMP_NUM_THREADS": "1"}).items():
        monkeypatch.setenv(key, value)
    out, config = tmp_path / "out", "configs/sam2.1/sam2.1_hiera_t.yaml"
    named = ("--video", clip, "--output", out, "--sam_checkpoint", checkpoint[0], "--sam_config", config)
    done = product("extract_tracking.py", *named, *BOXED, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "tracker: SAM 2.1 Hiera tiny on cpu" in done.stdout and f"mask.mp4: {out / 'mask.mp4'}" in done.stdout
    assert (out / "mask_skateboard" / "frame_00000.png").is_file() and not (out / "pose.json").exists()
    run = Run.open(out)
    assert len(masks_of(run)) == CLIP_FRAMES and masks_of(run).any()
    assert (masks_of(run) == masks_of(run, "mask_skateboard")).all()
    assert "nothing has changed" in product("extract_tracking.py", *named, *BOXED, "--device", "cpu").stdout
