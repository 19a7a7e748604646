"""A sweep of very many cells: what is read once, what jobs are given, and what is too much."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweep import jobplan, supervisor
from sweep.errors import SweepError
from sweep.jobplan import text_of
from sweep.outcomes import Outcome, outcome_of
from sweep.profile import Profile
from tests.sweep.plans import SweepFolder, cells, finish, judge_for, name_of


def test_each_outcome_is_read_once_before_the_jobs_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = SweepFolder(tmp_path).also(seeds="0-19", batch=4)
    plan = sweep.plan()
    finish(plan)
    (judge_for(plan, cells(plan)[9]) / "output.mp4").unlink()
    asked: Counter[str] = Counter()

    def counted(folder: Path, cell: Mapping[str, Any]) -> Outcome | None:
        asked[name_of(dict(cell))] += 1
        return outcome_of(folder, cell)

    def begun(*_: object, **__: object) -> None:
        assert asked == Counter(name_of(each) for each in cells(plan))
        raise KeyboardInterrupt

    monkeypatch.setattr(supervisor, "outcome_of", counted)
    monkeypatch.setattr(supervisor.subprocess, "Popen", begun)
    with pytest.raises(KeyboardInterrupt):
        supervisor.carry_out(plan, jobplan.write_plan(plan), Profile.named("local"), [], 300.0)
    assert "20 cells, 1 left\nto do: 0 extractions, 1 batch of cells" in capsys.readouterr().out


def test_what_snakemake_reads_has_only_what_is_left(tmp_path: Path) -> None:
    plan = SweepFolder(tmp_path).also(seeds="0-19", batch=4).plan()
    finish(plan)
    (judge_for(plan, cells(plan)[9]) / "output.mp4").unlink()
    path = jobplan.write_plan(plan)
    words = supervisor.command(plan, path, path.parent)
    told = json.loads(Path(words[words.index("--configfile") + 1]).read_text())
    assert told["batches"] == {plan["batches"][2]["id"]: plan["extractions"][0]["id"]}
    rules = Path(words[words.index("--snakefile") + 1])
    assert rules.read_text() == supervisor.RULES.read_text() and rules.parent == path.parent


def test_a_plan_too_large_for_its_jobs_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = SweepFolder(tmp_path)
    plan = sweep.plan()
    monkeypatch.setattr(jobplan, "LARGEST", len(text_of(plan)) - 1)
    for begin in (lambda: jobplan.write_plan(plan), lambda: supervisor.foretell(plan, Profile.named("local"), [])):
        with pytest.raises(SweepError, match="the plan of 2 cells has 0 MiB, and 0 are the most; make several sweeps"):
            begin()
    assert not sweep.folder.exists()


def test_the_largest_plan_is_one_that_jobs_take() -> None:
    from runner.sweep.batch import LARGEST_PLAN

    assert jobplan.LARGEST == LARGEST_PLAN


@pytest.mark.parametrize(
    ("clips", "cells", "batch", "wanted"),
    [(1000, 32, 1, None), (4000, 32, 8, None), (4000, 32, 1, 4), (16_000, 32, 8, 32), (80_000, 4, 4, None)],
)
def test_a_plan_of_very_many_jobs_names_a_batch(clips: int, cells: int, batch: int, wanted: int | None) -> None:
    def plan(batch: int) -> dict[str, Any]:
        sizes = [min(batch, cells - first) for first in range(0, cells, batch)]
        return {"batches": [{"extraction": str(clip), "cells": [{}] * size} for clip in range(clips) for size in sizes]}

    assert jobplan.larger_batch(plan(batch)) == wanted
    assert wanted is None or jobplan.larger_batch(plan(wanted)) is None
