"""The background kept: PSNR and SSIM by their definitions, and only of the background."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluator.picture import psnr_db, ssim, ssim_map
from tests.clips import textured

Picture = NDArray[np.uint8]
EVERYWHERE = np.ones((40, 52), bool)


@pytest.fixture
def pair() -> tuple[Picture, Picture]:
    first = textured(40, 52, 1)
    noise = np.random.default_rng(0).integers(-12, 13, first.shape)
    return first, np.clip(first.astype(int) * 0.9 + 8 + noise, 0, 255).astype(np.uint8)


def naive_ssim(x: NDArray[np.float64], y: NDArray[np.float64], row: int, column: int) -> float:
    """The paper's formula at one pixel, its window written out."""
    distance = np.arange(-5, 6)
    weight = np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * 1.5**2))
    weight /= weight.sum()
    a, b = (each[row - 5 : row + 6, column - 5 : column + 6] for each in (x, y))
    mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
    var_a, var_b = (weight * (a - mean_a) ** 2).sum(), (weight * (b - mean_b) ** 2).sum()
    cov = (weight * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return (2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def test_ssim_is_the_papers_at_every_pixel_and_in_the_mean(pair: tuple[Picture, Picture]) -> None:
    # luma as OpenCV rounds it: 0.299 R + 0.587 G + 0.114 B
    x, y = (np.floor(each.astype(float) @ [0.299, 0.587, 0.114] + 0.5) for each in pair)
    inner = [(row, column) for row in range(5, 35) for column in range(5, 47)]
    expected = np.array([naive_ssim(x, y, *each) for each in inner])
    found = np.array([ssim_map(*pair)[each] for each in inner])
    assert np.abs(found - expected).max() < 0.01 and 0.3 < expected.mean() < 0.95
    assert ssim(*pair, EVERYWHERE) == pytest.approx(expected.mean(), abs=1e-3)


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
