"""The whole evaluation that `make bench-evaluator` measures: it is one, and a part that fails leaves nothing behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bench import end_to_end
from handoff.errors import GateFailed
from tests.evaluator.helpers import read_report

pytestmark = pytest.mark.slow


def test_the_measured_evaluation_asks_all_that_a_user_s_does(demo_clip: Path, tmp_path: Path) -> None:
    run, place = end_to_end.demo_run(tmp_path / "run")
    end_to_end.main(end_to_end.WHOLE, run, place)
    report = read_report((run / end_to_end.GENERATED[end_to_end.WHOLE]).parent / "report")
    frames, heard = report["frames"], report["summary"]["trust"]["standing"]["frames"]
    seen = [each["frame"] for each in frames if each["original_px"]]
    assert len(seen) == 71 and all(frames[each]["replaced"] is not None for each in seen)
    assert all(heard[each]["shoes"] is not None and heard[each]["above_feet"] is not None for each in seen)
    assert sum(each["box_iou"] is not None for each in heard) > 60


def test_a_part_that_fails_ends_the_measurement_and_no_other_stays_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children: list[subprocess.Popen[str]] = []
    start = end_to_end.start

    def watched(part: str, run: Path, place: list[str]) -> subprocess.Popen[str]:
        children.append(start(part, run, place))
        return children[-1]

    monkeypatch.setattr(end_to_end, "start", watched)
    monkeypatch.setattr(end_to_end, "demo_run", lambda folder: (folder, ["-bbox", "1,1,9,9", "--frame", "0"]))
    with pytest.raises(GateFailed, match="ended before its time"):
        end_to_end.end_to_end(tmp_path)
    assert len(children) == len(end_to_end.PARTS) and all(each.poll() is not None for each in children)
