"""The walks of docs/how-it-works/architecture.md: each step's file has the function that it names, and they are few."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

import pytest

from runner.process import ROOT

PAGE = ROOT / "docs" / "how-it-works" / "architecture.md"
MOST = 12
FILES = (".json", ".mp4")


class Walk(NamedTuple):
    """One list of steps. stated: how many files it says that it crosses. steps: each one's file and names in it."""

    stated: int
    steps: list[tuple[str, list[str]]]


def walks() -> list[Walk]:
    text = PAGE.read_text(encoding="utf-8").split("## Three walks\n")[1].split("\n## ")[0]
    found = []
    for stated, steps in re.findall(r"\*\*(\d+) files:\*\*\n\n((?:\d+\. .*\n)+)", text):
        lines = [re.findall(r"`([^`]+)`", line) for line in steps.splitlines()]
        found.append(Walk(int(stated), [(file, names) for file, *names in lines]))
    return found


def defined(file: str) -> set[str]:
    """Return what a file defines: functions, classes, their methods, and names on its first level."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def test_there_are_three_walks() -> None:
    assert len(walks()) == 3


@pytest.mark.parametrize("walk", walks(), ids=lambda walk: walk.steps[0][0])
def test_a_walk_crosses_as_many_files_as_it_says_and_not_many(walk: Walk) -> None:
    assert len({file for file, _ in walk.steps}) == walk.stated <= MOST


@pytest.mark.parametrize("walk", walks(), ids=lambda walk: walk.steps[0][0])
def test_a_steps_file_defines_what_is_named_first_and_has_the_rest(walk: Walk) -> None:
    for file, names in walk.steps:
        text = (ROOT / file).read_text(encoding="utf-8")
        plain = [name for name in names if re.fullmatch(r"[A-Za-z_.]+", name) and not name.endswith(FILES)]
        if plain and plain[0] == names[0]:
            assert set(plain[0].split(".")) <= defined(file), f"{file} does not define {plain[0]}"
        for name in plain:
            assert all(re.search(rf"\b{part}\b", text) for part in name.split(".")), f"{file} has no {name}"
