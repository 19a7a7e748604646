"""The look is decided by the nouns, the seed and the clip, and the texture sits on the object."""

from __future__ import annotations

import colorsys
import math

import cv2
import numpy as np
import pytest

from handoff.masks import Mask
from reskin.draft_painter import BINS, choose_palette, lay_texture, locate, make_tile, surrounding_hues
from reskin.nouns import parse_prompt

GRAY_WORLD = np.zeros(BINS)
PROMPT = parse_prompt("cyberpunk drone, samurai")


def hue(colour: int) -> float:
    return colorsys.rgb_to_hsv(*(part / 255 for part in colour.to_bytes(3, "big")))[0]


def bar(x: int, y: int, degrees: float) -> Mask:
    image = np.zeros((120, 160), np.uint8)
    corners = cv2.boxPoints(((x, y), (60, 12), degrees)).astype(np.int32)
    cv2.fillPoly(image, [corners], 1)
    return image.astype(bool)


def test_the_same_nouns_and_seed_give_the_same_look() -> None:
    assert choose_palette(PROMPT, 3, GRAY_WORLD) == choose_palette(PROMPT, 3, GRAY_WORLD)
    assert np.array_equal(make_tile("drone", 3), make_tile("drone", 3))


def test_another_noun_or_seed_gives_another_look() -> None:
    looks = {choose_palette(parse_prompt(noun), seed, GRAY_WORLD).object for noun in ("a", "b", "c") for seed in (0, 1)}
    assert len(looks) == 6
    assert not np.array_equal(make_tile("drone", 0), make_tile("drone", 1))


def test_object_and_skater_are_never_of_one_hue() -> None:
    for seed in range(200):
        palette = choose_palette(PROMPT, seed, GRAY_WORLD)
        apart = abs(hue(palette.object) - hue(palette.skater))
        assert min(apart, 1 - apart) > 0.3


@pytest.mark.parametrize("seed", range(8))
def test_the_object_is_not_painted_in_the_hue_of_its_surroundings(seed: int) -> None:
    green = np.zeros((120, 160, 3), np.uint8)
    green[:] = (30, 200, 40)
    around = surrounding_hues([green], [bar(80, 60, 0)])
    apart = abs(hue(choose_palette(PROMPT, seed, around).object) - 1 / 3)
    assert min(apart, 1 - apart) > 1 / 12


def test_the_object_itself_has_no_say_in_what_surrounds_it() -> None:
    frame = np.full((120, 160, 3), 128, np.uint8)
    mask = bar(80, 60, 0)
    frame[mask] = (255, 0, 0)
    assert not surrounding_hues([frame], [mask]).any()


def test_the_texture_moves_and_turns_with_the_object() -> None:
    tile = make_tile("drone", 0)
    first, second = locate([bar(60, 50, 0), bar(90, 70, 30)])
    before, after = lay_texture(tile, first, 160, 120), lay_texture(tile, second, 160, 120)
    back = cv2.getRotationMatrix2D((second.x, second.y), math.degrees(second.angle - first.angle), 1.0)
    back[:, 2] += (first.x - second.x, first.y - second.y)
    returned = cv2.warpAffine(after, back, (160, 120), flags=cv2.INTER_LINEAR)
    inside = bar(60, 50, 0)
    moved = np.abs(returned.astype(int) - before)[inside].mean()
    fixed = np.abs(after.astype(int) - before)[inside].mean()
    assert moved < 0.35 * fixed


def test_a_full_turn_of_the_object_never_makes_the_texture_jump() -> None:
    poses = locate(bar(80, 60, degrees) for degrees in range(0, 361, 10))
    steps = np.diff([pose.angle for pose in poses])
    assert np.all(np.abs(np.abs(steps) - math.radians(10)) < math.radians(4))


def test_a_hidden_object_keeps_its_last_pose() -> None:
    shown = bar(80, 60, 20)
    poses = locate([shown, np.zeros_like(shown), shown])
    assert poses[0] == poses[1] == poses[2]


def test_the_tile_has_no_seam_at_its_border() -> None:
    tile = make_tile("drone", 5).astype(int)
    inner = np.abs(np.diff(tile, axis=0)).mean()
    border = np.abs(tile[0] - tile[-1]).mean()
    assert border < 3 * inner
