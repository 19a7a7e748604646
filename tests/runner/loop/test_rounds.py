"""The loop as it is gone through, with a painter and a judge that write what the stages write: their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.loop.ledger import NAME
from runner.loop.rounds import INTERRUPTED, Work, again, until_pass
from runner.loop.takes import seed_of
from runner.process import RunnerError

WINDOWS = [[0, 3], [4, 7], [8, 11]]


class Killed(Exception):
    """As SIGKILL: nothing after it is done."""


@dataclass
class Studio:
    """A reskin folder and its two stages.

    good: which seeds pass in which window. dies_at: the call that does not end. inputs: what the reskin is made from.
    contradicted: what the gate says against the original mask. how: a frame fails.
    """

    run: Path
    good: Callable[[int, int], bool]
    dies_at: int | None = None
    inputs: str = "a"
    contradicted: str = ""
    how: dict[str, Any] = field(default_factory=lambda: {"state": "FAIL", "gap": 0.4, "leak": 0.0})
    calls: list[str] = field(default_factory=list)
    painted: set[tuple[int, int]] = field(default_factory=set)
    paintings: int = 0
    seeds: list[int] = field(default_factory=list)

    @property
    def reskin(self) -> Path:
        return self.run / "reskins" / "drone"

    def call(self, what: str) -> None:
        self.calls.append(what)
        if len(self.calls) - 1 == self.dies_at:
            raise Killed

    def unchanged(self, seeds: Sequence[int]) -> int:
        """As the stage's --check."""
        found = json.loads((self.reskin / "run.json").read_text())["stages"]["reskin"]
        found.pop("notes")
        return 0 if found == {"params": self.params(seeds), "inputs": self.inputs} else 4

    def params(self, seeds: Sequence[int]) -> dict[str, Any]:
        return {"prompt": "drone"} | ({"window_seeds": list(seeds)} if any(seeds) else {})

    def paint(self, seeds: Sequence[int] | None) -> int:
        self.seeds = list(seeds or [0] * len(WINDOWS))
        for each in enumerate(self.seeds):
            if each not in self.painted:
                self.painted.add(each)
                self.paintings += 1
        self.call(f"paint {self.seeds}")
        self.reskin.mkdir(parents=True, exist_ok=True)
        (self.run / "reskins" / ".latest").write_text("drone\n")
        notes = {"windows": [{"server": "127.0.0.1:8188", "seconds": 1.5, "resumed": False}] * len(WINDOWS)}
        record = {"params": self.params(self.seeds), "inputs": self.inputs, "notes": notes}
        self.write("output.json", {"windows": WINDOWS, "window_seeds": self.seeds})
        self.write("run.json", {"kind": "reskin", "stages": {"reskin": record}})
        return 0

    def judge(self, last: bool) -> int:
        self.call(f"judge {self.seeds}{' whole' if last else ''}")
        passed = [self.good(window, seed) for window, seed in enumerate(self.seeds) for _ in range(4)]
        frames = [{"passed": each, "iou": 0.95 if each else 0.5, "boundary_f": 0.9} | self.how for each in passed]
        reasons = [{"kind": "original mask", "text": self.contradicted}] if self.contradicted else []
        (self.reskin / "report").mkdir(exist_ok=True)
        self.write("report/iou.json", {"verdict": {"reasons": reasons}, "frames": frames})
        return 0 if all(passed) and not reasons else 1

    def write(self, name: str, document: object) -> None:
        (self.reskin / name).write_text(json.dumps(document))

    def loop(self, most: int = 4, **more: bool) -> int:
        self.calls.clear()
        return until_pass(self.run, most, 0, Work(self.unchanged, self.paint, self.judge), **more)

    def ledger(self) -> dict[str, Any]:
        return dict(json.loads((self.reskin / NAME).read_text()))


def third_time(window: int, seed: int) -> bool:
    return window != 1 or seed == seed_of(0, 3)


def test_only_the_window_that_failed_is_painted_again_until_it_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Studio(tmp_path, third_time)
    assert studio.loop() == 0
    assert studio.paintings == 5 and studio.seeds == [0, seed_of(0, 3), 0]
    assert [each.partition(" ")[0] for each in studio.calls] == ["paint", "judge"] * 3 + ["judge"]
    assert studio.calls[-1].endswith("whole")
    said = capsys.readouterr().out
    assert "round 2: window 1 of 0-2 again; 4 of 12 frames fail, worst IoU 0.50 at 4\n" in said
    assert said.endswith("every frame passes after 3 rounds, 5 paintings\n")
    ledger = studio.ledger()
    assert [each["failing"] for each in ledger["rounds"]] == [4, 4, 0]
    assert [each["chosen"] for each in ledger["rounds"]] == [[1, 1, 1], [1, 2, 1], [1, 3, 1]]
    assert ledger["windows"] == WINDOWS
    assert ledger["rounds"][1]["paintings"] == [{"window": 1, "take": 2, "seed": seed_of(0, 2)}]


def test_where_a_window_never_passes_it_ends_and_the_best_is_what_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Studio(tmp_path, lambda window, seed: window == 0)
    assert studio.loop(2) == 1
    assert studio.paintings == 5 and studio.seeds == [0, 0, 0], "no take is better than the first: that one is kept"
    assert "the best is kept: 8 of 12 frames fail, worst IoU 0.50 at 4\n" in capsys.readouterr().out


def test_killed_at_any_call_the_same_command_paints_nothing_twice_and_ends_the_same(tmp_path: Path) -> None:
    whole = Studio(tmp_path / "whole", third_time)
    assert whole.loop() == 0
    for at in range(len(whole.calls)):
        studio = Studio(tmp_path / str(at), third_time, dies_at=at)
        with pytest.raises(Killed):
            studio.loop()
        studio.dies_at = None
        assert studio.loop() == 0
        assert studio.paintings == whole.paintings and studio.seeds == whole.seeds
        assert studio.ledger()["takes"] == whole.ledger()["takes"]
        rounds = [{**each, "seconds": 0} for each in studio.ledger()["rounds"]]
        assert rounds == [{**each, "seconds": 0} for each in whole.ledger()["rounds"]]
        known = sum(call.startswith("judge") for call in studio.calls)
        assert known <= 1 + sum(call.startswith("judge") for call in whole.calls[max(at - 1, 0) :])


def test_verdicts_of_other_inputs_and_a_damaged_ledger_are_not_believed(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)
    studio.loop()
    whole = len(studio.calls)
    studio.loop()
    assert studio.calls == [f"judge {studio.seeds} whole"], "all is known and there: the verdict is only said again"
    studio.inputs = "b"
    studio.loop()
    assert len(studio.calls) == whole
    for damage in ("", "{", '{"schema": 1}', json.dumps({**studio.ledger(), "rounds": [{"chosen": [1, 1, 1]}]})):
        (studio.reskin / NAME).write_text(damage)
        assert studio.loop() == 0
        assert len(studio.calls) == whole
    assert studio.loop(anew=True) == 0
    assert len(studio.calls) == whole


def test_what_stops_a_stage_stops_the_loop(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)
    stops = Work(studio.unchanged, lambda seeds: 3 if seeds else studio.paint(seeds), studio.judge)
    assert until_pass(tmp_path, 4, 0, stops) == 3
    assert until_pass(tmp_path, 4, 0, Work(lambda seeds: 4, studio.paint, lambda last: 130)) == 130


def test_files_of_the_stages_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)

    def spoilt(last: bool) -> int:
        studio.judge(last)
        studio.write("report/iou.json", {"frames": [{"passed": True}]})
        return 1

    with pytest.raises(RunnerError, match=r"iou\.json cannot be read"):
        until_pass(tmp_path, 4, 0, Work(studio.unchanged, studio.paint, spoilt))

    def no_windows(seeds: Sequence[int] | None) -> int:
        studio.paint(seeds)
        studio.write("output.json", {"windows": [[0, 3], [9, 11]]})
        return 0

    with pytest.raises(RunnerError, match="does not say its windows"):
        until_pass(tmp_path, 4, 0, Work(lambda seeds: 4, no_windows, studio.judge))


def test_every_take_is_in_the_ledger_with_its_verdict_and_before_it_from_its_painting_on(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time, dies_at=1)
    with pytest.raises(Killed):
        studio.loop()
    take = {"window": 0, "take": 1, "seed": 0, "setting": 0, "server": "127.0.0.1:8188", "seconds": 1.5}
    assert studio.ledger()["takes"] == [{**take, "window": window} for window in range(3)]
    studio.dies_at = None
    studio.loop()
    verdicts = [(each["window"], each["take"], each["failing"], each["worst_iou"]) for each in studio.ledger()["takes"]]
    good, bad = ([], 0.95), ([4, 5, 6, 7], 0.5)
    assert verdicts == [(0, 1, *good), (1, 1, *bad), (2, 1, *good), (1, 2, *bad), (1, 3, *good)]


def test_the_kinds_of_failure_are_told_apart_and_frames_that_no_take_mends_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (how, kind) in enumerate(
        (
            ({"state": "FAIL", "gap": 0.4, "leak": 0.1}, "gap"),
            ({"state": "FAIL", "gap": 0.1, "leak": 0.4}, "leak"),
            ({"state": "UNCHANGED", "gap": 0.0, "leak": 0.4}, "UNCHANGED"),
            ({"state": "UNPAINTED", "gap": 0.0, "leak": 0.4}, "UNPAINTED"),
        )
    ):
        studio = Studio(tmp_path / str(number), lambda window, seed: window != 1, how=how)
        assert studio.loop(2) == 1
        said = capsys.readouterr().out
        assert f"  round 2: 4 frames fail (4 {kind}), worst IoU 0.50 at 4\n" in said
        assert "window 1: all takes fail in the same 4 frames (4 to 7)" in said
        assert "4 takes of 3 windows were judged" in said


def test_a_contradicted_mask_ends_it_at_once_and_every_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studio = Studio(tmp_path, third_time, contradicted="the original mask is contradicted in 4 frames")
    for _ in range(2):
        assert studio.loop() == 1
        assert studio.paintings == 3
        said = "painting cannot mend it, so nothing is painted again: the original mask is contradicted in 4 frames\n"
        assert said in capsys.readouterr().out
    studio.contradicted = ""
    assert studio.loop() == 0


def test_an_earlier_round_is_made_again_without_painting(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)
    studio.loop()
    work = Work(studio.unchanged, studio.paint, studio.judge)
    assert again(tmp_path, 2, work) == 1
    assert (studio.seeds, studio.paintings) == ([0, seed_of(0, 2), 0], 5)
    assert again(tmp_path, 3, work) == 0
    assert (studio.seeds, studio.paintings) == ([0, seed_of(0, 3), 0], 5)
    with pytest.raises(RunnerError, match="has 3 rounds, and none with the number 4"):
        again(tmp_path, 4, work)
    for damage in ("", "{}", '{"rounds": [{"number": 2, "chosen": [1, 1, 1]}], "takes": []}'):
        (studio.reskin / NAME).write_text(damage)
        with pytest.raises(RunnerError, match="does not say which takes there are"):
            again(tmp_path, 2, work)


def test_after_ctrl_c_the_best_so_far_stands_there_with_its_verdict(tmp_path: Path) -> None:
    studio = Studio(tmp_path, lambda window, seed: window == 0 and seed == 0)
    judged: list[int] = []

    def interrupted(last: bool) -> int:
        judged.append(studio.judge(last))
        return INTERRUPTED if len(judged) == 2 else judged[-1]

    assert until_pass(tmp_path, 4, 0, Work(studio.unchanged, studio.paint, interrupted)) == INTERRUPTED
    assert studio.seeds == [0, 0, 0] and studio.paintings == 5, "round 2 is not the better one; nobody knows it yet"
    assert studio.calls[-2:] == ["paint [0, 0, 0]", "judge [0, 0, 0]"]
    early = Studio(tmp_path / "early", third_time)
    assert until_pass(early.run, 4, 0, Work(early.unchanged, early.paint, lambda last: INTERRUPTED)) == INTERRUPTED
    assert early.paintings == 3


def test_what_was_chosen_from_several_rounds_is_judged_by_one_more_and_nothing_else_is(tmp_path: Path) -> None:
    def loop(name: str, good: Callable[[int, int], bool], stops: bool = False) -> tuple[int, list[str]]:
        studio = Studio(tmp_path / name, good)

        def judge(last: bool) -> int:
            code = studio.judge(last)
            return INTERRUPTED if stops and len(studio.calls) == 4 else code

        def winner() -> int:
            studio.calls.append("second judge")
            return 0 if all(map(good, range(len(WINDOWS)), studio.seeds)) else 1

        code = until_pass(studio.run, 3, 0, Work(studio.unchanged, studio.paint, judge, judge_winner=winner))
        return code, studio.calls

    for name, good, code in (("it passes", third_time, 0), ("it fails", lambda window, seed: window == 0, 1)):
        ended, calls = loop(name, good)
        assert ended == code and calls[-1] == "second judge" and calls.count("second judge") == 1
    code, calls = loop("at once", lambda window, seed: True)
    assert (code, calls[-1]) == (0, "judge [0, 0, 0] whole") and "second judge" not in calls
    code, calls = loop("interrupted", third_time, stops=True)
    assert code == INTERRUPTED and "second judge" not in calls
