"""The figures of a frame, each as its definition has it.

Outlines, the boundary measure as DAVIS's own code gives it; PSNR and SSIM, and only of the background; the skater's OKS
and PCK as COCO and its papers define them, and his body where there is no mask of him.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evaluator.figures import (
    SIGMAS,
    Shape,
    boundary,
    boundary_f,
    compare_skeletons,
    oks,
    pck,
    psnr_db,
    shape,
    ssim,
    ssim_map,
    tolerance_px,
)
from handoff.errors import InputError
from handoff.masks import Mask, overlap, read_masks
from tests.evaluator import helpers as naive
from tests.evaluator.helpers import stick_figure
from tests.helpers import textured

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


Picture = NDArray[np.uint8]
Gray = NDArray[np.uint8]
EVERYWHERE = np.ones((40, 52), bool)


@pytest.fixture
def pair() -> tuple[Picture, Picture]:
    first = textured(40, 52, 1)
    noise = np.random.default_rng(0).integers(-12, 13, first.shape)
    return first, np.clip(first.astype(int) * 0.9 + 8 + noise, 0, 255).astype(np.uint8)


def papers_ssim(x: Gray, y: Gray) -> NDArray[np.float64]:
    """The paper's formula in double precision, its window written out, at every pixel whose window is in the frame."""
    distance = np.arange(-5, 6)
    weight = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    weight /= weight.sum()
    a, b = (sliding_window_view(each.astype(np.float64), (11, 11)) for each in (x, y))
    mean_a, mean_b = ((weight * each).sum((2, 3)) for each in (a, b))
    off_a, off_b = a - mean_a[..., None, None], b - mean_b[..., None, None]
    var_a, var_b, cov = ((weight * each).sum((2, 3)) for each in (off_a**2, off_b**2, off_a * off_b))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return np.asarray(luminance * (2 * cov + c2) / (var_a + var_b + c2))


def luma(picture: Picture) -> Gray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)


def test_ssim_is_the_papers_at_every_pixel_and_in_the_mean(pair: tuple[Picture, Picture]) -> None:
    expected = papers_ssim(luma(pair[0]), luma(pair[1]))
    found = ssim_map(luma(pair[0]), luma(pair[1]))[5:-5, 5:-5]
    assert np.abs(found - expected).max() < 1e-5 and 0.3 < expected.mean() < 0.95
    assert ssim(*pair, EVERYWHERE) == pytest.approx(expected.mean(), abs=1e-6)


def test_luma_is_the_standards() -> None:
    picture = textured(40, 52, 3)
    assert np.abs(luma(picture) - picture.astype(float) @ [0.299, 0.587, 0.114]).max() < 0.51


@pytest.mark.parametrize("change", ["none", "brighter", "noisy"])
def test_ssim_is_the_papers_in_pictures_of_many_strips_bright_dark_and_flat(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than are taken at once, and very bright against very dark, which single precision likes least."""
    monkeypatch.setattr("evaluator.figures._CACHED_PX", 2000)
    height, width = 110, 90
    first = np.asarray(np.clip(textured(height, width, 2) * 0.2 + 200, 0, 255), np.uint8)
    first[:40] = 250
    noise = np.random.default_rng(1).integers(-3, 4, first.shape)
    added = {"none": 0, "brighter": 5, "noisy": noise}[change]
    second = np.clip(first.astype(int) + added, 0, 255).astype(np.uint8)
    second[40:] = 255 - second[40:]
    x, y = luma(first), luma(second)
    assert ssim(first, second, np.ones((height, width), bool)) == pytest.approx(papers_ssim(x, y).mean(), abs=1e-5)
    second = np.clip(first.astype(int) + added, 0, 255).astype(np.uint8)
    x, y = luma(first), luma(second)
    assert ssim(first, second, np.ones((height, width), bool)) == pytest.approx(papers_ssim(x, y).mean(), abs=1e-6)


def test_ssim_outside_the_masks_is_the_papers_where_no_window_reaches_into_them(pair: tuple[Picture, Picture]) -> None:
    where = EVERYWHERE.copy()
    where[18:22, 20:29] = False
    untouched = [(r, c) for r in range(5, 35) for c in range(5, 47) if where[r - 5 : r + 6, c - 5 : c + 6].all()]
    assert 0 < len(untouched) < 30 * 42 - 36
    values = papers_ssim(luma(pair[0]), luma(pair[1]))
    expected = np.mean([values[r - 5, c - 5] for r, c in untouched])
    assert ssim(*pair, where) == pytest.approx(expected, abs=1e-6)


def test_psnr_is_that_of_the_mean_squared_error(pair: tuple[Picture, Picture]) -> None:
    error = ((pair[0].astype(float) - pair[1]) ** 2).mean()
    assert psnr_db(*pair, EVERYWHERE) == pytest.approx(10 * math.log10(255**2 / error), abs=1e-9)


def test_equal_pictures_have_the_highest_value_and_no_background_has_none(pair: tuple[Picture, Picture]) -> None:
    first, second = pair
    assert psnr_db(first, first, EVERYWHERE) == 100.0 and ssim(first, first, EVERYWHERE) == pytest.approx(1.0)
    assert psnr_db(first, second, ~EVERYWHERE) is None and ssim(first, second, ~EVERYWHERE) is None


def test_what_is_painted_inside_object_and_skater_does_not_count(pair: tuple[Picture, Picture]) -> None:
    first, _ = pair
    painted, where = first.copy(), EVERYWHERE.copy()
    where[10:25, 15:30] = False
    painted[~where] = (255, 0, 255)
    assert psnr_db(first, painted, where) == 100.0
    assert ssim(first, painted, where) == pytest.approx(1.0)
    painted[35, 45] = (255, 0, 255)
    assert (psnr_db(first, painted, where) or 100.0) < 50.0


def test_the_same_skeleton_is_wholly_alike() -> None:
    assert compare_skeletons([stick_figure()], [stick_figure()]) == (1.0, 1.0)


def test_oks_is_cocos_formula_over_the_body() -> None:
    source, generated = stick_figure(), stick_figure(6.0)
    area = 40 * 102
    by_hand = [math.exp(-(6.0**2) / (2 * area * (2 * sigma) ** 2)) for sigma in SIGMAS]
    assert oks(source, generated) == pytest.approx(sum(by_hand) / 17, abs=1e-6)
    assert SIGMAS[0] == 0.026 and SIGMAS[11] == 0.107 and len(SIGMAS) == 17


def test_a_keypoint_is_correct_within_a_fifth_of_the_boxs_longer_side() -> None:
    """102 px, so 20.4 px."""
    assert pck(stick_figure(), stick_figure(20.0)) == 1.0
    assert pck(stick_figure(), stick_figure(21.0)) == 0.0


def test_only_keypoints_of_the_source_count_and_one_that_is_gone_is_wrong() -> None:
    source, generated = stick_figure(), stick_figure()
    scores = source.scores.copy()
    scores[5:17] = 0.0
    assert compare_skeletons([replace(source, scores=scores)], [generated]) == (1.0, 1.0)
    found = compare_skeletons([source], [replace(generated, scores=scores)])
    assert found == (pytest.approx(5 / 17), pytest.approx(5 / 17))


def test_where_the_source_shows_nobody_nothing_is_said_and_where_the_new_clip_does_it_is_zero() -> None:
    assert compare_skeletons([], [stick_figure()]) == (None, None)
    assert compare_skeletons([stick_figure()], []) == (0.0, 0.0)


def test_a_passer_by_in_the_new_clip_is_not_taken_for_the_skater() -> None:
    assert compare_skeletons([stick_figure()], [stick_figure(80.0), stick_figure(1.0)])[1] == 1.0
