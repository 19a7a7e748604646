"""What makes a pixel look like the object: its colour, and its difference from the remembered background.

Both cues speak in log odds (positive = object), so that they can be added.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.masks import Mask

Look = NDArray[np.uint8]  # (H, W, 3), see `shade_and_hue`
Odds = NDArray[np.float32]  # (H, W) log odds of "object"

_L_BINS, _AB_BINS = 32, 64
_COLOUR_LIMIT = 4.0
_OTHERS_WEIGHT = 3.0  # a person is some times larger than the object, so each of his colours has a smaller share
_OLDEST = 60  # frames; agreement beyond this counts no more
_UNSEEN = 2e-5  # share of a histogram below which a colour counts as never seen: its odds tend to 0


_HUE_GAIN = 150.0
_LOG = np.round(_HUE_GAIN * np.log(np.arange(256) + 8.0)).astype(np.int16)  # + 8: below it is the encoder's noise


def shade_and_hue(rgb: NDArray[np.uint8]) -> Look:
    """(H, W, 3) uint8: gray level, and 128 + 150 log(R/G), 128 + 150 log(B/G), of an RGB picture.

    A shadow changes the first channel only; in Lab or YUV it changes all three.
    """
    red, green, blue = (cv2.LUT(rgb[..., k], _LOG) for k in range(3))
    hue = np.stack([red - green, blue - green], -1) + 128
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    return np.concatenate([gray[..., None], np.clip(hue, 0, 255).astype(np.uint8)], -1)


def _smooth(histogram: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur a 3-D histogram by one bin along each axis, so that neighbouring colours vouch for each other."""
    for axis in range(3):
        moved = np.ascontiguousarray(np.moveaxis(histogram, axis, 0))
        flat = cv2.GaussianBlur(moved.reshape(moved.shape[0], -1), (1, 5), 0, sigmaY=1.0)
        histogram = np.moveaxis(np.asarray(flat, np.float32).reshape(moved.shape), 0, axis)
    return np.ascontiguousarray(histogram)


def _histogram(bins: NDArray[np.int32]) -> NDArray[np.float32]:
    size = _L_BINS * _AB_BINS * _AB_BINS
    counts = np.bincount(bins, minlength=size).astype(np.float32)
    share = counts / max(1.0, float(counts.sum()))
    return _smooth(share.reshape(_L_BINS, _AB_BINS, _AB_BINS)).reshape(-1)


def _bins(look: Look) -> NDArray[np.int32]:
    wide = look.astype(np.int32)
    bins: NDArray[np.int32] = ((wide[..., 0] >> 3) * _AB_BINS + (wide[..., 1] >> 2)) * _AB_BINS + (wide[..., 2] >> 2)
    return bins


class ColourModel:
    """Histograms of the object and of what lies around it.

    The object's histogram is the prompt frame's, which is never forgotten, beside a slowly renewed one, which
    learns sides that the prompt did not show. The surroundings' is renewed faster.
    """

    def __init__(self, look: Look, inside: Mask, around: Mask) -> None:
        bins = _bins(look)
        self._anchor = _histogram(bins[inside])
        self._recent = self._anchor.copy()
        self._around_at_first = _histogram(bins[around])
        self._around = self._around_at_first.copy()
        self._others = np.zeros_like(self._around)
        self._refresh()

    def _refresh(self) -> None:
        rest = np.maximum(self._around, 0.5 * self._around_at_first)
        rest = np.maximum(rest, _OTHERS_WEIGHT * self._others) + _UNSEEN
        limit = _COLOUR_LIMIT
        self._sure = np.clip(np.log((self._anchor + _UNSEEN) / rest), -limit, limit).astype(np.float32)
        own = np.maximum(self._anchor, self._recent) + _UNSEEN
        self._odds = np.clip(np.log(own / rest), -limit, limit).astype(np.float32)

    def odds(self, look: Look, *, sure: bool = False) -> Odds:
        """(H, W) log odds in [-4, 4] that each pixel has the object's colour; 0 for colours never seen.

        `sure`: by the prompt frame's colours alone.
        """
        odds: Odds = (self._sure if sure else self._odds)[_bins(look)]
        return odds

    def learn(self, look: Look, inside: Mask, around: Mask, rate: float) -> None:
        """Renew the histograms from a tracked frame; masks without enough pixels teach nothing."""
        bins = _bins(look)
        if np.count_nonzero(inside) >= 30:
            self._recent += rate * (_histogram(bins[inside]) - self._recent)
        if np.count_nonzero(around) >= 30:
            self._around += 0.25 * (_histogram(bins[around]) - self._around)
        self._refresh()

    def learn_others(self, look: Look, moving: Mask) -> None:
        """Remember the colours of whatever else moves in the frame (legs, a ball) before it touches the object."""
        if np.count_nonzero(moving) >= 30:
            self._others += 0.25 * (_histogram(_bins(look)[moving]) - self._others)


class Background:
    """A picture of the scene without the object, in the coordinates of the current frame.

    A pixel's value is believed after it stayed the same for some frames; a different value that stays longer
    replaces it. Where nothing was seen yet `age` is 0 and the cue says nothing.
    """

    def __init__(self, look: Look, covered: Mask) -> None:
        self.picture = look.copy()
        self._candidate = look.copy()
        self.age = np.where(covered, 0, 1).astype(np.uint8)
        self._candidate_age = self.age.copy()

    def move(self, to_previous: NDArray[np.float64]) -> None:
        """Follow the camera; `to_previous` is the homography from this frame's pixels to the last frame's."""
        size = (self.age.shape[1], self.age.shape[0])
        smooth, nearest = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        ages = cv2.warpPerspective(cv2.merge([self.age, self._candidate_age]), to_previous, size, flags=nearest)
        self.age, self._candidate_age = (np.ascontiguousarray(ages[..., k], np.uint8) for k in range(2))
        self.picture = np.asarray(cv2.warpPerspective(self.picture, to_previous, size, flags=smooth), np.uint8)
        moved = cv2.warpPerspective(self._candidate, to_previous, size, flags=smooth)
        self._candidate = np.asarray(moved, np.uint8)

    def odds(self, look: Look, window: tuple[slice, slice]) -> Odds:
        """Log odds in [-5, 2] from the difference to the picture, inside `window`; 0 where nothing is known.

        A pixel that is darker but of the same hue may be a shadow, which is no evidence for the object.
        """
        now, was = look[window].astype(np.int16), self.picture[window].astype(np.int16)
        step = np.abs(now - was)
        light = np.minimum(now[..., 0], was[..., 0])
        chroma = np.maximum(step[..., 1], step[..., 2]) * np.minimum(1.0, (light + 16) / 80.0)  # dark hues are noise
        difference = np.maximum(step[..., 0], chroma).astype(np.float32)
        odds = np.clip((difference - 16.0) / 6.0, -2.5, 2.0)
        shadow = (now[..., 0] < was[..., 0]) & (now[..., 0] * 5 > was[..., 0]) & (chroma < 16)
        odds[shadow] = np.minimum(odds[shadow], -0.3)
        age = self.age[window].astype(np.float32)
        trust = np.where(age > 0, 0.5 + np.minimum(age, 4) / 8, 0)
        trust = np.where(odds < 0, trust + np.clip(age - 4, 0, 8) / 8, trust)
        return np.asarray(odds * trust, np.float32)

    def learn(self, look: Look, free: Mask) -> Mask:
        """Take in the pixels of `free` (those surely not the object); gives back those of them that moved."""
        open_ = free.astype(np.uint8) * np.uint8(255)
        agrees = cv2.bitwise_and(_close(look, self.picture), open_)
        differs = cv2.subtract(open_, agrees)
        stays = cv2.bitwise_and(_close(look, self._candidate), open_)
        cv2.copyTo(cv2.addWeighted(self.picture, 0.9, look, 0.1, 0.5), agrees, self.picture)
        cv2.copyTo(look, open_, self._candidate)
        self._candidate_age = _older(self._candidate_age, stays)
        self._candidate_age[free & (stays == 0)] = 1
        moved = (differs > 0) & (self.age > 0)
        self.age = _older(self.age, agrees)
        self.age -= (differs > 0) & (self.age > 1)
        longer = self._candidate_age > np.minimum(self.age, 12)
        replace = (differs > 0) & ((self.age == 0) | longer)
        self.picture[replace] = look[replace]
        self.age[replace] = self._candidate_age[replace]
        return moved


def _older(age: NDArray[np.uint8], where: NDArray[Any]) -> NDArray[np.uint8]:
    """`age` one frame older where `where` is not 0, up to _OLDEST."""
    return np.minimum(age + (where > 0).astype(np.uint8), np.uint8(_OLDEST))


def _close(a: Look, b: Look) -> NDArray[np.uint8]:
    """255 where two pixels differ by no more than noise does: 10 in gray level, 14 in hue; else 0."""
    within = cv2.inRange(cv2.absdiff(a, b), (0, 0, 0), (10, 14, 14))  # type: ignore[call-overload]
    return np.asarray(within, np.uint8)
