"""What the prompt means, and which folder it names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handoff.errors import UsageError
from reskin.nouns import MAX_LENGTH, Nouns, check_name, parse_prompt, slug


def test_two_nouns_are_the_object_and_the_skater() -> None:
    assert parse_prompt("cyberpunk drone, samurai") == Nouns("cyberpunk drone", "samurai")


def test_one_noun_is_the_object_alone() -> None:
    assert parse_prompt("cyberpunk drone") == Nouns("cyberpunk drone", None)


def test_spaces_do_not_count() -> None:
    assert parse_prompt("  cyberpunk   drone ,samurai ") == Nouns("cyberpunk drone", "samurai")


@pytest.mark.parametrize("text", ["", " ", ",", "drone,", ", samurai", "a, b, c", "drone\nsamurai", "drone\x1b[31m"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"cyberpunk drone, samurai|plain words"):
        parse_prompt(text)


def test_an_endless_noun_is_refused_with_its_length() -> None:
    with pytest.raises(UsageError, match=f"{MAX_LENGTH + 1} characters"):
        parse_prompt("x" * (MAX_LENGTH + 1))


def test_the_slug_is_readable() -> None:
    assert slug("Cyberpunk drone, Samuraï!") == "cyberpunk-drone-samurai"


@given(st.text())
def test_a_slug_is_always_a_name_that_stays_in_its_folder(text: str) -> None:
    assert check_name(slug(text)) == slug(text)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc", "-rf", "a b", "x" * 101, ".hidden"])
def test_a_name_that_leaves_the_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a folder's"):
        check_name(name)
