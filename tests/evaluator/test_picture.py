"""The background kept: PSNR and SSIM by their definitions, and only of the background."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from evaluator.figures import psnr_db, ssim, ssim_map
from tests.helpers import textured

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
