"""The pieces of the embedded tracker: what each is for, on pictures small enough to reason about."""

from __future__ import annotations

import numpy as np
import pytest

from handoff.places import Box
from tests.tracker.helpers import make_scene
from tracker.embedded.backend import MaskSpool
from tracker.embedded.classical import EmbeddedTracker
from tracker.embedded.cues import Background, ColourModel, shade_and_hue
from tracker.embedded.motion import Motion, best_shift
from tracker.embedded.outline import fill_holes, grow, grow_within, keep_parts, settle_edge, signed_distance


def square(size: int, start: int, stop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    mask = np.zeros((size, size), bool)
    mask[start:stop, start:stop] = True
    return mask


def test_a_shadow_changes_the_shade_and_not_the_hue() -> None:
    lit = np.full((4, 4, 3), (120, 160, 80), np.uint8)
    look, shadow = shade_and_hue(lit), shade_and_hue((lit // 2).astype(np.uint8))
    assert abs(int(look[0, 0, 0]) - int(shadow[0, 0, 0])) > 50
    assert np.abs(look[0, 0, 1:].astype(int) - shadow[0, 0, 1:]).max() <= 8


def test_colour_speaks_for_the_objects_own_against_the_grounds_and_not_at_all_on_unseen_ones() -> None:
    look = np.zeros((40, 40, 3), np.uint8)
    look[:], mask = (90, 60, 200), square(40, 10, 30)
    look[mask] = (90, 200, 60)
    model = ColourModel(look, mask, ~mask)
    odds = model.odds(look)
    assert odds[mask].min() > 3
    assert odds[~mask].max() < -3
    assert np.abs(model.odds(np.full((1, 1, 3), 250, np.uint8))).max() < 0.1


def test_the_background_speaks_against_what_was_there_and_for_what_hides_it_but_not_for_shadows() -> None:
    ground = np.full((20, 20, 3), (120, 128, 128), np.uint8)
    background = Background(ground, square(20, 0, 5))
    for _ in range(12):
        background.learn(ground, ~square(20, 0, 5))
    now = ground.copy()
    now[10:15, :10], now[10:15, 10:] = (120, 180, 128), (70, 128, 128)
    odds = background.odds(now, (slice(0, 20), slice(0, 20)))
    assert np.all(odds[:5, :5] == 0)  # never seen
    assert np.all(odds[16:] <= -4)
    assert np.all(odds[10:15, :10] == 2)
    assert np.all(odds[10:15, 10:] < 0)  # darker, same hue


def test_an_outline_settles_half_way_up_a_blurred_edge() -> None:
    picture = np.full((30, 30, 3), 60, np.uint8)
    picture[8:22, 8:22] = 200
    picture[8:22, 7], picture[8:22, 22] = 90, 90  # less than half: outside
    for start, stop in ((7, 23), (8, 22), (9, 21)):
        settled = settle_edge(square(30, start, stop), picture)
        assert np.array_equal(settled[10:20], square(30, 8, 22)[10:20])


def test_the_best_shift_is_the_one_that_the_evidence_shows() -> None:
    before, after = square(60, 20, 30), np.roll(square(60, 20, 30), (3, 7), axis=(0, 1))
    odds = np.where(after, 3.0, -3.0).astype(np.float32)
    window = (slice(0, 60), slice(0, 60))
    moved = best_shift(odds, signed_distance(before), np.zeros(2), window, 12)
    assert np.array_equal(moved > 0, after)


def test_a_still_camera_is_none_and_a_panning_one_a_shift() -> None:
    still, panning = make_scene(2), make_scene(2, pan=3)
    outside = ~grow(still.truth[0], 8)
    for scene, shift in ((still, None), (panning, 3.0)):
        motion = Motion(np.ascontiguousarray(scene.frames[0][..., 1]))
        matrix = motion.camera(motion.advance(np.ascontiguousarray(scene.frames[1][..., 1])), outside)
        if shift is None:
            assert matrix is None
        else:
            assert matrix is not None
            there = matrix @ np.array([80.0, 40.0, 1.0])
            assert there[0] / there[2] - 80.0 == pytest.approx(shift, abs=0.3)


def test_parts_with_little_evidence_go_and_holes_that_show_the_background_stay() -> None:
    mask = square(40, 5, 25)
    mask[10:20, 10:20] = False
    mask[30:32, 30:32] = True
    ones = np.ones(mask.shape, np.float32)
    kept = keep_parts(mask, ones, 0.1)
    assert not kept[30:32, 30:32].any() and kept[5:8, 5:25].all()
    assert np.array_equal(fill_holes(kept, -ones, 12), kept)
    assert np.array_equal(fill_holes(kept, ones, 12), square(40, 5, 25))


def test_growth_stays_inside_what_is_allowed() -> None:
    allowed = square(40, 5, 30)
    assert np.array_equal(grow_within(square(40, 10, 12), allowed, 20), allowed)
    assert not grow_within(square(40, 10, 12), allowed, 1)[5].any()


def test_the_spool_gives_masks_back_in_the_opposite_order() -> None:
    masks = [np.random.default_rng(seed).random((37, 53)) > 0.5 for seed in range(5)]
    with MaskSpool((37, 53)) as spool:
        for mask in masks:
            spool.push(mask)
        for mask in reversed(masks):
            assert np.array_equal(spool.pop(), mask)
        with pytest.raises(IndexError):
            spool.pop()


def test_the_core_gives_copies_that_the_caller_may_change() -> None:
    scene = make_scene(3)
    one, other = EmbeddedTracker(), EmbeddedTracker()
    one.start(scene.frames[0], Box(*scene.box(0)))[:] = False
    other.start(scene.frames[0], Box(*scene.box(0)))
    assert np.array_equal(one.step(scene.frames[1]), other.step(scene.frames[1]))
