"""What make test sets up: what the tests that are run need, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import tools
from runner.process import RunnerError
from tests.helpers import environments_of


class Item:
    """A collected test, as far as what it needs is told by it."""

    def __init__(self, *marks: pytest.MarkDecorator, fixtures: tuple[str, ...] = ()) -> None:
        self.marks, self.fixturenames = marks, fixtures

    def iter_markers(self, name: str) -> Iterator[pytest.Mark]:
        return (each.mark for each in self.marks if each.name == name)


@pytest.mark.parametrize(
    ("item", "needed"),
    [
        (Item(), set()),
        (Item(pytest.mark.slow, fixtures=("demo_clip",)), set()),
        (Item(pytest.mark.server), {"comfyui"}),
        (Item(pytest.mark.stage), {"posegen", "tracker", "reskin", "evaluator"}),
        (Item(pytest.mark.stage("posegen"), pytest.mark.server), {"posegen", "comfyui"}),
        (Item(fixtures=("demo_run",)), set(tools.STAGES)),
    ],
)
def test_a_tests_marks_say_which_environments_it_needs(item: pytest.Item, needed: set[str]) -> None:
    assert environments_of(item) == needed


def test_only_what_is_asked_for_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for name in ("RUNNER", "POSEGEN_PYTHON", "DEMO_CLIP"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setattr(tools, "ensure_env", lambda stage: made.append(stage) or f"python of {stage}")
    monkeypatch.setattr(tools, "ensure_source", lambda *_: made.append("source"))
    monkeypatch.setattr(tools, "demo_clip", lambda: made.append("clip") or "clip")
    tools.set_up({"tracker"}, clip=False)
    assert made == ["tracker"] and tools.os.environ["POSEGEN_PYTHON"] == "before"
    tools.set_up({"posegen", "comfyui"})
    assert made == ["tracker", "comfyui", "source", "posegen", "clip"]
    assert tools.os.environ["POSEGEN_PYTHON"] == "python of posegen" and tools.os.environ["DEMO_CLIP"] == "clip"


def test_the_contact_sheet_is_drawn_where_the_evaluator_lives_and_sees_the_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[object, ...]] = []

    def start(stage: str, arguments: list[str], **named: object) -> int:
        asked.append((stage, arguments, named))
        return 7

    monkeypatch.setattr(tools, "start_stage", start)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    videos = ["/big/demo/reskins/a/output.mp4", "/big/demo/reskins/b/output.mp4", None, 5, "/x", [], "a/b/c/d/e"]
    cells = [[{"video": each} for each in videos], [None, "odd"], None]
    listed, picture = tmp_path / "contact.json", tmp_path / "sheets" / "contact.jpg"
    listed.write_text(json.dumps({"cells": cells}))
    assert tools.contact([str(listed), str(picture)]) == 7 and tools.OWN["sweep-contact"] is tools.contact
    reads = [tmp_path / "data" / "runs", Path("/big/demo")]
    how = {"reads": reads, "writes": [picture.parent], "module": "evaluator.report.contact"}
    assert asked == [("evaluator", [str(listed), str(picture)], how)]
    listed.write_text("{")
    tools.contact([str(listed), str(picture)])
    assert asked[1] == ("evaluator", [str(listed), str(picture)], how | {"reads": reads[:1]}), "the stage says what is"
    for wrong in ([], [str(listed)], ["a", "b", "c"]):
        with pytest.raises(RunnerError, match="usage: "):
            tools.contact(wrong)
