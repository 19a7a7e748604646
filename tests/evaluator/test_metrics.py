"""The figures of a frame: each as its definition has it, and the boundary measure as DAVIS's own code gives it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from evaluator.figures import Shape, boundary, boundary_f, shape, tolerance_px
from handoff.errors import InputError
from handoff.masks import overlap, read_masks
from tests.evaluator import naive

Mask = NDArray[np.bool_]

sizes = st.tuples(st.integers(1, 24), st.integers(1, 24))


def masks(size: tuple[int, int]) -> st.SearchStrategy[Mask]:
    """Noise, and filled rectangles anywhere: with, without and at the frame's edges."""
    height, width = size
    spans = [st.tuples(st.integers(0, side), st.integers(0, side)).map(sorted) for side in (height, width)]

    def rectangle(rows: list[int], columns: list[int]) -> Mask:
        mask = np.zeros(size, bool)
        mask[rows[0] : rows[1], columns[0] : columns[1]] = True
        return mask

    return arrays(np.bool_, size) | st.builds(rectangle, *spans)


pairs = sizes.flatmap(lambda size: st.tuples(masks(size), masks(size)))
triples = sizes.flatmap(lambda size: st.tuples(masks(size), masks(size), masks(size)))


@given(pairs)
def test_areas_and_shares_are_those_of_the_pixel_sets(pair: tuple[Mask, Mask]) -> None:
    original, generated = map(naive.pixels, pair)
    found = overlap(*pair)
    assert (found.original_px, found.generated_px) == (len(original), len(generated))
    assert (found.union_px, found.common_px) == (len(original | generated), len(original & generated))
    assert found.iou == (len(original & generated) / len(original | generated) if original | generated else 1.0)
    assert found.leak == (len(generated - original) / len(generated) if generated else 0.0)
    assert found.gap == (len(original - generated) / len(original) if original else 0.0)
    assert found.area_ratio == (len(generated) / len(original) if original else None)


@given(pairs)
def test_iou_and_boundary_f_do_not_mind_which_mask_comes_first_and_leak_and_gap_change_places(
    pair: tuple[Mask, Mask],
) -> None:
    here, there = overlap(*pair), overlap(*pair[::-1])
    assert here.iou == there.iou and (here.leak, here.gap) == (there.gap, there.leak)
    assert shape(*pair, None).boundary_f == pytest.approx(shape(*pair[::-1], None).boundary_f, abs=1e-12)


@given(pairs)
def test_boundary_f_is_the_definitions_although_only_the_masks_surroundings_are_looked_at(
    pair: tuple[Mask, Mask],
) -> None:
    assert naive.pixels(boundary(pair[0])) == naive.boundary(pair[0])
    assert shape(*pair, None).boundary_f == pytest.approx(naive.boundary_f(*pair), abs=1e-12)


@given(triples)
def test_clip_drift_and_the_cost_of_one_pixel(three: tuple[Mask, Mask, Mask]) -> None:
    original, generated, skater = (naive.pixels(mask) for mask in three)
    found = shape(*three)
    assert found.clip == (len(generated & skater) / len(generated) if generated else 0.0)
    if original:
        assert found.one_px_iou == naive.shifted_iou(three[0])
    if original and generated:
        a, b = (np.mean(list(each), axis=0) for each in (original, generated))
        assert found.drift_px == pytest.approx(math.dist(a, b), abs=1e-9)
    else:
        assert found.drift_px is None


def test_larger_outlines_too_are_matched_within_a_disk_of_the_tolerance() -> None:
    """400x300 px: a disk of 4 px. The naive definition takes a second, so there is one pair of it."""
    first, second = np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8)
    cv2.ellipse(first, (200, 150), (50, 18), 15, 0, 360, 1, -1)
    cv2.ellipse(second, (204, 153), (47, 22), 25, 0, 360, 1, -1)
    assert tolerance_px(300, 400) == 4
    pair = first.astype(bool), second.astype(bool)
    assert 0.3 < naive.boundary_f(*pair) < 0.95
    assert shape(*pair, None).boundary_f == pytest.approx(naive.boundary_f(*pair), abs=1e-12)


@pytest.mark.parametrize("thickness", [3, 10, 19, 40])
def test_one_pixel_costs_a_strip_what_the_formula_says(thickness: int) -> None:
    mask = np.zeros((60, 2000), bool)
    mask[:thickness] = True
    assert shape(mask, mask, None).one_px_iou == (thickness - 1) / (thickness + 1)


def test_two_empty_masks_agree_and_nothing_else_is_defined_there() -> None:
    empty = np.zeros((20, 30), bool)
    assert shape(empty, empty, None) == Shape(boundary_f=1.0, drift_px=None, one_px_iou=None, clip=None)
    assert shape(empty, ~empty, None).boundary_f == 1.0, "a whole frame has no boundary either: the IoU is 0 there"


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(3, 100\) and \(3, 50\)"):
        overlap(np.zeros((3, 100), bool), np.zeros((3, 50), bool))


def test_two_squares_score_what_a_pencil_gives() -> None:
    """Ours to keep, so that DAVIS's definition holds without the shared masks.

    100x100 px: the tolerance is 2 px. A square of 10x10 px has 40 boundary pixels: 11 in the column left of it, 10 in
    the row above, 10 in its last column, 9 more in its last row. 5 px apart, 20 of the 40 are matched either way.
    """
    original, generated = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    original[20:30, 20:30] = generated[20:30, 25:35] = True
    assert np.count_nonzero(boundary(original)) == 40
    assert overlap(original, generated).iou == 50 / 150
    assert boundary_f(original, generated, tolerance_px(100, 100)) == 0.5


def test_real_masks_score_what_davis_own_code_gives(shared: Path) -> None:
    folder = shared / "davis"
    if not folder.is_dir():
        pytest.skip("there are no DAVIS masks in the shared folder")
    for name, expected in json.loads((folder / "expected.json").read_text())["sequences"].items():
        frames = zip(read_masks(folder / name / "a"), read_masks(folder / name / "b"), expected, strict=True)
        for original, generated, official in frames:
            assert abs(overlap(original, generated).iou - official["iou"]) < 1e-9
            assert abs(shape(original, generated, None).boundary_f - official["f"]) < 1e-9


@pytest.mark.parametrize("piece_bytes", [1, 40, 64, 200])
def test_masks_that_are_counted_in_pieces_are_counted_whole(piece_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 px wide, so from one row a piece to six, the last piece a smaller one."""
    monkeypatch.setattr("handoff.masks._CACHED_BYTES", piece_bytes)
    generator = np.random.default_rng(7)
    for first_row in (0, 1, 5, 18):
        original, generated = generator.random((2, 19, 32)) > 0.6
        original[:first_row] = generated[:first_row] = False
        generated[9:12] = original[9:12]  # pieces in which nothing differs
        a, b = naive.pixels(original), naive.pixels(generated)
        found = overlap(original, generated)
        assert (found.original_px, found.generated_px) == (len(a), len(b))
        assert (found.union_px, found.common_px) == (len(a | b), len(a & b))
