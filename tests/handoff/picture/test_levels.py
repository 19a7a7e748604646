"""A mask is read as exactly what was written, in every encoding; what could be read in two ways is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from handoff.errors import InputError
from handoff.masks import read_masks
from tests.maskfiles import (
    DAVIS,
    ENCODINGS,
    GRAY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    Bools,
    coloured,
    encode,
    labels,
    level,
    noise,
    pillow,
    with_alpha,
    write_folder,
)

MASK: Bools = cv2.circle(np.zeros((48, 64), np.uint8), (30, 20), 12, (1,), -1) > 0
MOVED: Bools = np.roll(MASK, 9, axis=1)
VOC = [each for number in range(255) for each in (number, 0, 0)] + [224, 224, 192]


def both_kinds(masks: Bools) -> bool:
    """Each has pixels of the object and others: a picture of one colour says little."""
    return bool((masks.any(axis=(1, 2)) & ~masks.all(axis=(1, 2))).all())


some_masks = st.tuples(st.integers(1, 3), st.integers(2, 40), st.integers(2, 40)).flatmap(
    lambda shape: arrays(np.bool_, shape).filter(both_kinds)
)


@settings(max_examples=150)
@given(some_masks, st.sampled_from(list(ENCODINGS)))
def test_any_mask_in_any_encoding_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, masks: Bools, encoding: str
) -> None:
    folder = write_folder(tmp_path_factory.mktemp("masks") / "a", map(ENCODINGS[encoding], masks))
    assert np.array_equal(list(read_masks(folder)), masks)
    shutil.rmtree(folder)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_gives_the_same_mask(tmp_path: Path, encoding: str) -> None:
    masks = [MASK, MOVED]
    folder = write_folder(tmp_path / "masks", map(ENCODINGS[encoding], masks))
    assert np.array_equal(list(read_masks(folder)), masks)


@settings(max_examples=40)
@given(st.integers(2, 40), st.integers(3, 40), st.integers(0, 2**32 - 1), st.sampled_from([RGB, RGB_ALPHA]))
def test_a_picture_of_many_colours_is_no_mask(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int, kind: int
) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    if kind == RGB_ALPHA:
        picture = np.dstack([picture, np.full((height, width), 255, np.uint8)])
    folder = write_folder(tmp_path_factory.mktemp("photos") / "a", [encode(picture, kind)])
    with pytest.raises(InputError, match=r"00000\.png has \d+ (colours, so which|px of gray levels)"):
        list(read_masks(folder))
    shutil.rmtree(folder)


def soft(mask: Bools) -> np.ndarray:
    return cv2.GaussianBlur(level(mask).astype(np.uint8), (5, 5), 0)


def voc(mask: Bools) -> bytes:
    border = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > mask
    image = Image.fromarray((level(mask, 4) + level(border, 255)).astype(np.uint8), mode="P")
    image.putpalette(VOC)
    return pillow(image)


WHITE, RED, GREEN = (255, 255, 255), (200, 0, 0), (0, 200, 0)
REFUSED: dict[str, tuple[Callable[[], list[bytes]], str]] = {
    "soft edges": (lambda: [encode(soft(MASK))], "px of gray levels between black and white"),
    "soft alpha": (
        lambda: [encode(np.dstack([noise(MASK), soft(MASK)]), RGB_ALPHA)],
        "px of alpha levels between black and white",
    ),
    "labels in gray": (lambda: [encode(level(MASK, 1))], "levels from 0 to 1 only, none near 255"),
    "labels in 4 bits": (lambda: [encode(level(MASK, 1), depth=4)], "levels from 0 to 1 only, none near 15"),
    "8 bits in 16": (lambda: [encode(level(MASK), depth=16)], "levels from 0 to 255 only, none near 65535"),
    "labels in alpha": (
        lambda: [encode(with_alpha(noise(MASK), MASK, 1), RGB_ALPHA)],
        "levels from 0 to 1 only, none near 255",
    ),
    "nearly transparent": (
        lambda: [encode(np.dstack([noise(MASK), np.full(MASK.shape, 1)]), RGB_ALPHA)],
        "levels from 1 to 1 only, none near 255",
    ),
    "two objects": (
        lambda: [encode(level(MASK, 1) + 2 * np.roll(MASK, 25, 1), PALETTE, PLTE=bytes(DAVIS))],
        "has the objects 1, 2",
    ),
    "another object later": (
        lambda: [labels(MASK, 1, DAVIS), labels(MASK, 2, DAVIS)],
        r"00001\.png has an object of the colour \(0, 128, 0\), and earlier .* \(128, 0, 0\)",
    ),
    "VOC's border": (lambda: [voc(MASK)], "object 4 and entry 255 of its palette, which VOC draws"),
    "a border that is transparent": (
        lambda: [encode(level(MASK, 1) + 2 * (MOVED & ~MASK), PALETTE, PLTE=bytes(DAVIS), tRNS=b"\xff\xff\0")],
        "with 0 as the background, and makes another number transparent",
    ),
    "a palette of one colour": (
        lambda: [encode(level(MASK, 1), PALETTE, PLTE=bytes(6))],
        r"the colours \(0, 0, 0\) and \(0, 0, 0\) of its palette",
    ),
    "red on white in a palette": (
        lambda: [encode(level(MASK, 1), PALETTE, PLTE=bytes([*WHITE, *RED]))],
        r"the colours \(255, 255, 255\) and \(200, 0, 0\)",
    ),
    "a matte in a palette": (
        lambda: [pillow(Image.fromarray(soft(MASK)).convert("P"))],
        "gray levels between black and white",
    ),
    "red on white": (lambda: [encode(coloured(MASK, RED, WHITE), RGB)], "has 2 colours"),
    "red on green": (lambda: [encode(coloured(MASK, RED, GREEN), RGB)], "has 2 colours"),
    "red throughout": (lambda: [encode(coloured(MASK | True, RED), RGB)], "has 1 colours"),
    "white, with a red border": (
        lambda: [encode(coloured(MASK, WHITE) + coloured(MOVED & ~MASK, RED), RGB)],
        "has 3 colours",
    ),
    "red, then green": (
        lambda: [encode(coloured(MASK, RED), RGB), encode(coloured(MASK, GREEN), RGB)],
        "which of them is meant is not known",
    ),
    "dark blue": (lambda: [encode(coloured(MASK, (0, 0, 20)), RGB)], "levels from 0 to 20 only"),
    "an alpha in some pictures": (
        lambda: [encode(with_alpha(noise(MASK), MASK), RGB_ALPHA), encode(level(MASK))],
        r"00001\.png has no alpha",
    ),
    "an alpha in later pictures": (
        lambda: [encode(level(MASK)), encode(with_alpha(noise(MASK), MASK), RGB_ALPHA)],
        r"00001\.png",
    ),
    "a mask that cannot be seen": (
        lambda: [encode(np.dstack([coloured(MASK, WHITE), level(MASK & False)]), RGB_ALPHA)],
        "transparent throughout, and its colours show an object",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_two_meanings_is_refused_with_what_was_seen(tmp_path: Path, what: str) -> None:
    files, message = REFUSED[what]
    folder = write_folder(tmp_path / "masks", files())
    with pytest.raises(InputError, match=message) as error:
        list(read_masks(folder))
    assert error.value.exit_code == 2
    assert str(error.value).count(str(tmp_path)) == 1 and "\n" not in str(error.value)


def test_a_cut_out_without_an_object_is_empty_wherever_it_stands(tmp_path: Path) -> None:
    """Its alpha does not vary, that of the others does."""
    nobody = encode(np.dstack([noise(MASK), level(MASK & False)]), RGB_ALPHA)
    cut_out = encode(with_alpha(noise(MASK), MASK), RGB_ALPHA)
    for index, files in enumerate(([nobody, cut_out], [cut_out, nobody])):
        found = list(read_masks(write_folder(tmp_path / str(index), files)))
        assert sorted(int(mask.sum()) for mask in found) == [0, int(MASK.sum())]
        assert np.array_equal(found[1 - index], MASK)


def test_a_cut_out_that_fills_the_picture_is_the_object_throughout(tmp_path: Path) -> None:
    whole = encode(with_alpha(noise(MASK), MASK | True), RGB_ALPHA)
    cut_out = encode(with_alpha(noise(MASK), MASK), RGB_ALPHA)
    first, second = read_masks(write_folder(tmp_path / "masks", [whole, cut_out]))
    assert first.all() and np.array_equal(second, MASK)


@pytest.mark.parametrize(
    "data",
    [
        encode(level(MASK & False)),
        encode(level(MASK & False, 1), PALETTE, 1, PLTE=bytes(DAVIS[:6])),
        encode(np.dstack([coloured(MASK & False, WHITE), level(MASK & False)]), RGB_ALPHA),
        encode(np.dstack([level(MASK & False), level(MASK | True)]), GRAY_ALPHA),
        encode(coloured(MASK & False, WHITE), RGB),
    ],
)
def test_black_is_no_object_in_every_encoding(tmp_path: Path, data: bytes) -> None:
    (found,) = read_masks(write_folder(tmp_path / "masks", [data]))
    assert found.shape == MASK.shape and not found.any()


def test_white_is_the_object_also_where_most_is_white(tmp_path: Path) -> None:
    """A black object on white cannot be told from a white one with a hole: white is the object."""
    (found,) = read_masks(write_folder(tmp_path / "masks", [encode(coloured(MASK, (0, 0, 0), WHITE), RGB)]))
    assert np.array_equal(found, ~MASK)
