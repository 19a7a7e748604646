"""How much of the object is new: what encoding does is not, in whatever quality; another colour or texture is."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from evaluator import MIN_REPLACED
from evaluator.replaced import Replaced, measure_replaced
from handoff.video import Frame, VideoWriter, read_frames
from tests.helpers import textured

Mask = NDArray[np.bool_]
COUNT, HEIGHT, WIDTH = 8, 144, 256


def boards(width: int = 80, height: int = 24) -> list[Mask]:
    """A board that moves by 3 px a frame."""
    masks = []
    for index in range(COUNT):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[70 : 70 + height, 30 + 3 * index : 30 + 3 * index + width] = True
        masks.append(mask)
    return masks


def pattern(seed: int, deviation: float, mean: float) -> NDArray[np.float32]:
    """(HEIGHT, WIDTH, 3) of blotches."""
    noise = np.random.default_rng(seed).standard_normal((HEIGHT // 3, WIDTH // 3)).astype(np.float32)
    smooth = np.asarray(cv2.resize(noise, (WIDTH, HEIGHT)), np.float32)
    return np.repeat((smooth / smooth.std() * deviation + mean)[..., None], 3, axis=2)


def filled(frames: list[Frame], masks: list[Mask], filling: NDArray[np.float32]) -> list[Frame]:
    """Paint a filling into the masks; it moves with them."""
    painted = []
    for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
        moved = np.clip(np.roll(filling, 3 * index, axis=1), 0, 255).astype(np.uint8)
        painted.append(np.where(mask[..., None], moved, frame))
    return painted


def scene(masks: list[Mask], board: NDArray[np.float32]) -> list[Frame]:
    """A textured ground, and a board on it."""
    return filled([textured(HEIGHT, WIDTH, 1)] * COUNT, masks, board)


@pytest.fixture
def encoded(tmp_path: Path) -> Callable[[list[Frame], int], list[Frame]]:
    """The frames as they come back from x264."""

    def encode(frames: list[Frame], crf: int) -> list[Frame]:
        with VideoWriter(tmp_path / "clip.mp4", Fraction(25), WIDTH, HEIGHT, crf=crf) as writer:
            for frame in frames:
                writer.write(frame)
        return list(read_frames(tmp_path / "clip.mp4"))

    return encode


def measured(source: list[Frame], output: list[Frame], masks: list[Mask], outside: bool = True) -> list[Replaced]:
    free = [~mask if outside else np.zeros_like(mask) for mask in masks]
    return [measure_replaced(*each) for each in zip(source, output, masks, free, strict=True)]


def shares(found: list[Replaced]) -> list[float]:
    return [each.replaced for each in found if each.replaced is not None]


SOURCES: dict[str, Callable[[list[Frame]], list[Frame]]] = {
    "as it is": lambda frames: frames,
    "dark": lambda frames: [frame // 5 for frame in frames],
    "blurred": lambda frames: [np.asarray(cv2.GaussianBlur(frame, (0, 0), 3), np.uint8) for frame in frames],
    "noisy": lambda frames: [
        np.clip(frame + np.random.default_rng(i).normal(0, 8, frame.shape), 0, 255).astype(np.uint8)
        for i, frame in enumerate(frames)
    ],
}
SIZES = {"board": (80, 24), "small": (30, 6)}
Encode = Callable[[list[Frame], int], list[Frame]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("crf", [12, 20, 28, 35])
@pytest.mark.parametrize("quality", SOURCES)
def test_what_encoding_does_is_not_new(encoded: Encode, quality: str, crf: int, size: str) -> None:
    masks = boards(*SIZES[size])
    source = encoded(SOURCES[quality](scene(masks, pattern(2, 25, 110))), 16)
    found = measured(source, encoded(source, crf), masks)
    assert len(shares(found)) == COUNT and max(each.unpainted or 0 for each in found) < 0.25
    if (size, crf) == ("small", 35):  # hardly anything is left of the board in some frames; the clip fails all the same
        assert min(shares(found)) < 0.05
    else:
        assert max(shares(found)) < 0.35


@pytest.mark.parametrize("size", SIZES)
def test_a_source_of_low_quality_that_is_encoded_once_more_is_not_new(encoded: Encode, size: str) -> None:
    masks = boards(*SIZES[size])
    source = encoded(scene(masks, pattern(2, 25, 110)), 35)
    assert max(shares(measured(source, encoded(source, 12), masks))) < 0.1


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "filling",
    [np.full((HEIGHT, WIDTH, 3), (30, 60, 230), np.float32), pattern(5, 12, 60), pattern(6, 25, 110)],
    ids=["another colour, flat", "darker, textured", "the same mean, another texture"],
)
@pytest.mark.parametrize("crf", [12, 20])
def test_another_object_is_new(encoded: Encode, filling: NDArray[np.float32], size: str, crf: int) -> None:
    masks = boards(*SIZES[size])
    source = encoded(scene(masks, pattern(2, 25, 110)), 16)
    found = measured(source, encoded(filled(source, masks, filling), crf), masks)
    assert min(shares(found)) > (0.9 if size == "board" else MIN_REPLACED + 0.04) and found[0].unpainted == 0


def test_black_on_black_is_new_by_its_structure_alone(encoded: Encode) -> None:
    """Both 24 of 255 levels in the mean, with textures of 5: no window's mean differs by what counts as a colour."""
    masks = boards()
    source = encoded(scene(masks, pattern(2, 5, 24)), 12)
    black = encoded(filled(source, masks, pattern(9, 5, 24)), 12)
    assert min(shares(measured(source, black, masks))) > MIN_REPLACED + 0.1
    assert max(shares(measured(source, encoded(source, 12), masks))) < 0.1


def test_black_on_black_that_is_flat_in_both_is_the_same_picture(encoded: Encode) -> None:
    masks = boards()
    source = encoded(scene(masks, np.full((HEIGHT, WIDTH, 3), 20, np.float32)), 12)
    same = encoded(filled(source, masks, np.full((HEIGHT, WIDTH, 3), 20, np.float32)), 12)
    assert max(shares(measured(source, same, masks))) == 0


@pytest.mark.parametrize("crf", [12, 20, 28])
def test_half_an_object_is_half_new(encoded: Encode, crf: int) -> None:
    for size in SIZES.values():
        masks = boards(*size)
        source = encoded(scene(masks, pattern(2, 25, 110)), 16)
        left = [mask & (np.arange(WIDTH) < np.median(np.nonzero(mask)[1])) for mask in masks]
        blue = np.full((HEIGHT, WIDTH, 3), (30, 60, 230), np.float32)
        found = shares(measured(source, encoded(filled(source, left, blue), crf), masks))
        assert min(found) > 0.4 and max(found) < MIN_REPLACED - 0.03


def test_a_shifted_hue_on_the_sources_own_texture_is_not_new_and_on_a_flat_board_is(encoded: Encode) -> None:
    """Of a flat board nobody can say whether it was recoloured or painted flat."""
    masks = boards()
    for deviation, new in ((25, False), (0, True)):
        board = pattern(2, deviation, 110) * np.array([1.5, 0.6, 0.4], np.float32)
        source = encoded(scene(masks, board), 12)
        shifted = []
        for frame, mask in zip(source, masks, strict=True):
            colours = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)
            colours[..., 0] = (colours[..., 0] + 60) % 180
            shifted.append(np.where(mask[..., None], cv2.cvtColor(colours, cv2.COLOR_HSV2RGB), frame))
        found = shares(measured(source, encoded(shifted, 12), masks))
        assert (min(found) > 0.9) if new else (max(found) < 0.2)


@pytest.mark.parametrize("crf", [12, 20, 28])
def test_flat_mid_gray_was_never_painted(encoded: Encode, crf: int) -> None:
    masks = boards()
    source = encoded(scene(masks, pattern(2, 25, 110)), 16)
    gray = np.full((HEIGHT, WIDTH, 3), 127, np.float32)
    found = measured(source, encoded(filled(source, masks, gray), crf), masks)
    assert min(each.unpainted or 0 for each in found) > 0.8 and max(shares(found)) < 0.2


def test_a_gray_thing_with_a_texture_was_painted(encoded: Encode) -> None:
    masks = boards()
    source = encoded(scene(masks, pattern(2, 25, 110)), 16)
    found = measured(source, encoded(filled(source, masks, pattern(8, 14, 127)), 12), masks)
    assert max(each.unpainted or 0 for each in found) < 0.1 and min(shares(found)) > 0.9


def test_what_was_changed_outside_does_not_hide_a_new_object_nor_make_an_old_one_new(encoded: Encode) -> None:
    """A third of the frame, up to the board's edge, is painted by mistake; or the whole frame around it."""
    masks = boards()
    source = encoded(scene(masks, pattern(2, 25, 110)), 16)
    blue = np.full((HEIGHT, WIDTH, 3), (30, 60, 230), np.float32)
    for wrong in (np.arange(WIDTH) < WIDTH // 3, np.ones(WIDTH, bool)):
        for mine, new in ((blue, True), (None, False)):
            output = source if mine is None else filled(source, masks, mine)
            spoilt = [
                np.where((wrong & ~mask)[..., None], frame[::-1], frame)
                for frame, mask in zip(output, masks, strict=True)
            ]
            found = shares(measured(source, encoded(spoilt, 12), masks))
            assert (min(found) > 0.9) if new else (max(found) < 0.1)


@pytest.mark.parametrize("crf", [12, 20, 28])
def test_with_nothing_outside_to_measure_encoding_in_the_usual_is_taken(encoded: Encode, crf: int) -> None:
    masks = boards()
    source = encoded(scene(masks, pattern(2, 25, 110)), 16)
    assert max(shares(measured(source, encoded(source, crf), masks, outside=False))) < 0.1
    painted = encoded(filled(source, masks, pattern(6, 25, 110)), crf)
    assert min(shares(measured(source, painted, masks, outside=False))) > 0.9


def test_an_object_as_large_as_the_frame_one_at_its_edge_and_one_of_a_pixel_are_measured() -> None:
    source, blue = textured(HEIGHT, WIDTH, 1), np.full((HEIGHT, WIDTH, 3), (30, 60, 230), np.uint8)
    for where in (np.s_[:, :], np.s_[-4:, -9:], np.s_[:1, :1], np.s_[50:51, :]):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[where] = True
        assert measure_replaced(source, source, mask, ~mask).replaced == 0.0
        painted = np.where(mask[..., None], blue, source)
        assert measure_replaced(source, painted, mask, ~mask) == Replaced(1.0, 0.0)
    small = np.ones((3, 5), bool)
    assert measure_replaced(source[:3, :5], blue[:3, :5], small, ~small) == Replaced(1.0, 0.0)


def test_without_an_object_nothing_is_said() -> None:
    empty = np.zeros((HEIGHT, WIDTH), bool)
    picture = textured(HEIGHT, WIDTH, 1)
    assert measure_replaced(picture, picture, empty, ~empty) == Replaced(None, None)


@pytest.mark.parametrize("painted", [0.0, 0.5, 1.0])
def test_a_large_object_is_looked_at_smaller_and_says_the_same(painted: float) -> None:
    """Of a board of 1100x500 px; windows reach over the border of what is painted by some pixels."""
    height, width = 720, 1280
    source = cv2.resize(textured(height // 2, width // 2, 1), (width, height))
    noise = np.random.default_rng(1).integers(-3, 4, source.shape)
    mask, new = np.zeros((height, width), bool), np.zeros((height, width), bool)
    mask[100:600, 90:1190] = True
    new[100:600, 90 : 90 + round(1100 * painted)] = True
    other = cv2.resize(textured(height // 2, width // 2, 5), (width, height))
    output = np.clip(np.where(new[..., None], other, source) + noise, 0, 255).astype(np.uint8)
    found = measure_replaced(source, output, mask, ~mask)
    assert found.replaced == pytest.approx(painted, abs=0.03) and (found.unpainted or 0) < 0.03
    assert measure_replaced(source, output, mask, ~mask) == found
    line = np.zeros((height, width), bool)
    line[300:301, 10:1270] = line[:, 640] = True  # thinner than it could be made
    assert measure_replaced(source, output, line, ~line).replaced is not None
