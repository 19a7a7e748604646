"""What is written down of every command is what click says of it now."""

from __future__ import annotations

import importlib

import pytest

from docs.make_reference import CLICK, PAGE, as_json, commands, page, record
from handoff.errors import UsageError
from handoff.helptext import COMMANDS

ADVICE = "make reference writes it anew"


def test_the_recorded_commands_are_those_that_there_are() -> None:
    assert COMMANDS.read_text() == as_json(commands()), ADVICE


def test_the_page_of_commands_names_every_option_of_every_command() -> None:
    text = PAGE.read_text()
    assert text == page(), ADVICE
    for name in CLICK:
        assert f"### python -m {name}\n" in text
    for program in ("extract_physics.py", "generate_reskin.py", "evaluate_iou.py"):
        assert f"### {program}\n" in text


@pytest.mark.parametrize("name", CLICK)
def test_every_option_says_what_it_is_for(name: str) -> None:
    recorded = record(name)
    assert recorded["about"] and all(option["help"] for option in recorded["options"])


@pytest.mark.parametrize("name", CLICK)
def test_every_path_that_is_too_long_for_a_file_is_refused_before_anything_else(name: str) -> None:
    paths = [each["names"][0] for each in record(name)["options"] if each.get("value") in ("PATH", "RUN")]
    assert paths or name == "handoff.weights"
    module, attribute = CLICK[name]
    command = getattr(importlib.import_module(module), attribute)
    for option in paths:
        for value, bytes_of in (("x" * 300, "300"), ("runs/" + "侍" * 100, "300"), ("a/" * 2100, r"4\d\d\d")):
            with pytest.raises(UsageError, match=rf"has {bytes_of} bytes, .*; give a shorter one\.$"):
                command.main([option, value], standalone_mode=False)
