"""Is the object new? The share of its outline in which the generated clip is no longer the source.

The same object, encoded once more, fills its old outline perfectly. So each pixel of G is looked at in a small window
of its own, and it is new where source and output differ there by more than encoding alone does in this frame:

    in colour       the window's mean differs, in luma or chroma
    in structure    the window's texture differs: a black drone on a black board

What encoding does is measured in the same frame around the object, where nothing was painted. A pixel that is flat
mid-gray is not new: that is what a model leaves unpainted. docs/how-it-works/gate.md has what this cannot see.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask, as_bytes
from handoff.video import Frame

_Floats = NDArray[np.float32]

WINDOW = 7
"""px: large enough for a mean that noise hardly moves, small enough for a board 6 px thick."""
_AROUND = 32  # px at least around G, and half of its longer side, in which encoding is measured
_MOST_PX = (
    60_000  # of G with what is around it; a larger piece is looked at smaller, so that time does not grow with it
)
_BLEED = 4  # px that the painted object's colours reach beyond its outline: chroma is stored at half size
_BLOCKS = 12  # windows at least for a measurement; else the whole frame is looked at, then _USUAL taken
_QUANTILE = 90.0  # of those windows: most of them, but not what one changed corner says


@dataclass(frozen=True)
class Encoding:
    """What encoding alone does to a window: to the mean of a channel, and to the deviation of its luma, levels."""

    mean: float
    deviation: float


_USUAL = Encoding(2.0, 4.0)
"""Where nothing around the object was left as it was: about what x264 does at CRF 24."""
_COLOUR, _STRUCTURE = (2.6, 3.0, 12.0), (2.0, 2.5, 14.0)
"""How many times what encoding does counts as new; and levels that are needed, and that always are enough."""
_EDGE = 0.25  # of the source's own deviation in a window: an edge that encoding blurs moves the mean by so much
_LOST = 1.5  # times as much: encoding takes texture away, but seldom makes some
_UNLIKE = 0.5  # of the variance that two textures without anything in common have in their difference
_SAME = 0.9
"""How alike, 0 to 1, the textures may be where colours differ; above it is the source itself, only recoloured."""
_GRAY = np.array([127, 128, 128], np.float32)  # VACE's fill, in luma, red and blue difference
_GRAY_LEVELS, _GRAY_DEVIATION = 6.0, 3.0  # what a codec makes of it
_MIDDLE = np.float32(128)  # taken off before squaring, so that single precision is enough


class Replaced(NamedTuple):
    """How much of the object in a frame is new, and how much was never painted: shares of G, 0..1.

    Both None where nothing can be said: G is empty, or the pictures are not known.
    """

    replaced: float | None = None
    unpainted: float | None = None


class _Texture(NamedTuple):
    """Variances in each of n windows: of the source, of the output, and of their difference."""

    before: _Floats
    after: _Floats
    between: _Floats


class _Windows(NamedTuple):
    """What n windows say.

    means: (n, 3), of the output less the source, in luma, red and blue difference. output: (n, 3), its own. luma and
    value (the largest of R, G, B, which another hue leaves as it is): their textures.
    """

    means: _Floats
    output: _Floats
    luma: _Texture
    value: _Texture


def measure_replaced(source: Frame, output: Frame, original: Mask, outside: Mask) -> Replaced:
    """Measure one frame.

    source, output: (H, W, 3) uint8 RGB. original: G, (H, W) bool. outside: (H, W) bool, where nothing was to be
    painted.
    """
    x, y, width, height = cv2.boundingRect(as_bytes(original))
    if not width:
        return Replaced()
    margin = max(_AROUND, max(width, height) // 2)
    near = slice(max(0, y - margin), y + height + margin), slice(max(0, x - margin), x + width + margin)
    box = slice(y, y + height), slice(x, x + width)
    step = math.ceil(math.sqrt(width * height / _MOST_PX))
    inside = _shrunk(source[box], output[box], original[box], step)
    if not inside[2].any():  # too thin for that
        step, inside = 1, (source[box], output[box], original[box])
    encoding = None
    for where in (near, np.s_[:, :]):
        encoding = encoding or _encoding(*_shrunk(source[where], output[where], outside[where], step))
    found = _inside(*inside)
    encoding = encoding or _USUAL
    gray = _is_gray(found, encoding)
    new = _is_new(found, encoding) & ~gray
    return Replaced(float(new.mean()), float(gray.mean()))


def _shrunk(source: Frame, output: Frame, mask: Mask, step: int) -> tuple[Frame, Frame, Mask]:
    """Return pictures and a mask at 1/step of their size; what is only in part in the mask is left out."""
    if step == 1:
        return source, output, mask
    size = max(1, mask.shape[1] // step), max(1, mask.shape[0] // step)
    whole = np.ascontiguousarray(mask).view(np.uint8) * np.uint8(255)
    smaller = [
        np.asarray(cv2.resize(np.ascontiguousarray(each), size, None, 0, 0, cv2.INTER_AREA), np.uint8)
        for each in (source, output, whole)
    ]
    return smaller[0], smaller[1], smaller[2] == 255


def _limit(measured: float, rule: tuple[float, float, float]) -> float:
    times, least, enough = rule
    return min(max(times * measured, least), enough)


def _is_new(windows: _Windows, encoding: Encoding) -> Mask:
    """Say of each window whether it is new, in colour or in structure."""
    before, after, between = windows.luma
    colour = _limit(encoding.mean, _COLOUR) + _EDGE * np.sqrt(before)
    structure = _limit(encoding.deviation, _STRUCTURE) ** 2
    together = (before + after - between) / 2  # the covariance
    own = after - together**2 / np.maximum(before, 1)  # what of it the source's texture does not explain
    other = ((own > structure) | (between > _LOST**2 * structure)) & (between > _UNLIKE * (before + after))
    new = np.asarray(other | (_largest(windows.means) > colour))
    if _is_recoloured(windows, new, structure):
        new[:] = False
    return new


def _is_recoloured(windows: _Windows, new: Mask, structure: float) -> bool:
    """Say whether what looks new has the source's own texture, at its own contrast, in other colours."""
    if not new.any() or windows.luma.before[new].mean() <= structure:
        return False
    for texture in (windows.luma, windows.value):
        before, after, between = (float(each[new].sum()) for each in texture)
        if between < (1 - _SAME) * (before + after):
            return True
    return False


def _largest(values: _Floats) -> _Floats:
    """Return the largest magnitude of each row (n, 3): (n,). A reduction over so short an axis is slow."""
    first, second, third = np.abs(values).T
    return np.asarray(np.maximum(np.maximum(first, second), third))


def _is_gray(windows: _Windows, encoding: Encoding) -> Mask:
    levels = _GRAY_LEVELS + min(encoding.mean, _GRAY_LEVELS)
    deviation = min(max(encoding.deviation, _GRAY_DEVIATION), 2 * _GRAY_DEVIATION)
    near = _largest(windows.output - _GRAY) <= levels
    return np.asarray(near & (windows.luma.after <= deviation**2))


def _luma_and_colour(picture: Frame) -> list[NDArray[np.uint8]]:
    """Return luma, red and blue difference of a picture (h, w, 3), each (h, w) uint8."""
    return [np.asarray(each, np.uint8) for each in cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))]


def _planes(source: Frame, output: Frame) -> list[_Floats]:
    """Return the planes whose means over a window are all that is needed, 14 of (h, w) float32.

    Luma, red and blue difference and value of the source, less mid-gray; output less source in the same; the products
    of luma, and those of value: with itself, of the difference with itself, of both.
    """
    first, less = [], []
    pictures = [np.ascontiguousarray(each) for each in (source, output)]
    before, after = map(_luma_and_colour, pictures)
    values = (functools.reduce(cv2.max, cv2.split(each)) for each in pictures)
    for old, new in zip((*before, next(values)), (*after, next(values)), strict=True):
        first.append(np.subtract(old, _MIDDLE, dtype=np.float32))
        less.append(np.subtract(new, old, dtype=np.float32))
    products = [each for i in (0, 3) for each in (first[i] * first[i], less[i] * less[i], first[i] * less[i])]
    return [*first, *less, *products]


def _statistics(means: _Floats) -> _Windows:
    """Return what the means of `_planes` over n windows, (n, 14), say."""
    source, less = means[:, :4], means[:, 4:8]
    textures = []
    for i, at in ((0, 8), (3, 11)):
        before = means[:, at] - source[:, i] ** 2
        between = means[:, at + 1] - less[:, i] ** 2
        together = means[:, at + 2] - source[:, i] * less[:, i]
        textures.append(_Texture(*(np.maximum(each, 0) for each in (before, before + between + 2 * together, between))))
    return _Windows(less[:, :3], source[:, :3] + less[:, :3] + _MIDDLE, *textures)


def _inside(source: Frame, output: Frame, mask: Mask) -> _Windows:
    """Look at the window around each pixel of a mask (h, w), of which only what lies in the mask counts."""
    weight = mask.astype(np.float32)
    planes = cv2.merge([weight, *(plane * weight for plane in _planes(source, output))])
    sums = cv2.boxFilter(planes, -1, (WINDOW, WINDOW), normalize=False, borderType=cv2.BORDER_CONSTANT)[mask]
    return _statistics(np.asarray(sums[:, 1:] / sums[:, :1], np.float32))


def _encoding(source: Frame, output: Frame, outside: Mask) -> Encoding | None:
    """Measure what encoding did in windows side by side that lie outside; None where there are too few.

    Of a large picture only some rows of windows are looked at, evenly apart.
    """
    height, width = (size // WINDOW for size in outside.shape)
    if height * width < _BLOCKS:
        return None
    painted = np.ascontiguousarray(~outside).view(np.uint8)
    free = np.asarray(255 * (1 - cv2.dilate(painted, np.ones((2 * _BLEED + 1, 2 * _BLEED + 1), np.uint8))))
    apart = math.ceil(outside.size / _MOST_PX)
    before, after, free = (
        each[: height * WINDOW, : width * WINDOW].reshape(height, WINDOW, width * WINDOW, -1)[::apart]
        for each in (source, output, free)
    )
    size = width, len(before)
    whole = cv2.resize(free.reshape(-1, width * WINDOW), size, None, 0, 0, cv2.INTER_AREA) == 255
    if np.count_nonzero(whole) < _BLOCKS:
        return None
    old, new = (_luma_and_colour(each.reshape(-1, width * WINDOW, 3)) for each in (before, after))
    less = [np.subtract(*pair, dtype=np.float32) for pair in zip(new, old, strict=True)]
    means = [cv2.resize(each, size, None, 0, 0, cv2.INTER_AREA)[whole] for each in (*less, less[0] * less[0])]
    mean = np.percentile(np.abs(means[:3]).max(axis=0), _QUANTILE)
    between = np.percentile(np.maximum(means[3] - means[0] ** 2, 0), _QUANTILE)
    return Encoding(float(mean), float(np.sqrt(between)))
