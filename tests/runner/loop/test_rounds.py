"""The loop as it is gone through, with a painter and a judge that write what the stages write: their files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from runner.loop.ledger import NAME, Ledger
from runner.loop.rounds import Work, again, until_pass
from runner.loop.takes import seed_of
from runner.process import INTERRUPTED, RunnerError

WINDOWS = [[0, 3], [4, 7], [8, 11]]


class Killed(Exception):
    """As SIGKILL: nothing after it is done."""


@dataclass
class Studio:
    """A reskin folder and its two stages.

    good: which seeds pass in which window. dies_at: the call that does not end. inputs: what the reskin is made from.
    contradicted: what the gate says against the original mask. how: a frame fails. empty: windows without an object.
    """

    run: Path
    good: Callable[[int, int], bool]
    dies_at: int | None = None
    inputs: str = "a"
    contradicted: str = ""
    how: dict[str, Any] = field(default_factory=lambda: {"state": "FAIL", "gap": 0.4, "leak": 0.0})
    keep_all: bool = False
    settings: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    calls: list[str] = field(default_factory=list)
    painted: list[tuple[int, int]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    chosen: list[int] = field(default_factory=list)
    most_kept: int = 0
    drawn: list[tuple[str, int]] = field(default_factory=list)
    empty: set[int] = field(default_factory=set)

    @property
    def reskin(self) -> Path:
        return self.run / "reskins" / "drone"

    @property
    def clip(self) -> str:
        """SHA-256 of the clip that is there."""
        return hashlib.sha256(str(self.seeds).encode()).hexdigest()

    def draw(self) -> int:
        """Note which clip takes.png is drawn of, and how many rounds are known."""
        self.drawn.append((self.clip, len(self.ledger()["rounds"])))
        return 0

    def call(self, what: str) -> None:
        self.calls.append(what)
        if len(self.calls) - 1 == self.dies_at:
            raise Killed

    @property
    def work(self) -> Work:
        return Work(self.plan, self.paint, self.judge, keep_all=self.keep_all, draw=self.draw)

    def plan(self) -> tuple[int, Any]:
        """As the stage's --plan."""
        of = {"prompt": "drone", "inputs": self.inputs, "settings": self.settings}
        there = None
        if (self.reskin / "run.json").exists():
            record = json.loads((self.reskin / "run.json").read_text())["stages"]["reskin"]
            there = {name: record[name] for name in ("seeds", "settings")} if record["of"] == of else None
        plan = {"reskin": "reskins/drone", "of": of, "windows": WINDOWS, "chained": False, "settings": self.settings}
        return 0, {**plan, "there": there}

    def place(self, window: int, seed: int, setting: int) -> Path:
        """Where the pictures of a take lie."""
        key = hashlib.sha256(f"{seed} {self.settings[setting]} {self.inputs}".encode()).hexdigest()
        return self.reskin / ".windows" / f"{window:04d}-{key[:32]}"

    def paint(self, seeds: Sequence[int], settings: Sequence[int]) -> int:
        self.seeds, self.chosen = list(seeds), list(settings)
        for window, (seed, setting) in enumerate(zip(seeds, settings, strict=True)):
            place = self.place(window, seed, setting)
            if not place.exists():
                place.mkdir(parents=True)
                (place / "frame_00000.png").touch()
                self.painted.append((window, seed))
        per_window = [len(list((self.reskin / ".windows").glob(f"{window:04d}-*"))) for window in range(len(WINDOWS))]
        self.most_kept = max(self.most_kept, *per_window)
        self.remove("run.json")
        self.remove("report/iou.json")
        self.call(f"paint {self.seeds}")
        (self.run / "reskins" / ".latest").write_text("drone\n")
        how = {"server": "127.0.0.1:8188", "seconds": 1.5, "resumed": False}
        places = [self.place(*each).name for each in zip(range(len(WINDOWS)), seeds, settings, strict=True)]
        notes = {"windows": [{**how, "window": window, "pictures": name} for window, name in enumerate(places)]}
        notes["windows"] = [each for each in notes["windows"] if each["window"] not in self.empty]
        record = {"of": self.plan()[1]["of"], "seeds": self.seeds, "settings": self.chosen, "notes": notes}
        self.write("run.json", {"kind": "reskin", "stages": {"reskin": record}})
        return 0

    @property
    def paintings(self) -> int:
        return len(self.painted)

    def kept(self) -> list[int]:
        """Whose pictures are there: the window of each take."""
        return sorted(int(path.name[:4]) for path in (self.reskin / ".windows").iterdir())

    def remove(self, name: str) -> None:
        (self.reskin / name).unlink(missing_ok=True)

    def judge(self, last: bool) -> int:
        self.call(f"judge {self.seeds}{' whole' if last else ''}")
        takes = zip(range(len(WINDOWS)), self.seeds, self.chosen, strict=True)
        passed = [self.passes(*each) for each in takes for _ in range(4)]
        frames = [{"passed": each, "iou": 0.95 if each else 0.5, "boundary_f": 0.9} | self.how for each in passed]
        reasons = [{"kind": "original mask", "text": self.contradicted}] if self.contradicted else []
        (self.reskin / "report").mkdir(exist_ok=True)
        how = {"sha256": {"generated": self.clip}}
        self.write("report/iou.json", {"how": how, "verdict": {"reasons": reasons}, "frames": frames})
        return 0 if all(passed) and not reasons else 1

    def passes(self, window: int, seed: int, setting: int) -> bool:
        return self.good(window, seed)

    def write(self, name: str, document: object) -> None:
        (self.reskin / name).write_text(json.dumps(document))

    def loop(self, most: int = 4, **more: bool) -> int:
        self.calls.clear()
        return until_pass(self.run, most, 0, self.work, **more)

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
    state = "4 of 12 frames fail, worst IoU 0.50 at 4"
    assert f"round 2: window 1 of 0-2 again; {state}; at most 3 paintings, about 4 s\n" in said
    assert f"round 3: window 1 of 0-2 again; {state}; at most 2 paintings, about 3 s\n" in said
    assert said.endswith("every frame passes after 3 rounds, 5 paintings, 0 s of painting\n")
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
    stops = replace(studio.work, paint=lambda seeds, settings: 3 if any(seeds) else studio.paint(seeds, settings))
    assert until_pass(tmp_path, 4, 0, stops) == 3
    assert until_pass(tmp_path, 4, 0, replace(studio.work, plan=lambda: (2, None))) == 2
    early = Studio(tmp_path / "early", third_time)
    assert until_pass(early.run, 4, 0, replace(early.work, judge=lambda last: 130)) == 130


def test_files_of_the_stages_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)

    def spoilt(last: bool) -> int:
        studio.judge(last)
        studio.write("report/iou.json", {"frames": [{"passed": True}]})
        return 1

    with pytest.raises(RunnerError, match=r"iou\.json cannot be read"):
        until_pass(tmp_path, 4, 0, replace(studio.work, judge=spoilt))
    for damage in ({"windows": [[0, 3], [9, 11]]}, {"windows": 3}, {"there": {"seeds": ["x"]}}, {"settings": None}):
        document = studio.plan()[1] | damage
        with pytest.raises(RunnerError, match="does not say what it would paint"):
            until_pass(tmp_path, 4, 0, replace(studio.work, plan=lambda document=document: (0, document)))


def test_every_take_is_in_the_ledger_with_its_verdict_and_before_it_from_its_painting_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Studio(tmp_path, third_time, dies_at=1)
    with pytest.raises(Killed):
        studio.loop()
    take = {"take": 1, "seed": 0, "setting": 0, "server": "127.0.0.1:8188", "seconds": 1.5, "kept": True}
    places = [studio.place(window, 0, 0).name for window in range(3)]
    assert studio.ledger()["takes"] == [{**take, "window": at, "pictures": name} for at, name in enumerate(places)]
    empty = Studio(tmp_path / "empty", third_time, empty={0})
    empty.loop()
    noted = [(each["window"], each["seconds"]) for each in empty.ledger()["takes"]]
    assert noted == [(0, None), (1, 1.5), (2, 1.5), (1, 1.5), (1, 1.5)], "the rest are noted"
    assert "every frame passes after 3 rounds, 4 paintings, " in capsys.readouterr().out, "nobody paints nothing"
    studio.dies_at = None
    studio.loop()
    verdicts = [(each["window"], each["take"], each["failing"], each["worst_iou"]) for each in studio.ledger()["takes"]]
    good, bad = ([], 0.95), ([4, 5, 6, 7], 0.5)
    assert verdicts == [(0, 1, *good), (1, 1, *bad), (2, 1, *good), (1, 2, *bad), (1, 3, *good)]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ({"state": "FAIL", "gap": 0.4, "leak": 0.1}, "gap"),
        ({"state": "FAIL", "gap": 0.1, "leak": 0.4}, "leak"),
        ({"state": "UNCHANGED", "gap": 0.0, "leak": 0.4}, "UNCHANGED"),
        ({"state": "UNPAINTED", "gap": 0.0, "leak": 0.4}, "UNPAINTED"),
    ],
)
def test_the_kinds_of_failure_are_told_apart_in_takes_and_rounds(
    tmp_path: Path, how: dict[str, Any], kind: str
) -> None:
    studio = Studio(tmp_path, lambda window, seed: window != 1, how=how)
    assert studio.loop(2) == 1
    assert [each["kinds"] for each in studio.ledger()["takes"]] == [{}, {kind: 4}, {}, {kind: 4}]
    assert [each["kinds"] for each in studio.ledger()["rounds"]] == [{kind: 4}] * 2


def test_each_round_says_which_clip_it_judged_and_the_picture_is_drawn_of_each_when_its_verdict_is_known(
    tmp_path: Path,
) -> None:
    studio = Studio(tmp_path, lambda window, seed: window != 1)
    assert studio.loop(3) == 1
    clips = [each["clip"] for each in studio.ledger()["rounds"]]
    assert len(set(clips)) == 3 and clips[0] == studio.clip, "the first take is kept"
    assert studio.drawn == [(clips[0], 1), (clips[1], 2), (clips[0], 3)]
    studio.drawn.clear()
    studio.loop(3)
    again(tmp_path, 2, studio.work)
    assert studio.drawn == [(clips[0], 3), (clips[1], 3)]


def test_where_all_pass_at_once_the_picture_is_drawn_once(tmp_path: Path) -> None:
    studio = Studio(tmp_path, lambda window, seed: True)
    assert studio.loop() == 0
    assert studio.drawn == [(studio.clip, 1)]


@pytest.mark.parametrize("code", [3, 2])
def test_a_picture_that_cannot_be_drawn_changes_nothing_else(tmp_path: Path, code: int) -> None:
    studio = Studio(tmp_path, third_time)
    assert until_pass(tmp_path, 4, 0, replace(studio.work, draw=lambda: code)) == 0
    assert studio.paintings == 5


@pytest.mark.parametrize("begun", [True, False])
def test_ctrl_c_while_the_picture_is_drawn_ends_it_with_the_best_so_far(tmp_path: Path, begun: bool) -> None:
    studio = Studio(tmp_path, third_time)

    def draw() -> int:
        if not begun:
            raise KeyboardInterrupt
        return INTERRUPTED

    assert until_pass(tmp_path, 4, 0, replace(studio.work, draw=draw)) == INTERRUPTED
    assert studio.paintings == 3 and studio.calls[-1] == "judge [0, 0, 0]"


def test_a_contradicted_mask_ends_it_at_once_and_every_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    studio = Studio(tmp_path, third_time, contradicted="the original mask is contradicted in 4 frames")
    for _ in range(2):
        assert studio.loop() == 1
        assert studio.paintings == 3
        said = "painting cannot mend it, so nothing is painted again: the original mask is contradicted in 4 frames\n"
        assert said in capsys.readouterr().out
    studio.contradicted = ""
    assert studio.loop() == 0


def test_an_earlier_round_is_made_again_without_painting_where_all_takes_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Studio(tmp_path, third_time, keep_all=True)
    studio.loop()
    assert studio.kept() == [0, 1, 1, 1, 2]
    assert again(tmp_path, 2, studio.work) == 1
    assert (studio.seeds, studio.paintings) == ([0, seed_of(0, 2), 0], 5)
    assert again(tmp_path, 3, studio.work) == 0
    assert (studio.seeds, studio.paintings) == ([0, seed_of(0, 3), 0], 5)
    assert "must be painted again" not in capsys.readouterr().out
    calls = len(studio.calls)
    assert again(tmp_path, 3, studio.work) == 0
    assert [each.partition(" ")[0] for each in studio.calls[calls:]] == ["judge"], "it stands there"
    with pytest.raises(RunnerError, match="has 3 rounds, and none with the number 4"):
        again(tmp_path, 4, studio.work)
    assert again(tmp_path, 3, replace(studio.work, plan=lambda: (2, None))) == 2
    whole = studio.ledger()
    for damage in ("", "{}", json.dumps({**whole, "takes": []}), json.dumps({**whole, "takes": whole["takes"][1:]})):
        (studio.reskin / NAME).write_text(damage)
        with pytest.raises(RunnerError, match="has no rounds of what this command asks for"):
            again(tmp_path, 2, studio.work)
    (studio.reskin / NAME).write_text(json.dumps(whole))
    studio.inputs = "b"
    with pytest.raises(RunnerError, match="has no rounds of what this command asks for"):
        again(tmp_path, 2, studio.work)


def test_an_earlier_round_whose_pictures_were_dropped_is_painted_again_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Studio(tmp_path, third_time)
    studio.loop()
    assert studio.kept() == [0, 1, 2], "the losers are gone"
    assert again(tmp_path, 2, studio.work) == 1
    said = capsys.readouterr().out
    assert "window 1 of 0-2 must be painted again: the pictures of these takes were dropped (--keep-takes all" in said
    assert studio.paintings == 6 and studio.kept() == [0, 1, 2], "and go again"
    assert again(tmp_path, 3, studio.work) == 0
    assert studio.paintings == 6 and "must be painted again" not in capsys.readouterr().out
    assert again(tmp_path, 2, replace(studio.work, keep_all=True)) == 1
    assert studio.paintings == 7 and studio.kept() == [0, 1, 1, 2]
    assert studio.loop() == 0
    assert studio.paintings == 7


def test_a_loser_goes_when_takes_json_says_so_and_the_disk_does_not_grow_with_the_rounds(tmp_path: Path) -> None:
    studio = Studio(tmp_path, lambda window, seed: window == 0)
    assert studio.loop(9) == 1
    assert studio.most_kept == 2 and studio.kept() == [0, 1, 2], "no take is better than the first"
    assert studio.paintings == 1 + 9 + 9
    flags = {(each["window"], each["take"]): each["kept"] for each in studio.ledger()["takes"]}
    assert {pair for pair, kept in flags.items() if kept} == {(0, 1), (1, 1), (2, 1)}
    assert studio.loop(10) == 1 and studio.paintings == 1 + 10 + 10, "more takes: none of the old ones again"
    assert studio.loop(3) == 1 and studio.paintings == 1 + 10 + 10, "fewer takes: what is known stays the best"


def test_pictures_of_other_inputs_go_and_what_is_being_written_stays(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)
    studio.loop()
    partial = studio.reskin / ".windows" / ".0001-abc.partial"
    partial.mkdir()
    studio.inputs = "b"
    assert studio.loop() == 0
    partial.rmdir()
    assert studio.kept() == [0, 1, 2] and studio.paintings == 10


def test_a_link_in_the_place_of_the_pictures_is_refused_and_nothing_behind_it_is_removed(tmp_path: Path) -> None:
    other = tmp_path / "other" / f"0001-{'0' * 32}"
    other.mkdir(parents=True)
    studio = Studio(tmp_path / "run", third_time)
    (studio.run / "run.json").parent.mkdir()
    (studio.run / "run.json").write_text("{}")
    studio.reskin.mkdir(parents=True)
    (studio.reskin / ".windows").symlink_to(other.parent)
    with pytest.raises(RunnerError, match="is a link"):
        studio.loop()
    assert other.is_dir()
    (studio.reskin / ".windows").unlink()
    (studio.reskin / ".windows").mkdir()
    (studio.reskin / ".windows" / other.name).symlink_to(other)
    studio.loop()
    assert other.is_dir()


class Varied(Studio):
    """Windows 1 and 2 pass with grow 12 alone, whatever the seed."""

    def passes(self, window: int, seed: int, setting: int) -> bool:
        return window == 0 or self.settings[setting] == {"grow": 12}


GROWN = [{"grow": 4}, {"grow": 8}, {"grow": 12}]


def test_settings_are_tried_in_turn_and_the_record_and_the_lines_say_which_passed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = Varied(tmp_path, third_time, settings=GROWN)
    assert studio.loop() == 0
    assert (studio.seeds, studio.chosen) == ([0, seed_of(0, 3), seed_of(0, 3)], [0, 2, 2])
    said = capsys.readouterr().out
    assert "round 2: windows 1 (grow 8) and 2 (grow 8) of 0-2 again; 8 of 12 frames fail" in said
    ledger = studio.ledger()
    assert ledger["settings"] == GROWN
    assert [(each["window"], each["setting"]) for each in ledger["takes"]] == [
        *((0, 0), (1, 0), (2, 0)),
        *((1, 1), (2, 1)),
        *((1, 2), (2, 2)),
    ]
    assert studio.kept() == [0, 1, 2]
    assert again(tmp_path, 2, studio.work) == 1
    assert (studio.seeds, studio.chosen) == ([0, seed_of(0, 2), seed_of(0, 2)], [0, 1, 1]), "seeds and settings"
    studio.settings = GROWN[:2]
    assert studio.loop(2) == 1, "other settings: nothing of before is believed"
    assert studio.ledger()["settings"] == GROWN[:2]


@pytest.mark.parametrize("keep_all", [False, True])
def test_killed_at_any_call_with_settings_to_vary_nothing_is_painted_twice(tmp_path: Path, keep_all: bool) -> None:
    whole = Varied(tmp_path / "whole", third_time, settings=GROWN, keep_all=keep_all)
    assert whole.loop() == 0
    for at in range(len(whole.calls)):
        studio = Varied(tmp_path / str(at), third_time, dies_at=at, settings=GROWN, keep_all=keep_all)
        with pytest.raises(Killed):
            studio.loop()
        studio.dies_at = None
        assert studio.loop() == 0
        assert (studio.painted, studio.seeds, studio.chosen) == (whole.painted, whole.seeds, whole.chosen)
        assert studio.ledger()["takes"] == whole.ledger()["takes"] and studio.kept() == whole.kept()


def test_killed_between_the_decision_and_the_removal_the_same_command_removes_the_losers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object, **named: object) -> None:
        raise Killed

    studio = Studio(tmp_path, third_time)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("runner.loop.rounds.drop_all_but", killed)
        studio.loop()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("runner.loop.losers.shutil.rmtree", killed)
        studio.loop()
    assert studio.kept() == [0, 1, 1, 2] and [each["kept"] for each in studio.ledger()["takes"]][3] is False
    assert studio.loop() == 0
    assert studio.kept() == [0, 1, 2] and studio.paintings == 5


@pytest.mark.parametrize("passing", [2, 3])
def test_killed_between_the_verdict_and_the_decision_the_same_command_decides_before_it_paints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passing: int
) -> None:
    keep = Ledger.keep

    def killed(self: Ledger, kept: set[tuple[int, int]]) -> None:
        if {(each["window"], each["take"]) for each in self.takes} - kept:
            raise Killed
        keep(self, kept)

    studio = Studio(tmp_path, lambda window, seed: window != 1 or seed == seed_of(0, passing))
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Ledger, "keep", killed)
        studio.loop()
    assert studio.kept() == [0, 1, 1, 2] and len(studio.ledger()["rounds"]) == 2
    assert studio.loop() == 0
    assert studio.kept() == [0, 1, 2] and studio.most_kept == 2 and studio.paintings == 2 + passing


def test_after_ctrl_c_the_best_so_far_stands_there_with_its_verdict(tmp_path: Path) -> None:
    studio = Studio(tmp_path, lambda window, seed: window == 0 and seed == 0)
    judged: list[int] = []

    def interrupted(last: bool) -> int:
        judged.append(studio.judge(last))
        return INTERRUPTED if len(judged) == 2 else judged[-1]

    assert until_pass(tmp_path, 4, 0, replace(studio.work, judge=interrupted)) == INTERRUPTED
    assert studio.drawn == [(studio.clip, 1)] * 2, "and takes.png, drawn once more, is of what stands there"
    assert studio.seeds == [0, 0, 0] and studio.paintings == 5, "round 2 is not the better one; nobody knows it yet"
    assert studio.calls[-2:] == ["paint [0, 0, 0]", "judge [0, 0, 0]"]
    early = Studio(tmp_path / "early", third_time)
    assert until_pass(early.run, 4, 0, replace(early.work, judge=lambda last: INTERRUPTED)) == INTERRUPTED
    assert early.paintings == 3


def test_ctrl_c_while_a_stage_is_begun_is_the_same(tmp_path: Path) -> None:
    """The runner gets it too, whatever it does between two stages."""
    for number, (stage, at) in enumerate((("paint", 2), ("judge", 2))):
        studio = Studio(tmp_path / str(number), third_time)

        def stop(what: str, studio: Studio = studio, stage: str = stage, at: int = at) -> None:
            if what == stage and sum(each.startswith(stage) for each in studio.calls) == at - 1:
                studio.calls.append(f"{stage} is interrupted")
                raise KeyboardInterrupt

        def paint(
            seeds: Sequence[int],
            settings: Sequence[int],
            studio: Studio = studio,
            stop: Callable[[str], None] = stop,
        ) -> int:
            stop("paint")
            return studio.paint(seeds, settings)

        def judge(last: bool, studio: Studio = studio, stop: Callable[[str], None] = stop) -> int:
            stop("judge")
            return studio.judge(last)

        assert until_pass(studio.run, 4, 0, replace(studio.work, paint=paint, judge=judge)) == INTERRUPTED
        assert studio.seeds == [0, 0, 0] and studio.calls[-1] == "judge [0, 0, 0]"
        assert studio.loop() == 0 and studio.paintings == 5


def test_ctrl_c_while_the_loop_looks_where_it_was_is_the_end(tmp_path: Path) -> None:
    studio = Studio(tmp_path, third_time)
    studio.loop()
    studio.calls.clear()
    assert until_pass(tmp_path, 4, 0, replace(studio.work, plan=lambda: (INTERRUPTED, None))) == INTERRUPTED
    assert not studio.calls


def test_with_no_room_for_takes_json_what_stood_in_it_stays_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Studio(tmp_path / "whole", third_time)
    whole.loop()
    for full_at in range(8):  # three rounds, each with its takes and its verdict, two with what is given up
        studio, written = Studio(tmp_path / str(full_at), third_time), list[str]()

        def full(file: object, full_at: int = full_at, studio: Studio = studio, written: list[str] = written) -> None:
            if isinstance(file, int) and stat.S_ISREG(os.fstat(file).st_mode):  # and not its folder
                written.append((studio.reskin / NAME).read_text() if (studio.reskin / NAME).exists() else "")
                if len(written) == full_at + 1:
                    raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch, pytest.raises(RunnerError, match=r"takes\.json \(No space left") as caught:
            patch.setattr("runner.runs.fsync", full)
            studio.loop()
        assert caught.value.exit_code == 3 and str(caught.value).endswith(
            "; free some room, then run the same command again."
        )
        assert ((studio.reskin / NAME).read_text() if full_at else "") == written[-1]
        assert not list(studio.reskin.glob("*.partial")) and not list(studio.reskin.glob(".*.partial"))
        assert studio.loop() == 0
        assert studio.paintings == whole.paintings and studio.ledger()["takes"] == whole.ledger()["takes"]
        assert studio.kept() == whole.kept()


def test_what_was_chosen_from_several_rounds_is_judged_by_one_more_and_nothing_else_is(tmp_path: Path) -> None:
    def loop(name: str, good: Callable[[int, int], bool], stops: bool = False) -> tuple[int, list[str]]:
        studio = Studio(tmp_path / name, good)

        def judge(last: bool) -> int:
            code = studio.judge(last)
            return INTERRUPTED if stops and len(studio.calls) == 4 else code

        def winner() -> int:
            studio.calls.append("second judge")
            return 0 if all(map(good, range(len(WINDOWS)), studio.seeds)) else 1

        code = until_pass(studio.run, 3, 0, replace(studio.work, judge=judge, judge_winner=winner))
        return code, studio.calls

    for name, good, code in (("it passes", third_time, 0), ("it fails", lambda window, seed: window == 0, 1)):
        ended, calls = loop(name, good)
        assert ended == code and calls[-1] == "second judge" and calls.count("second judge") == 1
    code, calls = loop("at once", lambda window, seed: True)
    assert (code, calls[-1]) == (0, "judge [0, 0, 0] whole") and "second judge" not in calls
    code, calls = loop("interrupted", third_time, stops=True)
    assert code == INTERRUPTED and "second judge" not in calls
