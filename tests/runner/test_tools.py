"""What make test sets up: what the tests that are run need, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner import tools
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
