"""The folder in which this machine marks its verdicts: shown to the evaluator's container alone, where that can be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.docker import compose, images, stage

FOLDER = "skate-physics-preserver"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The commands that would start containers."""
    commands: list[list[str]] = []
    monkeypatch.setattr(images, "check", lambda stage: None)
    monkeypatch.setattr(compose, "own_project", lambda: "own")
    monkeypatch.setattr(compose, "remove_networks", lambda project: None)
    monkeypatch.setattr(compose, "command", lambda *words, project: list(words))
    monkeypatch.setattr(stage, "_call", lambda command, name: commands.append(command) or 0)
    monkeypatch.setattr(stage, "volumes", lambda reads, writes: [str(each) for each in writes])
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return commands


def test_the_evaluator_has_it_and_no_other_stage(shown: list[list[str]], tmp_path: Path) -> None:
    state = tmp_path / "state"
    for name in ("posegen", "tracker", "reskin", "evaluator"):
        assert stage.start_container(name, []) == 0
        found = str(state / FOLDER) in shown[-1], f"XDG_STATE_HOME={state}" in shown[-1]
        assert found == (name == "evaluator",) * 2
    assert (state / FOLDER).stat().st_mode & 0o777 == 0o700


def test_where_it_cannot_be_made_the_evaluator_does_without(shown: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")
    assert stage.start_container("evaluator", []) == 0
    assert not any("XDG_STATE_HOME" in word for word in shown[-1])


def test_what_docker_cannot_mount_is_no_error(
    shown: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "with:colon"))
    assert stage._state_folder() is None
