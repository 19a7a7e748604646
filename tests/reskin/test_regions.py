"""The generation regions hold the exact masks, over time too, and the skater's never lies on the object."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from reskin.regions import grow_region, join_over_time, object_regions, skater_regions

SHAPE = (24, 32)
Masks = NDArray[np.bool_]
sequences = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.just(SHAPE[0]), st.just(SHAPE[1])))


@settings(deadline=None)
@given(things=sequences, px=st.integers(0, 6))
def test_a_region_holds_the_object_of_the_four_frames_before_and_after(things: Masks, px: int) -> None:
    regions = object_regions(list(things), px)
    assert len(regions) == len(things)
    for index, region in enumerate(regions):
        near = things[max(index - 4, 0) : index + 5].any(axis=0)
        assert not (near & ~region).any()


@given(index=st.integers(0, 19))
def test_a_frame_five_away_does_not_count(index: int) -> None:
    masks = [np.zeros(SHAPE, bool) for _ in range(20)]
    masks[index][:] = True
    joined = join_over_time(masks)
    assert [frame for frame in range(20) if joined[frame].any()] == [n for n in range(20) if abs(n - index) <= 4]


@given(px=st.integers(0, 10), x=st.integers(0, 31), y=st.integers(0, 23))
def test_growth_is_by_so_many_px_and_no_more(px: int, x: int, y: int) -> None:
    mask = np.zeros(SHAPE, bool)
    mask[y, x] = True
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = grow_region(mask, px)
    assert grown[distance <= max(px - 1, 0)].all()
    assert not grown[distance > px + 1].any()
    row = grown[y]
    assert row.sum() == min(x, px) + 1 + min(31 - x, px)


@settings(deadline=None)
@given(data=st.data(), px=st.integers(0, 6))
def test_the_skaters_region_is_never_on_the_frames_own_object(data: st.DataObject, px: int) -> None:
    things = data.draw(sequences)
    people = data.draw(hnp.arrays(np.bool_, things.shape))
    exact = people & ~things
    for region, thing, person in zip(skater_regions(list(exact), list(things), px), things, exact, strict=True):
        assert not (region & thing).any()
        assert not (person & ~region).any()
