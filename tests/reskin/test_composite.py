"""The composite changes what lies in the regions, and not one pixel elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from handoff.errors import InputError
from reskin.painting import Changes, Layers, compose, fade

SHAPE = (6, 8)
frames = hnp.arrays(np.uint8, (*SHAPE, 3))
masks = hnp.arrays(np.bool_, SHAPE)


@given(source=frames, first=frames, last=frames, thing=masks, person=masks)
def test_each_region_has_its_own_layer_and_outside_is_the_source(
    source: NDArray[np.uint8],
    first: NDArray[np.uint8],
    last: NDArray[np.uint8],
    thing: NDArray[np.bool_],
    person: NDArray[np.bool_],
) -> None:
    output = compose(source, Layers(last, first), thing, person)
    assert np.array_equal(output[thing], last[thing])
    assert np.array_equal(output[person & ~thing], first[person & ~thing])
    assert np.array_equal(output[~(thing | person)], source[~(thing | person)])
    changes = Changes()
    changes.feed(source, output, thing, person)
    assert changes.outside_px == 0
    assert changes.object_px + changes.skater_px == (thing | person).sum()


@given(picture=frames, other=frames, weight=st.floats(0, 1))
def test_a_fade_leaves_equal_pixels_and_lies_between_others(
    picture: NDArray[np.uint8], other: NDArray[np.uint8], weight: float
) -> None:
    same = fade(Layers(picture, other), Layers(picture, other), weight)
    assert np.array_equal(same.object, picture) and np.array_equal(same.skater, other)
    mixed = fade(Layers(picture, picture), Layers(other, other), weight)
    expected = picture * (1 - weight) + other * weight
    assert np.abs(mixed.object - expected).max() <= 0.501


@given(source=frames, thing=masks, data=st.data())
def test_one_changed_pixel_outside_is_counted(
    source: NDArray[np.uint8], thing: NDArray[np.bool_], data: st.DataObject
) -> None:
    nobody = np.zeros(SHAPE, bool)
    y, x = data.draw(st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1)))
    thing = thing.copy()
    thing[y, x] = False
    spoilt = source.copy()
    spoilt[y, x, 1] ^= 1
    changes = Changes()
    changes.feed(source, spoilt, thing, nobody)
    assert changes.outside_px == 1


def test_the_counts_of_frames_add_up() -> None:
    source = np.zeros((*SHAPE, 3), np.uint8)
    painted = np.full((*SHAPE, 3), 9, np.uint8)
    thing, person = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    thing[:2], person[1:4] = True, True
    changes = Changes()
    for _ in range(3):
        changes.feed(source, compose(source, Layers(painted, painted), thing, person), thing, person)
    changes.feed(source, source, np.zeros(SHAPE, bool), np.zeros(SHAPE, bool))
    assert changes.as_dict() == {
        "frames": 4,
        "frames_without_object": 1,
        "changed_outside_px": 0,
        "object_px": 48,
        "object_changed_px": 48,
        "skater_px": 48,
        "skater_changed_px": 48,
    }


def test_sizes_that_differ_are_refused() -> None:
    source, wide = np.zeros((6, 8, 3), np.uint8), np.zeros((6, 9, 3), np.uint8)
    nobody = np.zeros(SHAPE, bool)
    for layers in (Layers(wide, source), Layers(source, wide)):
        with pytest.raises(InputError, match="one size"):
            compose(source, layers, nobody, nobody)
    with pytest.raises(InputError, match="one size"):
        compose(source, Layers(source, source), nobody, np.zeros((6, 9), bool))
