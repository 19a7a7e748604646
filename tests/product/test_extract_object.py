"""extract_physics.py without a box: the object is found by itself, or what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handoff.masks import read_masks
from tests.helpers import Product, write_clip
from tests.posegen.helpers import scene, write_models

FRAMES = 12


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    frames = (scene([("person", 40 + 3 * index, 40), ("skateboard", 40 + 3 * index, 85)]) for index in range(FRAMES))
    return write_clip(tmp_path / "clip.mp4", frames)


@pytest.mark.stage
def test_without_a_box_and_without_the_detectors_weights_both_ways_on_are_named(product: Product, clip: Path) -> None:
    done = product("extract_physics.py", "-i", clip)
    assert done.returncode == 3
    assert "make weights PROFILE=detect" in done.stderr and "--bbox x1,y1,x2,y2 --frame n" in done.stderr
    assert not (product.run("clip") / "pose.json").exists()


@pytest.mark.stage
def test_the_object_is_found_and_tracked_with_no_other_option(
    product: Product, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in write_models(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    # the registry of this test knows no tracker
    done = product("extract_physics.py", "-i", clip, "--backend", "embedded", "--every", "1", "--smooth", "none")
    assert done.returncode == 0, done.stderr
    folder = product.run("clip")
    prompt = json.loads((folder / "prompts.json").read_text())["object"]
    assert prompt["from"] == "detector" and prompt["class"] == "skateboard"
    for index, mask in enumerate(read_masks(folder / "mask.mp4")):
        rows, columns = mask.nonzero()
        assert abs(columns.mean() - (40 + 3 * index)) < 8 and abs(rows.mean() - 85) < 8
    stages = json.loads((folder / "run.json").read_text())["stages"]
    assert [name for name in stages if name != "ingest"] == ["detect", "posegen", "tracker"]
    assert "detections.json" in stages["posegen"]["inputs"]
    assert stages["posegen"]["params"]["smoothing"] == {"method": "none"}
    refused = product("extract_physics.py", "-i", clip, "--backend", "embedded", "--object", "skatebord")
    assert refused.returncode == 2 and "perhaps you meant 'skateboard'" in refused.stderr
