"""generate_reskin.py with --until-pass and --take: what reaches painter, gate and picture, and what is refused."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from runner import evaluate as evaluating
from runner import reskin as reskinning
from runner import runs
from runner.loop.takes import seed_of
from runner.process import RunnerError

WINDOWS = [[0, 3], [4, 7]]
PROMPT = ["--run", "x", "--prompt", "drone", "--server", "127.0.0.1:8188"]


@pytest.fixture
def stages(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, in order: each stage, or module of one, with its arguments. The second window passes at take 2."""
    seen: list[list[str]] = []
    reskin = run / "reskins" / "drone"

    def write(name: str, document: object) -> None:
        (reskin / name).parent.mkdir(parents=True, exist_ok=True)
        (reskin / name).write_text(json.dumps(document))

    def paint(arguments: list[str]) -> int:
        there = runs.within(runs.read_manifest(reskin / "output.json"), "window_seeds")
        if "--plan" in arguments:
            known = None if there is None else {"seeds": there, "settings": [0, 0]}
            plan = {"reskin": "reskins/drone", "of": "drone", "windows": WINDOWS, "chained": False, "settings": [{}]}
            Path(arguments[arguments.index("--plan") + 1]).write_text(json.dumps({**plan, "there": known}))
            return 0
        seeds = [int(each) for each in str(value(arguments, "--window-seeds")).split(",")]
        write("output.json", {"windows": WINDOWS, "window_seeds": seeds})
        notes = {"windows": [{"window": index, "server": "a:1", "seconds": 2.0} for index in range(2)]}
        write("run.json", {"kind": "reskin", "stages": {"reskin": {"params": {}, "inputs": {}, "notes": notes}}})
        (reskin / "output.mp4").write_text(f"painted with {seeds}")
        runs.remember(reskin)
        return 0

    def judge() -> int:
        seeds = json.loads((reskin / "output.json").read_text())["window_seeds"]
        passed = [seed in (0, seed_of(0, 2))[window:] for window, seed in enumerate(seeds) for _ in range(4)]
        frames = [{"passed": each, "iou": 0.95 if each else 0.5, "boundary_f": 0.9} for each in passed]
        clip = sha256((reskin / "output.mp4").read_bytes()).hexdigest()
        write("report/iou.json", {"how": {"sha256": {"generated": clip}}, "frames": frames})
        return 0 if all(passed) else 1

    def start(stage: str, arguments: Sequence[str], *, module: str | None = None, **_more: Any) -> int:
        given = list(arguments)
        seen.append([module or stage, *given])
        if module or stage == "posegen":
            return 0 if module else 3
        return paint(given) if stage == "reskin" else 0 if "--check" in given else judge()

    monkeypatch.setattr(evaluating, "start_stage", start)
    monkeypatch.setattr(reskinning, "start_stage", start)
    return seen


def value(arguments: list[str], option: str) -> str | None:
    return arguments[arguments.index(option) + 1] if option in arguments else None


def verdicts(stages: list[list[str]]) -> list[list[str]]:
    """The evaluations; those that only ask whether there could be one are left out."""
    return [each for each in stages if each[0] == "evaluator" and "--check" not in each]


def paintings(stages: list[list[str]]) -> list[list[str]]:
    return [each for each in stages if each[0] == "reskin" and "--plan" not in each]


def test_only_the_last_verdict_has_a_second_judge_and_every_one_an_accepted_mask(
    run: Path, stages: list[list[str]]
) -> None:
    more = ["--until-pass", "3", "--second-judge", "embedded", "--accept-mask"]
    assert reskinning.reskin([*PROMPT, *more]) == 0
    judged = verdicts(stages)
    assert [value(each, "--second-judge") for each in judged] == [None, None, "embedded"]
    assert all("--accept-mask" in each for each in judged)
    painted = paintings(stages)
    assert [value(each, "--window-seeds") for each in painted] == ["0,0", f"0,{seed_of(0, 2)}"]
    assert not [each for each in painted if {"--second-judge", "--accept-mask", "--until-pass"} & {*each}]
    assert all("--keep-windows" in each for each in painted)


def test_without_them_the_winner_of_several_rounds_has_a_second_judge_all_the_same(
    run: Path, stages: list[list[str]]
) -> None:
    assert reskinning.reskin([*PROMPT, "--until-pass", "3"]) == 0
    assert [value(each, "--second-judge") for each in verdicts(stages)] == [None, None, "backward"]
    assert not [each for each in verdicts(stages) if "--accept-mask" in each]


def test_the_skater_is_looked_for_in_the_last_clip_alone(run: Path, stages: list[list[str]]) -> None:
    reskinning.reskin([*PROMPT, "--until-pass", "3"])
    named = [each[0] for each in stages]
    assert named.count("posegen") == 1 and named.index("posegen") > stages.index(verdicts(stages)[1])


def test_the_picture_is_drawn_after_each_verdict_in_the_reskins_folder(run: Path, stages: list[list[str]]) -> None:
    assert reskinning.reskin([*PROMPT, "--until-pass", "3"]) == 0
    drawn = [index for index, each in enumerate(stages) if each[0] == "evaluator.report"]
    assert [stages[index] for index in drawn] == [["evaluator.report", str(run / "reskins" / "drone")]] * 2
    judged, second = verdicts(stages), paintings(stages)[1]
    assert stages.index(judged[0]) < drawn[0] < stages.index(second)
    assert drawn[1] == len(stages) - 1


@pytest.mark.parametrize("failure", ["code", "no environment"])
def test_a_picture_that_cannot_be_drawn_is_said_and_the_verdict_stays(
    run: Path,
    stages: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: str,
) -> None:
    start = evaluating.start_stage

    def fails(stage: str, arguments: Sequence[str], **more: Any) -> int:
        if more.get("module") and failure == "no environment":
            raise RunnerError("there is no uv", 3)
        return 2 if more.get("module") else start(stage, arguments, **more)

    monkeypatch.setattr(evaluating, "start_stage", fails)
    assert reskinning.reskin([*PROMPT, "--until-pass", "3"]) == 0
    said = "warning: takes.png is not drawn: there is no uv"  # else the stage has said it
    assert (said in capsys.readouterr().err) == (failure == "no environment")


@pytest.mark.parametrize("code", [130, 143])
def test_an_interruption_while_it_is_drawn_ends_the_loop_before_the_next_painting(
    run: Path, stages: list[list[str]], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    start = evaluating.start_stage

    def interrupted(stage: str, arguments: Sequence[str], **more: Any) -> int:
        return code if more.get("module") else start(stage, arguments, **more)

    monkeypatch.setattr(evaluating, "start_stage", interrupted)
    assert reskinning.reskin([*PROMPT, "--until-pass", "3"]) == 130
    assert len(paintings(stages)) == 1


def test_an_earlier_round_is_painted_with_its_seeds_and_judged_as_the_last_one(
    run: Path, stages: list[list[str]]
) -> None:
    reskinning.reskin([*PROMPT, "--until-pass", "3"])
    stages.clear()
    more = ["--take", "1", "--second-judge", "tiny", "--accept-mask"]
    assert reskinning.reskin([*PROMPT, *more]) == 1, "the first round's verdict"
    assert [value(each, "--window-seeds") for each in paintings(stages)] == ["0,0"]
    assert [value(each, "--second-judge") for each in verdicts(stages)] == ["tiny"]
    assert all("--accept-mask" in each for each in verdicts(stages))
    assert stages[-1][0] == "evaluator.report"
    stages.clear()
    with pytest.raises(RunnerError, match="has 2 rounds, and none with the number 3") as caught:
        reskinning.reskin([*PROMPT, "--take", "3"])
    assert caught.value.exit_code == 2 and not paintings(stages)


def test_an_earlier_round_needs_a_takes_json(run: Path, stages: list[list[str]]) -> None:
    for _ in range(2):
        with pytest.raises(RunnerError, match="has no rounds of what this command asks for") as caught:
            reskinning.reskin([*PROMPT, "--take", "1"])
        assert caught.value.exit_code == 2 and not verdicts(stages)
        stages.clear()
        reskinning.reskin([*PROMPT, "--until-pass", "1"])
        stages.clear()
        (run / "reskins" / "drone" / "takes.json").unlink()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--second-judge", "embedded"], "--second-judge is for the gate, which is asked with --until-pass"),
        (["--accept-mask"], "--accept-mask is for the gate, which is asked with --until-pass"),
        (["--until-pass", "3", "--take", "1"], "--until-pass paints and --take does not"),
        (["--until-pass", "0"], "--until-pass 0 is not a number of takes from 1 to 100"),
        (["--until-pass", "101"], "--until-pass 101 is not"),
        (["--until-pass", "³"], "--until-pass ³ is not"),
        (["--take", "-1"], "--take -1 is not"),
        (["--take", "two"], "--take two is not"),
        (["--until-pass", "3", "--seeds", "4"], "leave out --seeds"),
        (["--until-pass", "3", "--window-seeds", "1,2"], "leave out --window-seeds"),
        (["--take", "1", "--seeds", "4"], "leave out --seeds"),
        (["--until-pass", "3", "--second-judge", "huge"], "huge"),
        (["--keep-takes", "all"], "--keep-takes is for several takes, which --until-pass paints"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_does_not_go_together_is_refused_before_anything_is_started(
    run: Path, stages: list[list[str]], options: list[str], said: str
) -> None:
    with pytest.raises(RunnerError) as caught:
        reskinning.reskin([*PROMPT, *options])
    assert said in str(caught.value) and caught.value.exit_code == 2
    assert stages == []


def test_force_begins_anew_and_what_was_judged_is_forgotten(run: Path, stages: list[list[str]]) -> None:
    reskinning.reskin([*PROMPT, "--until-pass", "3"])
    stages.clear()
    assert reskinning.reskin([*PROMPT, "--until-pass", "3", "--force"]) == 0
    assert ["--force" in each for each in paintings(stages)] == [True, False], "the rest is painted as it comes"
    assert len(verdicts(stages)) == 3
    stages.clear()
    assert reskinning.reskin([*PROMPT, "--until-pass", "3"]) == 0
    assert not paintings(stages) and len(verdicts(stages)) == 1


def test_one_server_is_started_for_all_rounds(
    run: Path, stages: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []

    @contextlib.contextmanager
    def comfyui(log: Path) -> Iterator[tuple[str, None]]:
        started.append(log)
        yield "127.0.0.1:9", None

    monkeypatch.setattr(reskinning, "comfyui", comfyui)
    assert reskinning.reskin(["--run", "x", "--prompt", "drone", "--until-pass", "3"]) == 0
    assert started == [run / "comfyui.log"]
    assert [value(each, "--server") for each in paintings(stages)] == ["127.0.0.1:9"] * 2
