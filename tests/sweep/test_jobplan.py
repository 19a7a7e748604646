"""The ids of a plan's jobs and cells change exactly when what they stand for changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sweep.jobplan import write_plan
from tests.sweep.plans import BBOX, SweepFolder, cells, finish, undone


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path)


def clip(**said: Any) -> dict[str, Any]:
    return {"clips": [{"path": "line.mp4", "bbox": BBOX, "frame": 4} | said]}


def ids(plan: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Return ids of extractions, names of reskins, keys of cells."""
    found = cells(plan)
    return [each["id"] for each in plan["extractions"]], [each["reskin"] for each in found], [c["key"] for c in found]


def test_the_same_file_is_the_same_plan(sweep: SweepFolder) -> None:
    first = sweep.plan()
    assert sweep.plan() == first
    assert write_plan(first) == write_plan(sweep.plan())
    assert json.loads(write_plan(first).read_text()) == first


@pytest.mark.parametrize("change", ["bytes", "time", "bbox", "frame", "correct", "cuts", "backend"])
def test_another_clip_or_another_object_is_another_extraction_into_the_same_reskins(
    sweep: SweepFolder, change: str
) -> None:
    before = ids(sweep.plan())
    if change == "bytes":
        sweep.clip.write_bytes(b"another clip")
    elif change == "time":
        os.utime(sweep.clip, ns=(1, 1))
    else:
        box = [300, *BBOX[1:]]
        more: dict[str, Any] = {
            "bbox": {"bbox": box},
            "frame": {"frame": 5},
            "correct": {"correct": [{"frame": 9, "bbox": box}]},
            "cuts": {"cuts": [20]},
            "backend": {"extract": {"backend": "embedded"}},
        }[change]
        sweep = sweep.also(**clip(**more))
    extractions, names, keys = ids(sweep.plan())
    assert extractions != before[0] and names == before[1]
    assert not set(keys) & set(before[2])


@pytest.mark.parametrize(
    "said", [{"settings": {"steps": 5}}, {"workflow": "draft"}, {"prompts": ["drone, monk"]}, {"seeds": [7, 8]}]
)
def test_another_look_is_another_reskin_of_the_same_extraction(sweep: SweepFolder, said: dict[str, Any]) -> None:
    before, after = ids(sweep.plan()), ids(sweep.also(**said).plan())
    assert after[0] == before[0]
    assert not set(after[1]) & set(before[1]) and not set(after[2]) & set(before[2])


@pytest.mark.parametrize("said", [{"until_pass": 3}, {"gate": {"accept-mask": True}}])
def test_more_takes_or_another_judge_is_asked_of_the_same_reskin(sweep: SweepFolder, said: dict[str, Any]) -> None:
    before, after = ids(sweep.plan()), ids(sweep.also(**said).plan())
    assert (after[0], after[1]) == (before[0], before[1])
    assert not set(after[2]) & set(before[2])


@pytest.mark.parametrize("said", [{"batch": 8}, {"gpus": 3}, {"seeds": [1, 0]}, {"seeds": "0-1"}])
def test_how_jobs_are_cut_changes_no_cell(sweep: SweepFolder, said: dict[str, Any]) -> None:
    before, after = ids(sweep.plan()), ids(sweep.also(**said).plan())
    assert (after[0], *map(sorted, after[1:])) == (before[0], *map(sorted, before[1:]))


@pytest.mark.parametrize("where", ["workflow", "reference", "vary"])
def test_a_file_that_a_reskin_is_given_counts_by_what_is_in_it(sweep: SweepFolder, where: str) -> None:
    (sweep.place / "mine.json").write_text("{}")
    (sweep.place / "a, b.png").write_bytes(b"one")
    sweep = sweep.also(
        **{
            "workflow": {"workflow": "mine.json"},
            "reference": {"settings": {"reference": "a, b.png"}},
            "vary": {"settings": {"vary": ['reference="a, b.png"']}},
        }[where]
    )
    before = ids(sweep.plan())
    for file in ("mine.json", "a, b.png"):
        os.utime(sweep.place / file, ns=(1, 1))
    assert ids(sweep.plan()) == before
    for file in ("mine.json", "a, b.png"):
        (sweep.place / file).write_bytes(b"other")
    after = ids(sweep.plan())
    assert after[0] == before[0] and not set(after[1]) & set(before[1])


def test_a_file_that_an_extraction_is_given_counts_as_the_clip_does(sweep: SweepFolder) -> None:
    weights = sweep.place / "weights.pt"
    weights.write_bytes(b"one")
    sweep = sweep.also(extract={"checkpoint": "weights.pt"})
    before = ids(sweep.plan())
    os.utime(weights, ns=(1, 1))
    after = ids(sweep.plan())
    assert after[0] != before[0] and after[1] == before[1]


def test_a_seed_more_leaves_all_done_cells_done(sweep: SweepFolder) -> None:
    sweep = sweep.also(prompts=["drone, samurai", "surfboard, monk"], batch=8)
    finish(sweep.plan())
    assert not undone(sweep.plan())
    more = sweep.also(seeds=[0, 1, 2])
    (batch,) = undone(more.plan())
    before = {cell["key"] for cell in cells(sweep.plan())}
    assert [cell["seed"] for cell in batch["cells"] if cell["key"] not in before] == [2, 2]
    assert [cell["seed"] for each in undone(more.also(batch=1).plan()) for cell in each["cells"]] == [2, 2]


def test_prompts_without_a_latin_letter_have_reskins_of_their_own(sweep: SweepFolder) -> None:
    plan = sweep.also(prompts=["滑板, 武士", "無人機, 武士", "🛸"]).plan()
    names = [cell["reskin"] for cell in cells(plan)]
    assert len(set(names)) == 6 and all(name.isascii() for name in names)
