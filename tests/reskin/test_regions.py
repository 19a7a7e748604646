"""Where the model may paint, and the clip at its size: regions hold the exact masks, sizes go there and back."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from handoff.errors import UsageError
from reskin.regions import AREA, fit_into, fit_to_area, grow_region, join_over_time, object_regions, skater_regions
from reskin.settings import parse_size

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


sides = st.integers(16, 2000).map(lambda half: 2 * half)
small = st.integers(16, 90).map(lambda half: 2 * half)
multiples = st.integers(2, 12).map(lambda n: 16 * n)


@given(width=sides, height=sides)
def test_the_automatic_size_is_what_the_model_likes_in_the_clips_own_aspect(width: int, height: int) -> None:
    fit = fit_to_area(width, height)
    assert all(side % 16 == 0 for side in fit.model)
    if 1 / 3 < width / height < 3:
        assert 0.94 < fit.model[0] * fit.model[1] / AREA < 1.06
        padding = fit.model[0] * fit.model[1] - fit.inner[0] * fit.inner[1]
        assert padding < 0.06 * fit.model[0] * fit.model[1]


@pytest.mark.parametrize(
    ("clip", "model", "inner"),
    [
        ((1920, 1080), (848, 480), (848, 477)),
        ((1280, 720), (848, 480), (848, 477)),
        ((832, 480), (832, 480), (832, 480)),
        ((1080, 1920), (480, 848), (477, 848)),
        ((640, 480), (736, 544), (725, 544)),
    ],
)
def test_the_sizes_of_common_clips(clip: tuple[int, int], model: tuple[int, int], inner: tuple[int, int]) -> None:
    fit = fit_to_area(*clip)
    assert (fit.model, fit.inner) == (model, inner)


@given(width=sides, height=sides, model=st.tuples(multiples, multiples))
def test_the_whole_clip_lies_in_the_picture_with_its_own_aspect(
    width: int, height: int, model: tuple[int, int]
) -> None:
    fit = fit_into(width, height, *model)
    assert all(
        offset >= 0 and offset + inner <= side
        for offset, inner, side in zip(fit.offset, fit.inner, fit.model, strict=True)
    )
    assert fit.inner[0] == model[0] or fit.inner[1] == model[1]
    scale = min(model[0] / width, model[1] / height)
    assert abs(fit.inner[0] - width * scale) <= 1 and abs(fit.inner[1] - height * scale) <= 1


@settings(deadline=None)
@given(width=small, height=small, model=st.tuples(multiples, multiples))
def test_a_ramp_comes_back_where_it_was_whatever_the_sizes(width: int, height: int, model: tuple[int, int]) -> None:
    fit = fit_into(width, height, *model)
    ramp = np.linspace(0, 250, width)[None, :, None] * np.ones((height, 1, 3))
    back = fit.to_source(fit.to_model(ramp.astype(np.uint8))).astype(float)
    assert back.shape == ramp.shape
    # a shift by one px of the smaller picture would shift the ramp by this much
    step = 250 / (min(width, fit.inner[0]) - 1)
    inside = slice(width // 8, -(width // 8))
    assert abs(np.mean(back[:, inside] - ramp[:, inside])) < 0.15 * step + 1


@settings(deadline=None)
@given(width=small, height=small, model=st.tuples(multiples, multiples), data=st.data())
def test_a_mask_keeps_its_centre_and_its_area_at_the_models_size(
    width: int, height: int, model: tuple[int, int], data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(0, width // 2)), data.draw(st.integers(0, height // 2))
    mask = np.zeros((height, width), bool)
    mask[y : y + height // 2, x : x + width // 2] = True
    fit = fit_into(width, height, *model)
    rows, columns = np.nonzero(fit.mask_to_model(mask, part=0.5))
    scale_x, scale_y = fit.inner[0] / width, fit.inner[1] / height
    assert columns.mean() + 0.5 - fit.offset[0] == pytest.approx((x + (width // 2) / 2) * scale_x, abs=1)
    assert rows.mean() + 0.5 - fit.offset[1] == pytest.approx((y + (height // 2) / 2) * scale_y, abs=1)
    grown = fit.mask_to_model(mask, part=0.0)
    assert grown.sum() >= len(rows)


@settings(deadline=None)
@given(width=small, height=small, model=st.tuples(multiples, multiples))
def test_a_px_that_is_touched_at_all_is_in_the_generous_mask_and_the_padding_in_none(
    width: int, height: int, model: tuple[int, int]
) -> None:
    fit = fit_into(width, height, *model)
    mask = np.zeros((height, width), bool)
    mask[height // 3, width // 3] = True
    assert fit.mask_to_model(mask, part=0.0).any(), "one px of the clip is not lost, however small the picture"
    everything = fit.mask_to_model(np.ones((height, width), bool), part=0.5)
    assert everything.sum() == fit.inner[0] * fit.inner[1]


def test_the_same_size_changes_nothing() -> None:
    fit = fit_into(64, 48, 64, 48)
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert np.array_equal(fit.to_source(fit.to_model(picture)), picture)


def test_the_padding_repeats_the_edge_and_never_comes_back() -> None:
    fit = fit_into(64, 32, 64, 64)
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[0], picture[-1] = (255, 0, 0), (0, 0, 255)
    padded = fit.to_model(picture)
    assert (padded[:17] == (255, 0, 0)).all() and (padded[47:] == (0, 0, 255)).all()
    painted = cv2.rectangle(np.full((64, 64, 3), 9, np.uint8), (0, 16), (63, 47), (77, 77, 77), -1)
    assert (fit.to_source(painted) == 77).all()


@pytest.mark.parametrize("text", ["832", "832x", "830x480", "832x470", "8x8", "0x0", "99999x16", "832x480x3", "big"])
def test_a_size_that_no_model_takes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--size {text} is not auto"):
        parse_size(text)


def test_sizes_are_read() -> None:
    assert parse_size("auto") is None
    assert parse_size("832x480") == (832, 480)
