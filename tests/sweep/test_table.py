"""The table of a sweep says of every cell what is there, in forms that spreadsheets, Markdown and CI servers read."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handoff.video import VideoWriter
from runner.process import ROOT
from sweep import outcomes, rows, table
from sweep.rows import Row, best_of, rank, rows_of
from sweep.table import Summary, to_csv, to_junit, to_markdown, write_table
from tests.sweep.made_up import MadeUp, report, sentence


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    outcomes._tell.cache_clear()
    return MadeUp(tmp_path / "data")


def written(made: MadeUp) -> Summary:
    return write_table(made.plan, made.folder, made.runs, picture=False)


def csv_of(made: MadeUp) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((made.folder / "table.csv").read_text())))


def half_way(made: MadeUp) -> None:
    """One cell of each kind."""
    drone, samurai = "cyberpunk drone, samurai", "neon surfboard"
    made.judged(made.cell("demo", drone, 0), 0.95, 0.92, 0.93, 0.97)
    made.judged(made.cell("demo", drone, 1), 0.95, 0.5, 0.6, 0.97)
    made.outcome(made.cell("demo", samurai, 0), 3, said="error: the server went away", log="logs/demo-000-b.log")
    made.cell("demo", samurai, 1)


def test_every_cell_has_its_row_in_the_order_of_the_plan_also_half_way(made: MadeUp) -> None:
    half_way(made)
    summary = written(made)
    assert summary == Summary(4, 1, 1, 1, 1, ("the server went away (1 cell, logs/demo-000-b.log)",))
    assert summary.sentence == "1 of 4 cells pass, 1 fail, 1 not judged: a job failed, 1 not yet done"
    blank = dict.fromkeys(table.COLUMNS, "")
    passed, failed = sentence(0.95, 0.92, 0.93, 0.97), sentence(0.95, 0.5, 0.6, 0.97)
    assert passed.startswith("Gate: PASS, ") and failed.startswith("Gate: FAIL, 2 of 4 frames at or below IoU 0.9: 1-2")
    drone, board = {"clip": "demo", "prompt": "cyberpunk drone, samurai"}, {"clip": "demo", "prompt": "neon surfboard"}
    figures = {"takes": "3", "seconds": "12.3"}
    assert csv_of(made) == [
        blank | drone | figures | {"seed": "0", "verdict": "pass", "reason": passed, "failing_frames": "0"}
        | {"worst_iou": "0.9200", "worst_frame": "1", "path": "runs/demo/reskins/n0"},
        blank | drone | figures | {"seed": "1", "verdict": "FAIL", "reason": failed, "failing_frames": "2"}
        | {"worst_iou": "0.5000", "worst_frame": "1", "path": "runs/demo/reskins/n1"},
        blank | board | {"seed": "0", "verdict": "failed", "reason": "the server went away", "seconds": "12.3"}
        | {"path": "runs/demo/reskins/n2", "log": "logs/demo-000-b.log"},
        blank | board | {"seed": "1", "verdict": "not yet", "path": "runs/demo/reskins/n3"},
    ]  # fmt: skip
    assert str(made.data) not in "".join((made.folder / name).read_text() for name in (table.CSV, table.MARKDOWN))
    assert not [*made.folder.glob(".*.partial")]


def test_the_markdown_has_the_cells_the_best_of_each_clip_and_the_prompts(made: MadeUp) -> None:
    half_way(made)
    written(made)
    text = (made.folder / "table.md").read_text()
    lines = text.splitlines()
    assert lines[:4] == ["# made-up", "", "1 of 4 cells pass, 1 fail, 1 not judged: a job failed, 1 not yet done.", ""]
    found = [line for line in lines if line.startswith("| demo |")]
    assert len(found) == 4 and all(line.count(" | ") == 9 for line in found)
    assert "| failed | the server went away (`logs/demo-000-b.log`) |" in found[2]
    best = lines[lines.index("### demo") + 2 :]
    assert best[2:6] == [
        "| 1 | cyberpunk drone, samurai | 0 | pass | 0 | 0.9200 | 1 |",
        "| 2 | cyberpunk drone, samurai | 1 | FAIL | 2 | 0.5000 | 1 |",
        "",
        "2 without a verdict.",
    ]
    assert lines[-2:] == ["| 1 | cyberpunk drone, samurai | 1 | 2 |", "| 2 | neon surfboard | 0 | 2 |"]


def test_junit_has_a_suite_a_clip_and_a_case_a_cell(made: MadeUp) -> None:
    half_way(made)
    made.judged(made.cell("other", "drone", 5), 0.99)
    written(made)
    root = ET.parse(made.folder / "junit.xml").getroot()
    counts = [[each.get(name) for name in ("tests", "failures", "errors", "skipped")] for each in (root, *root)]
    assert counts == [["5", "1", "1", "1"], ["4", "1", "1", "1"], ["1", "0", "0", "0"]]
    assert [suite.get("name") for suite in root] == ["demo", "other"]
    cases = list(root.iter("testcase"))
    assert [case.get("name") for case in cases] == [
        *("cyberpunk drone, samurai, seed 0", "cyberpunk drone, samurai, seed 1"),
        *("neon surfboard, seed 0", "neon surfboard, seed 1", "drone, seed 5"),
    ]
    assert [[child.tag for child in case] for case in cases] == [
        ["system-out"], ["failure"], ["error"], ["skipped"], ["system-out"],
    ]  # fmt: skip
    assert cases[1][0].get("message") == sentence(0.95, 0.5, 0.6, 0.97) and cases[1].get("time") == "12.3"
    assert cases[2][0].text == "the server went away\nlogs/demo-000-b.log"


HOSTILE = (
    "drone\n| x | y |\r\n",
    "a \"quoted\", thing; 'and' `code`",
    "=cmd|' /C calc'!A0",
    " @SUM(1+1)",
    "-2+3",
    "\uff1d1+1",
    "bell \x07 escape \x1b[31m nul \x00 end",
    "right to left \u202e drow \u2066 mark \ufeff",
    "emoji 👩\u200d🎤 🛹 侍\u3000щит",
    "]]><b>&amp; <script>*_~ [a](http://x) \\| \\\\",
    "half \ud800 none \uffff \ufffe",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_a_table_or_means_anything_in_it(made: MadeUp, text: str) -> None:
    """It stands in the prompt, in a job's last error and, as far as a report can have it, in the gate's sentence."""
    cell = made.cell("demo", text, 0)
    made.outcome(cell, 3, said=text)
    judged = made.cell("demo", text, 1)
    made.judged(judged, 0.5)
    path = made.reskin(judged) / "report" / "iou.json"
    document = json.loads(path.read_text())
    document["verdict"]["sentence"] = text
    path.write_text(json.dumps(document))
    made.outcome(judged, 1)
    made.cell("demo", "plain", 0)
    written(made)

    lines = (made.folder / "table.csv").read_text().split("\n")
    assert len(lines) == 5 and lines[-1] == ""
    found = csv_of(made)
    first, second, last = found
    assert last["prompt"] == "plain" and [each["verdict"] for each in found] == ["failed", "FAIL", "not yet"]
    for value in (first["prompt"], first["reason"], second["reason"]):
        assert value.lstrip()[:1] not in tuple("=+-@\uff1d") and all(
            each.isprintable() or each in "\u200d\u3000" for each in value
        )
    if "emoji" in text or "quoted" in text:
        assert first["prompt"] == second["reason"] == text

    table_lines = (made.folder / "table.md").read_text().split("\n")
    for line in table_lines[6:9]:
        assert line.startswith("| demo | ") and line.endswith(" |") and "<" not in line.replace("\\<", "")
        bare = line.replace("\\\\", "").replace("\\|", "")
        assert bare.count("|") == 11, "as many cells as the head has"

    cases = [*ET.parse(made.folder / "junit.xml").getroot().iter("testcase")]
    assert [case[0].tag for case in cases] == ["error", "failure", "skipped"]
    assert cases[0].get("name") == f"{first['prompt'].removeprefix(chr(39))}, seed 0"


def changed(made: MadeUp, cell: dict[str, Any], how: str) -> None:
    path = made.reskin(cell) / "report" / "iou.json"
    if how == "gone":
        path.unlink()
    elif how == "judged again":
        before = path.stat()
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    elif how == "other settings":
        cell["key"] = "b" * 64
    elif how == "run gone":
        made.runs.rename(made.runs.with_name("moved"))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("gone", "its report has changed since it was judged"),
        ("judged again", "its report has changed since it was judged"),
        ("run gone", "its report has changed since it was judged"),
        ("other settings", "what is asked for has changed since it was judged"),
    ],
)
def test_a_verdict_that_does_not_hold_any_more_is_none(made: MadeUp, how: str, reason: str) -> None:
    cell = made.cell("demo", "drone", 0)
    made.judged(cell, 0.95)
    changed(made, cell, how)
    assert written(made).missing == 1
    (row,) = csv_of(made)
    assert (row["verdict"], row["reason"], row["worst_iou"]) == ("not yet", reason, "")


BAD_REPORTS = {
    "no JSON": "{",
    "a list": "[1]",
    "nested": "[" * 10**5,
    "empty": "",
    "no text": "\udcff",
    "keys": "{1:2}",
}


@pytest.mark.parametrize("bad", BAD_REPORTS)
def test_of_a_report_that_cannot_be_read_the_jobs_code_is_what_is_known(made: MadeUp, bad: str) -> None:
    for seed, ious in enumerate([(0.95,), (0.5,)]):
        cell = made.cell("demo", "drone", seed)
        made.judged(cell, *ious)
        for name in ("report/iou.json", "takes.json"):
            (made.reskin(cell) / name).write_bytes(BAD_REPORTS[bad].encode("utf-8", "surrogateescape"))
        made.outcome(cell, seed)
    written(made)
    assert [(row["verdict"], row["reason"], row["worst_iou"], row["takes"]) for row in csv_of(made)] == [
        ("pass", "report/iou.json cannot be read", "", ""),
        ("FAIL", "report/iou.json cannot be read", "", ""),
    ]


def test_a_pass_needs_the_code_and_the_report(made: MadeUp) -> None:
    made.judged(made.cell("demo", "drone", 0), 0.5, code=0)
    made.judged(made.cell("demo", "drone", 1), 0.95, code=1)
    written(made)
    first, second = csv_of(made)
    assert first["verdict"] == second["verdict"] == "FAIL"
    assert first["reason"] == f"the job ended with 0, and its report says: {sentence(0.5)}"
    assert second["reason"] == f"the job ended with 1, and its report says: {sentence(0.95)}"


@pytest.mark.parametrize("name", ["report/iou.json", "report", "takes.json"])
def test_nothing_in_a_run_is_read_through_a_link(made: MadeUp, tmp_path: Path, name: str) -> None:
    cell = made.cell("demo", "drone", 0)
    made.judged(cell, 0.95)
    inside = made.reskin(cell) / name
    inside.symlink_to(inside.rename(tmp_path / "elsewhere"))
    written(made)
    (row,) = csv_of(made)
    if name == "takes.json":
        assert (row["verdict"], row["takes"]) == ("pass", "")
    else:
        assert (row["worst_iou"], row["takes"]) in {("", ""), ("", "3")}


def test_where_takes_json_is_not_there_the_extraction_says_how_many_windows_are_painted(made: MadeUp) -> None:
    made.judged(made.cell("demo", "drone", 0), 0.95, takes=False)
    made.judged(made.cell("other", "drone", 0), 0.95, takes=False)
    made.extraction("extracted", "demo", 0, windows=7)
    written(made)
    assert [row["takes"] for row in csv_of(made)] == ["7", ""]


def test_the_cells_of_a_clip_whose_extraction_failed_have_its_reason_and_log(made: MadeUp) -> None:
    made.judged(made.cell("bad", "drone", 0), 0.95)
    for seed in (1, 2):
        made.cell("bad", "drone", seed)
    made.cell("good", "drone", 0)
    made.extraction("failed", "bad", 2, said="error: bad.mp4 is no clip.", log="logs/bad-e.log")
    made.extraction("failed", "good", 2, said="error: it was", log="logs/good-e.log")
    made.extraction("extracted", "good", 0)
    summary = written(made)
    assert summary.jobs == ("extraction of the clip: bad.mp4 is no clip. (2 cells, logs/bad-e.log)",)
    assert [row["verdict"] for row in csv_of(made)] == ["pass", "failed", "failed", "not yet"]
    assert csv_of(made)[1]["log"] == "logs/bad-e.log"


@pytest.mark.parametrize(
    ("counts", "half_way", "ended"),
    [
        ((2, 2, 0, 0, 0), 0, 0),
        ((2, 1, 1, 0, 0), 1, 1),
        ((2, 1, 0, 1, 0), 3, 3),
        ((2, 0, 1, 1, 0), 3, 3),
        ((2, 1, 0, 0, 1), 0, 3),
        ((2, 0, 1, 0, 1), 1, 3),
        ((0, 0, 0, 0, 0), 0, 0),
    ],
)
def test_the_exit_code_is_the_worst_that_there_is(counts: tuple[int, ...], half_way: int, ended: int) -> None:
    summary = Summary(*counts)
    assert (summary.exit_code(ended=False), summary.exit_code(ended=True)) == (half_way, ended)


def row_of(prompt: str, seed: int, verdict: str, failing: int | None = None, worst: float | None = None) -> Row:
    return Row("demo", prompt, seed, "x", verdict, "", "", failing, worst, 0)


RANKED = [
    row_of("b", 3, "pass", 0, 0.97),
    row_of("a", 2, "pass", 0, 0.95),
    row_of("a", 10, "pass", 0, 0.95),
    row_of("b", 0, "pass", 0, 0.95),
    row_of("a", 0, "pass"),
    row_of("z", 0, "FAIL", 0, 0.99),
    row_of("a", 1, "FAIL", 1, 0.2),
    row_of("a", 0, "FAIL", 2, 0.89),
    row_of("a", 7, "FAIL", 2, 0.5),
    row_of("c", 1, "FAIL", 2, 0.5),
    row_of("a", 4, "FAIL"),
]


def test_the_best_comes_first_and_equals_by_prompt_and_seed() -> None:
    rest = [row_of("a", 0, "failed"), row_of("a", 0, "not yet")]
    mixed = [*rest, *RANKED[::-1]]
    assert sorted(mixed, key=rank)[: len(RANKED)] == RANKED
    text = to_markdown("s", mixed, Summary(13, 5, 6, 1, 1))
    ranking = text[text.index("### demo") : text.index("## The prompts")].splitlines()
    lines = [line for line in ranking if line[2:3].isdigit()]
    assert len(lines) == 10 and lines[1].startswith("| 2 | a | 2 | pass | 0 | 0.9500 |")
    assert "1 more in table.csv, 2 without a verdict." in ranking


def test_of_a_clip_and_a_prompt_the_best_is_the_rankings_first_and_a_failed_job_is_told() -> None:
    assert best_of(RANKED[::-1]) is RANKED[0]
    broken, missing = row_of("a", 1, "failed"), row_of("a", 0, "not yet")
    assert best_of([missing, broken]) is broken
    assert best_of([missing]) is None and best_of([]) is None
    assert best_of([missing, broken, RANKED[-1]]) is RANKED[-1]


def test_the_list_of_the_contact_sheet_agrees_with_the_ranking(made: MadeUp) -> None:
    for seed, worst in enumerate((0.92, 0.95, 0.5)):
        made.judged(made.cell("demo", "drone", seed), 0.99, worst)
    made.outcome(made.cell("demo", "board", 0), 3)
    made.cell("other", "drone", 0)
    written(made)
    found = json.loads((made.folder / "contact.json").read_text())
    assert (found["clips"], found["prompts"], found["name"]) == (["demo", "other"], ["drone", "board"], "made-up")
    (drone, board), others = found["cells"]
    mark = (made.reskin(made.cells["demo"][1]) / "report" / "iou.json").stat()
    assert drone == {
        **{"clip": "demo", "prompt": "drone", "seed": 1, "verdict": "pass", "failing": 0, "worst_iou": 0.95},
        **{"result": [mark.st_size, mark.st_mtime_ns], "frame": 1},
        "video": str(made.runs.resolve() / "demo" / "reskins" / "n1" / "output.mp4"),
    }
    assert (board["verdict"], board["video"], others) == ("failed", None, [None, None])


def test_the_picture_is_asked_for_only_where_what_it_shows_has_changed(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []
    drawn = [0]

    def call(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        asked.append(command)
        if not drawn[0]:
            digest = hashlib.sha256(Path(command[3]).read_bytes()).hexdigest()
            Path(command[4]).write_bytes(b"\xff\xd8 sweep part 0 list " + digest.encode())
        return subprocess.CompletedProcess(command, drawn[0])

    monkeypatch.setattr(subprocess, "run", call)
    cell = made.cell("demo", "drone", 0)

    def again() -> int:
        write_table(made.plan, made.folder, made.runs)
        return len(asked)

    assert again() == 0, "there is nothing to be seen yet"
    made.judged(cell, 0.95)
    files = [str(made.folder / name) for name in ("contact.json", "contact.jpg")]
    assert again() == 1 and asked[0] == [sys.executable, str(ROOT / "runner"), "sweep-contact", *files]
    assert again() == 1
    made.judged(cell, 0.96)
    assert again() == 2
    (made.folder / "contact.jpg").unlink()
    assert again() == 3
    drawn[0] = 3
    (made.folder / "contact.jpg").unlink()
    assert again() == 4 and again() == 5
    assert capsys.readouterr().err.count("contact.jpg is not drawn: what draws it ended with 3") == 1


@pytest.mark.stage("evaluator")
def test_the_picture_is_drawn_where_the_evaluator_lives(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(made.data))
    cell = made.cell("demo", "drone", 0)
    made.judged(cell, 0.95, 0.92)
    with VideoWriter(made.reskin(cell) / "output.mp4", Fraction(25), 64, 48) as writer:
        for _ in range(2):
            writer.write(np.full((48, 64, 3), (200, 40, 40), np.uint8))
    write_table(made.plan, made.folder, made.runs)
    seen = cv2.imread(str(made.folder / "contact.jpg"))
    red = (np.abs(seen.astype(int) - (40, 40, 200)) < 25).all(-1)
    assert 0.9 < red.sum() / (320 * 240) < 1.1, "the frame, 320 px wide"
    drawn = (made.folder / "contact.jpg").stat().st_mtime_ns
    write_table(made.plan, made.folder, made.runs)
    assert (made.folder / "contact.jpg").stat().st_mtime_ns == drawn


def test_a_table_that_cannot_be_written_leaves_the_old_one(made: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = made.cell("demo", "drone", 0)
    written(made)
    before = (made.folder / "table.csv").read_text()
    made.judged(cell, 0.95)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        written(made)
    assert (made.folder / "table.csv").read_text() == before and not [*made.folder.glob(".*.partial")]


def test_of_a_report_only_the_beginning_is_read_and_the_work_grows_with_the_cells(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = report(0.5, *[0.95] * 3000)
    assert len(many) > 1_000_000
    asked: list[int] = []
    real = rows.read_head

    class Counted:
        def __init__(self, file: Any) -> None:
            self.file, self.fileno = file, file.fileno

        def read(self, size: int) -> bytes:
            asked.append(size)
            found: bytes = self.file.read(size)
            return found

    monkeypatch.setattr(rows, "read_head", lambda file, until: real(Counted(file), until))  # type: ignore[arg-type]
    reads = []
    for count in (200, 2000):
        for seed in range(len(made.cells.get("demo", ())), count):
            cell = made.cell("demo", "drone", seed)
            folder = made.reskin(cell)
            (folder / "report").mkdir(parents=True)
            if seed == 0:
                (folder / "report" / "iou.json").write_text(many)
            else:
                os.link(made.reskin(made.cells["demo"][0]) / "report" / "iou.json", folder / "report" / "iou.json")
            (folder / "output.mp4").touch()
            made.outcome(cell, 1)
        asked.clear()
        assert sum(row.worst_iou == 0.5 for row in rows_of(made.plan, made.folder, made.runs)) == count
        reads.append(len(asked))
        assert max(asked) == 2**16
    assert reads == [200, 2000]


def test_a_head_is_read_in_pieces_and_only_so_far(tmp_path: Path) -> None:
    def head(text: str) -> dict[str, Any]:
        path = tmp_path / "x.json"
        path.write_text(text)
        with path.open("rb") as file:
            return rows.read_head(file, "frames")

    long = {"a": {"frames": [1]}, "b": 'a "frames": [' + "x" * 200_000 + "é" * 100_000, "n": 12345, "c": None}
    whole = json.dumps(long | {"frames": [1, 2]}, ensure_ascii=False)
    assert head(whole) == long and head(whole[:-5]) == long, "what comes after it is not looked at"
    assert head(json.dumps(long)) == long and head("{}") == {} and head(' {"frames": ') == {}
    for wrong in ("", "[]", '{"a": 1', '{"a": 12', '{"a" 1}', '{"a": 1 "b": 2}', '{"a": 1,}', "nul"):
        with pytest.raises(ValueError, match=r"."):
            head(wrong)


@pytest.mark.parametrize("largest", ["LARGEST", "_MOST_READ"])
def test_no_more_is_read_of_a_report_than_the_limits(
    made: MadeUp, monkeypatch: pytest.MonkeyPatch, largest: str
) -> None:
    cell = made.cell("demo", "drone", 0)
    made.judged(cell, *[0.5] * 8_000)
    monkeypatch.setattr(rows, largest, 10_000)
    written(made)
    assert csv_of(made)[0]["reason"] == "report/iou.json cannot be read"


def test_an_empty_plan_is_an_empty_table(made: MadeUp) -> None:
    assert written(made) == Summary(0, 0, 0, 0, 0)
    assert to_csv([]).strip() == ",".join(table.COLUMNS)
    assert ET.fromstring(to_junit("x", []).encode()).get("tests") == "0"
