"""The calibration's limits: of wrong frames at least 80 % are named, of right ones at most 2 % are blamed.

On the demo clip, whose truth is known in every frame, and on real clips, where the object was outlined by hand; the
table is `make bench-witness`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.maskfaults import FAULTS, RIGHT
from bench.witness import Footage, Score, demo_footage, judged, looked_at, real_clips, rows_of, scene_of, two_people

NAMED, BLAMED = 0.80, 0.02
pytestmark = [pytest.mark.slow, pytest.mark.stage("posegen")]


@pytest.fixture(scope="module")
def folder(nano_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are made."""
    return tmp_path_factory.mktemp("witness")


@pytest.fixture(autouse=True)
def models(nano_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a detector there is no first witness."""
    monkeypatch.setenv("MODELS_DIR", str(nano_models))


def scores(footage: Footage, folder: Path) -> dict[str, Score]:
    return dict(rows_of(footage, looked_at(footage, folder), FAULTS, really=False))


def test_no_frame_of_the_demo_is_contradicted(demo_clip: Path, folder: Path) -> None:
    footage = demo_footage(demo_clip)
    run = looked_at(footage, folder)
    found = judged(run, footage.truth, FAULTS[RIGHT](scene_of(footage, run)))
    assert (found.blamed, found.right, found.words) == (0, 92, ["confirmed"])


@pytest.fixture(scope="module")
def table(shared: Path, demo_clip: Path, folder: Path, nano_models: Path) -> dict[str, dict[str, Score]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELS_DIR", str(nano_models))
        skater, juggler = real_clips(shared / "clips")
        crossing = two_people(shared / "clips", skater, folder)
        return {each.name: scores(each, folder) for each in (demo_footage(demo_clip), skater, crossing, juggler)}


def test_right_masks_are_not_blamed(table: dict[str, dict[str, Score]]) -> None:
    clips = {name: sum(rows.values(), Score()).as_json() for name, rows in table.items()}
    assert sum(found["right"] for found in clips.values()) > 500
    assert max(found["blamed_share"] for found in clips.values()) <= BLAMED, clips


def test_wrong_masks_are_named(table: dict[str, dict[str, Score]]) -> None:
    assert named(table)["wrong"] > 800 and named(table)["named_share"] >= NAMED, named(table)


def named(table: dict[str, dict[str, Score]]) -> dict[str, Any]:
    """All frames of all clips and faults together."""
    return sum((score for rows in table.values() for score in rows.values()), Score()).as_json()


def test_a_clip_whose_masks_are_right_is_never_contradicted(table: dict[str, dict[str, Score]]) -> None:
    assert "contradicted" not in [word for rows in table.values() for word in rows[RIGHT].words]


@pytest.mark.parametrize("name", ["on a leg", "on the shadow", "swapped", "twice as wide and high", "lost for a third"])
def test_a_clip_whose_masks_are_grossly_wrong_is_contradicted(table: dict[str, dict[str, Score]], name: str) -> None:
    assert {clip: rows[name].words for clip, rows in table.items()} == {clip: ["contradicted"] for clip in table}
