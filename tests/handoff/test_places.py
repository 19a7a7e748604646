"""Boxes are read in every form people write, and bad ones are refused with the value seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handoff.errors import InputError, UsageError
from handoff.masks import bounds
from handoff.places import Box, check_box, parse_box


@pytest.mark.parametrize("text", ["1,2,30,40", "[1,2,30,40]", " [1, 2, 30, 40] ", "1 2 30 40", "1.0,2,3e1,40"])
def test_a_box_is_read_in_every_usual_form(text: str) -> None:
    assert parse_box(text) == Box(1, 2, 30, 40)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "1,2,nan,4", "1,2,inf,4"])
def test_what_is_not_four_numbers_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not four numbers"):
        parse_box(text)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (Box(50, 10, 20, 40), r"50,10,20,40 is reversed.*20,10,50,40"),
        (Box(20, 40, 50, 10), r"reversed"),
        (Box(20, 10, 20, 40), r"no area"),
        (Box(20, 10, 50, 10.5), r"no area"),
        (Box(-1, 10, 50, 40), r"inside the frame of 100x60"),
        (Box(20, 10, 101, 40), r"x from 0 to 100"),
        (Box(20, 10, 50, 61), r"y from 0 to 60"),
        (Box(500, 300, 600, 400), r"500,300,600,400 does not lie"),
    ],
)
def test_a_bad_box_is_refused_with_its_values(box: Box, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_box(box, 100, 60)


def test_a_box_may_touch_the_edges() -> None:
    assert check_box(Box(0, 0, 100, 60), 100, 60) == Box(0, 0, 100, 60)


@given(st.integers(0, 30), st.integers(0, 20), st.integers(1, 10), st.integers(1, 9))
def test_the_box_of_a_mask_is_tight(x: int, y: int, width: int, height: int) -> None:
    mask = np.zeros((30, 41), bool)
    mask[y : y + height, x : x + width] = True
    assert bounds(mask) == Box(x, y, x + width, y + height)


def test_an_empty_mask_has_no_box() -> None:
    assert bounds(np.zeros((3, 4), bool)) is None
