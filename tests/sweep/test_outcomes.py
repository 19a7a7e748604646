"""What jobs wrote is read as files that may come from anybody, and a verdict holds as long as its report stands."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from sweep import outcomes
from sweep.outcomes import Outcome, extraction_of, is_done, one_line, outcome_of
from tests.sweep.made_up import KEY, MadeUp


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    outcomes._tell.cache_clear()
    return MadeUp(tmp_path / "data")


def test_an_outcome_is_read_back(made: MadeUp) -> None:
    cell = made.cell("demo", "drone", 0)
    assert outcome_of(made.folder, cell) is None
    made.outcome(cell, 3, said="error: no GPU", seconds=2, host="node7", gpu="0", result=[5, 7])
    assert outcome_of(made.folder, cell) == Outcome(KEY, 3, 2.0, "logs/job.log", "error: no GPU", (5, 7))


def test_of_an_extraction_what_succeeded_counts_and_else_what_failed(made: MadeUp) -> None:
    assert extraction_of(made.folder, "demo-e") is None
    made.extraction("failed", "demo", 2, said="error: no clip", log="logs/demo-e.log")
    assert extraction_of(made.folder, "demo-e") == Outcome(None, 2, None, "logs/demo-e.log", "error: no clip")
    made.extraction("extracted", "demo", 0, windows=6)
    assert extraction_of(made.folder, "demo-e") == Outcome(None, 0, windows=6)


@pytest.mark.parametrize(("code", "done"), [(0, True), (1, True), (2, False), (3, False), (130, False)])
def test_a_verdict_is_done_and_a_job_that_failed_is_not(made: MadeUp, code: int, done: bool) -> None:
    cell = made.cell("demo", "drone", 0)
    made.judged(cell, 0.95, code=code)
    assert is_done(outcome_of(made.folder, cell), cell, made.runs) is done


def test_a_verdict_holds_as_long_as_what_is_asked_for_and_its_report_stay(made: MadeUp) -> None:
    cell = made.cell("demo", "drone", 0)
    made.judged(cell, 0.95)
    known = outcome_of(made.folder, cell)
    report = made.reskin(cell) / "report" / "iou.json"
    assert is_done(known, cell, made.runs)
    assert not is_done(known, cell | {"key": "b" * 64}, made.runs)
    assert not is_done(None, cell, made.runs)
    before = report.stat()
    os.utime(report, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert not is_done(known, cell, made.runs), "judged again since"
    report.unlink()
    assert not is_done(known, cell, made.runs)
    other = report.with_name("other.json")
    other.write_text("x")
    report.symlink_to(other)
    for follow in (True, False):
        mark = report.stat(follow_symlinks=follow)
        made.outcome(cell, 0, result=[mark.st_size, mark.st_mtime_ns])
        assert not is_done(outcome_of(made.folder, cell), cell, made.runs), "a link is no report"


GOOD: dict[str, Any] = {"schema": 1, "id": "demo/n0", "key": KEY, "code": 0, "result": None}
ODD = {
    "not JSON": "{",
    "nothing": "",
    "a list": "[]",
    "another schema": json.dumps(GOOD | {"schema": 2}),
    "of another cell": json.dumps(GOOD | {"id": "demo/n1"}),
    "no code": json.dumps({key: value for key, value in GOOD.items() if key != "code"}),
    "true for a code": json.dumps(GOOD | {"code": True}),
    "a code without end": json.dumps(GOOD).replace('"code": 0', f'"code": 1{"0" * 4000}'),
    "a result of three": json.dumps(GOOD | {"result": [1, 2, 3]}),
    "a result of texts": json.dumps(GOOD | {"result": ["1", "2"]}),
    "nested without end": "[" * 100_000,
    "too large": json.dumps(GOOD | {"said": "x" * 2**20}),
    "no text": b"\xff\xfe\xff",
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_outcome_is_none_and_that_is_said_once(
    made: MadeUp, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, content = made.cell("demo", "drone", 0), ODD[odd]
    path = made.outcome(cell, 0)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [outcome_of(made.folder, cell) for _ in range(3)] == [None] * 3
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("warning: ") == 1 and str(path) in said and len(said) < 500


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_what_is_no_plain_file_is_no_outcome(made: MadeUp, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    cell = made.cell("demo", "drone", 0)
    path = made.outcome(cell, 0)
    moved = path.rename(path.with_suffix(".moved"))
    if kind == "link":
        path.symlink_to(moved)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert outcome_of(made.folder, cell) is None
    assert capsys.readouterr().err.count("warning: ") == 1


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("seconds", -1, None),
        ("seconds", float("nan"), None),
        ("seconds", float("inf"), None),
        ("seconds", 10**400, None),
        ("seconds", "1", None),
        ("log", "/etc/passwd", None),
        ("log", "logs/../../x", None),
        ("log", "logs/a\nb", None),
        ("log", ["logs/a"], None),
        ("said", 7, None),
        ("windows", "six", None),
        ("windows", 6, 6),
        ("log", "logs/demo-000-5e6f7a8b.log", "logs/demo-000-5e6f7a8b.log"),
    ],
)
def test_what_only_informs_is_left_out_where_it_cannot_be(
    made: MadeUp, key: str, value: object, wanted: object
) -> None:
    cell = made.cell("demo", "drone", 0)
    made.outcome(cell, 0, **{key: value})
    assert getattr(outcome_of(made.folder, cell), key) == wanted


def test_a_line_keeps_letters_of_all_scripts_and_nothing_that_steers() -> None:
    for text in ("доска 侍\u3000さむらい", "می\u200cخ", "👩\u200d🎤 🛹", "a b\xa0c"):
        assert one_line(text) == text
    assert one_line("a\nb\r\tc\x1b[31m\u2028\u202e\ufeff\ufffe\ud800") == (
        "a\\nb\\r\\tc\\x1b[31m\\u2028\\u202e\\ufeff\\ufffe\\ud800"
    )


def test_many_cells_are_looked_at_with_two_stats_and_one_file_each(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32,000 take 1.4 s of an idle core."""
    cells = [made.cell("demo", "drone", seed) for seed in range(50)]
    for cell in cells:
        made.judged(cell, 0.95, takes=False)
    asked: list[str] = []
    real_stat, real_open = os.stat, os.open
    monkeypatch.setattr(os, "stat", lambda path, **how: asked.append("stat") or real_stat(path, **how))
    monkeypatch.setattr(os, "open", lambda path, *how, **more: asked.append("open") or real_open(path, *how, **more))
    begun = time.process_time()
    found = [outcome_of(made.folder, cell) for cell in cells]
    assert asked == ["open"] * 50
    assert all(is_done(outcome, cell, made.runs) for outcome, cell in zip(found, cells, strict=True))
    assert asked == ["open"] * 50 + ["stat"] * 100
    assert time.process_time() - begun < 5
