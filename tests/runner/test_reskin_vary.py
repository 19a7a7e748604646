"""generate_reskin.py with settings that vary: what reaches the stage, and what is refused before a server starts."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner import reskin as reskinning
from runner.loop.takes import seed_of
from runner.process import RunnerError

VARIED = ["--run", "x", "--prompt", "drone", "--vary", "grow=4,12"]
Started = list[tuple[list[str], list[Path]]]


@pytest.fixture
def stages(run: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """What is asked of the reskin stage, and what it may read besides. Two frames, a window each; the second passes
    with grow 12 alone."""
    seen: Started = []
    reskin = run / "reskins" / "drone"
    of = {"there": None}

    def numbers(arguments: Sequence[str], option: str) -> list[int]:
        return [int(each) for each in arguments[arguments.index(option) + 1].split(",")]

    def start(stage: str, arguments: Sequence[str], *, reads: Sequence[Path] = (), **_more: Any) -> int:
        seen.append((list(arguments), list(reads)))
        if "--plan" in arguments:
            settings = [{"grow": 4}, {"grow": 12}]
            plan = {"reskin": "reskins/drone", "of": 1, "windows": [[0, 0], [1, 1]], "chained": False, **of}
            Path(arguments[arguments.index("--plan") + 1]).write_text(json.dumps({**plan, "settings": settings}))
            return 0
        reskin.mkdir(parents=True, exist_ok=True)
        of["there"] = {name: numbers(arguments, f"--window-{name}") for name in ("seeds", "settings")}
        return 0

    def judge(arguments: list[str]) -> int:
        passed = [True, of["there"]["settings"][1] == 1]
        (reskin / "report").mkdir(exist_ok=True)
        frames = [{"passed": each, "iou": 0.95 if each else 0.5, "boundary_f": 0.9} for each in passed]
        (reskin / "report" / "iou.json").write_text(json.dumps({"frames": frames}))
        return 0 if all(passed) else 1

    monkeypatch.setattr(reskinning, "start_stage", start)
    monkeypatch.setattr(reskinning, "evaluate", judge)
    return seen


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The logs of the servers that were started."""
    logs: list[Path] = []

    @contextlib.contextmanager
    def comfyui(log: Path) -> Iterator[tuple[str, None]]:
        logs.append(log)
        yield "127.0.0.1:1", None

    monkeypatch.setattr(reskinning, "comfyui", comfyui)
    return logs


def value(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def test_seeds_and_settings_of_each_window_reach_the_stage_and_one_server_is_started_when_something_is_painted(
    stages: Started, servers: list[Path]
) -> None:
    assert reskinning.reskin([*VARIED, "--until-pass", "3"]) == 0
    (plan, _), *painted = stages
    assert value(plan, "--vary") == "grow=4,12" and "--server" not in plan
    assert [value(each, "--window-settings") for each, _ in painted] == ["0,0", "0,1"]
    assert [value(each, "--window-seeds") for each, _ in painted] == ["0,0", f"0,{seed_of(0, 2)}"]
    assert all("--keep-windows" in each and "--server" in each and "--force" not in each for each, _ in painted)
    assert len(servers) == 1
    assert reskinning.reskin([*VARIED, "--until-pass", "3"]) == 0
    assert len(servers) == 1 and len(stages) == 4, "nothing is to be painted: no server, a plan alone"
    assert reskinning.reskin([*VARIED, "--take", "1"]) == 1
    assert value(stages[-1][0], "--window-settings") == "0,0" and len(servers) == 2


def test_force_forgets_all_before_the_first_painting_alone(stages: Started, servers: list[Path]) -> None:
    assert reskinning.reskin([*VARIED, "--until-pass", "3"]) == 0
    stages.clear()
    assert reskinning.reskin([*VARIED, "--until-pass", "3", "--force"]) == 0
    painted = [each for each, _ in stages if "--plan" not in each]
    assert ["--force" in each for each in painted] == [True, False]


def test_a_container_is_shown_the_pictures_that_are_varied(stages: Started, servers: list[Path]) -> None:
    vary = ["--vary", 'reference=a.png,"b, c.png"', "--vary", 'object-prompt="x']
    assert reskinning.reskin([*VARIED, *vary, "--until-pass", "3"]) == 0
    assert all(reads == [Path("a.png"), Path("b, c.png")] for _, reads in stages)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--vary is for several takes, which --until-pass paints; leave it out, or give both"),
        (["--until-pass", "2", "--keep-takes", "some"], "--keep-takes is one of best, all, not 'some'"),
        (["--until-pass", "2", "--window-settings", "0,1"], "there is no option --window-settings"),
        (["--take", "9"], "has no rounds of what this command asks for"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_and_no_server_is_started(
    stages: Started, servers: list[Path], options: list[str], words: str
) -> None:
    with pytest.raises(RunnerError, match=words) as caught:
        reskinning.reskin([*VARIED, *options])
    assert caught.value.exit_code == 2 and not servers


def test_whose_pictures_stay_is_for_the_loop(stages: Started, servers: list[Path]) -> None:
    with pytest.raises(RunnerError, match="--keep-takes is for several takes"):
        reskinning.reskin(["--run", "x", "--prompt", "drone", "--keep-takes", "all"])


def test_a_refusal_of_the_stage_ends_it_before_a_server_is_started(
    run: Path, servers: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse: Callable[..., int] = lambda *arguments, **named: 2  # noqa: E731
    monkeypatch.setattr(reskinning, "start_stage", refuse)
    assert reskinning.reskin([*VARIED, "--until-pass", "3"]) == 2 and not servers
