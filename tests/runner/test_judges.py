"""generate_reskin.py --until-pass: who judges each round, and who judges what was chosen from several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner import reskin as reskinning
from runner.loop.rounds import Work


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each call of the gate gets beside the two files; the loop asks for each once."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("RUNNER", "local")
    run = tmp_path / "runs" / "x"
    (run / "reskins" / "drone").mkdir(parents=True)
    for name in ("mask.mp4", "pose.json", "run.json", "reskins/drone/output.mp4"):
        (run / name).write_text("{}")

    def start(stage: str, arguments: list[str], **more: Any) -> int:
        Path(arguments[arguments.index("--plan") + 1]).write_text('{"reskin": "reskins/drone"}')
        return 0

    seen: dict[str, Any] = {}
    asked: list[list[str]] = []

    def loop(folder: Path, most: int, seed: int, work: Work, **more: bool) -> int:
        assert work.judge_winner is not None and work.plan()[0] == 0
        for name, ask in (
            ("a round", lambda: work.judge(False)),
            ("the only round", lambda: work.judge(True)),
            ("the winner", work.judge_winner),
        ):
            ask()
            seen[name] = asked.pop()[4:]
        return 0

    monkeypatch.setattr(reskinning, "start_stage", start)
    monkeypatch.setattr(reskinning, "until_pass", loop)
    monkeypatch.setattr(reskinning, "evaluate", lambda arguments: asked.append(arguments) or 0)
    return seen


def paint(*more: str) -> int:
    server = ["--server", "http://127.0.0.1:1"]
    return reskinning.reskin(["--run", "x", "--prompt", "drone", "--until-pass", "2", *server, *more])


def test_the_winner_of_several_rounds_is_judged_backward_too_and_one_round_by_the_gate_alone(
    judged: dict[str, Any],
) -> None:
    assert paint() == 0
    assert judged == {
        "a round": ["--no-pose", "--keep-track"],
        "the only round": [],
        "the winner": ["--second-judge", "backward"],
    }


def test_a_judge_that_is_named_is_asked_in_its_place_and_about_a_single_round_too(judged: dict[str, Any]) -> None:
    assert paint("--second-judge", "tiny", "--accept-mask") == 0
    more = ["--accept-mask", "--second-judge", "tiny"]
    assert judged == {
        "a round": ["--accept-mask", "--no-pose", "--keep-track"],
        "the only round": more,
        "the winner": more,
    }
