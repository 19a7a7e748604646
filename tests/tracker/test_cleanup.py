"""Tidying a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handoff.errors import UsageError
from tracker.cleanup import clean, fill_small_holes, keep_largest

masks = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def test_only_the_largest_part_is_kept_and_parts_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6] = mask[6:8, 6:8] = True
    largest = mask.copy()
    mask[12:16, 12:16] = True
    assert np.array_equal(keep_largest(mask), largest)


def test_holes_up_to_the_given_size_are_filled() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2:18] = True
    mask[4:6, 4:6], mask[10:13, 10:13] = False, False  # 4 and 9 px
    assert np.count_nonzero(~fill_small_holes(mask, 3)[2:18, 2:18]) == 13
    assert np.count_nonzero(~fill_small_holes(mask, 4)[2:18, 2:18]) == 9
    assert fill_small_holes(mask, 9)[2:18, 2:18].all()


def test_a_bay_and_a_gap_at_the_frames_edge_are_no_holes() -> None:
    bay = np.ones((10, 10), bool)
    bay[4, 5:] = False
    assert np.array_equal(fill_small_holes(bay, 50), bay)
    inside = np.pad(bay, 3)
    assert np.array_equal(fill_small_holes(inside, 50), inside)


@given(masks)
def test_nothing_asked_for_changes_nothing(mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    cleaned = clean(mask)
    assert np.array_equal(cleaned, mask) and cleaned is not mask


@given(masks, st.integers(0, 20))
def test_cleaning_adds_only_with_holes_removes_only_with_parts_and_settles_at_once(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], px: int
) -> None:
    before = mask.copy()
    assert np.all(mask >= keep_largest(mask))
    assert np.all(fill_small_holes(mask, px) >= mask)
    once = clean(mask, "largest", px)
    assert np.array_equal(clean(once, "largest", px), once)
    assert once.any() == mask.any()
    assert np.array_equal(mask, before)


def test_a_negative_hole_is_refused() -> None:
    with pytest.raises(UsageError, match="-1"):
        clean(np.zeros((4, 4), bool), fill_px=-1)
