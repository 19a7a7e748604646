"""The draft's colours and texture: the same nouns, seed and clip give the same look, in every window."""

from __future__ import annotations

import colorsys
import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reskin.prompt import Prompt

Gray = NDArray[np.uint8]

TILE_PX = 128
"""Side of the texture's period, in px; the texture repeats seamlessly."""

CANDIDATES = 6
"""Hues a noun may choose from, evenly spread from the noun's own."""

_CELLS = 16
_LEVELS = 4
_SEAM = 40
_DARKEST, _BRIGHTEST = 70, 225


@dataclass(frozen=True)
class Palette:
    """The two colours, 0xRRGGBB."""

    object: int
    skater: int

    def as_dict(self) -> dict[str, str]:
        """Return the colours as web colours, for output.json."""
        return {"object": f"#{self.object:06x}", "skater": f"#{self.skater:06x}"}


def choose_palette(prompt: Prompt, seed: int, surroundings: NDArray[np.float64]) -> Palette:
    """Choose vivid colours by the nouns' hashes.

    surroundings: (n,) weights of the hues around the object, hue 0..1 from first to last. The object takes that
    one of its noun's CANDIDATES hues which its surroundings have least of; the skater's hue lies in the third of the
    circle that is opposite to the object's.
    """
    own = _unit(prompt.object, seed, "hue")
    hues = [(own + step / CANDIDATES) % 1.0 for step in range(CANDIDATES)]
    hue = min(hues, key=lambda each: surroundings[int(each * len(surroundings))])
    opposite = (hue + 0.33 + 0.34 * _unit(prompt.skater or "", seed, "hue")) % 1.0
    return Palette(_colour(hue, 0.95, 0.95), _colour(opposite, 0.75, 0.85))


def make_tile(noun: str, seed: int) -> Gray:
    """Return a seamless (TILE_PX, TILE_PX) uint8 gray texture of flat panels with dark seams."""
    rng = np.random.default_rng(int.from_bytes(_digest(noun, seed, "texture")[:8], "big"))
    cells = rng.random((_CELLS, _CELLS)).astype(np.float32)
    # enlarged from a 3x3 repetition and cut from its middle, the interpolation wraps around
    smooth = cv2.resize(np.tile(cells, (3, 3)), (3 * TILE_PX, 3 * TILE_PX), interpolation=cv2.INTER_CUBIC)
    middle = smooth[TILE_PX : 2 * TILE_PX, TILE_PX : 2 * TILE_PX]
    levels = np.clip(np.floor(middle * _LEVELS), 0, _LEVELS - 1)
    seams = (levels != np.roll(levels, 1, axis=0)) | (levels != np.roll(levels, 1, axis=1))
    panels = _DARKEST + levels * (_BRIGHTEST - _DARKEST) / (_LEVELS - 1)
    return np.where(seams, _SEAM, panels).astype(np.uint8)


def _digest(noun: str, seed: int, purpose: str) -> bytes:
    return hashlib.sha256(f"{purpose}\n{noun.casefold()}\n{seed}".encode()).digest()


def _unit(noun: str, seed: int, purpose: str) -> float:
    """Return a number in 0..1, 1 not included, that the noun and the seed alone decide."""
    return int.from_bytes(_digest(noun, seed, purpose)[:4], "big") / 2**32


def _colour(hue: float, saturation: float, value: float) -> int:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red << 16 | green << 8 | blue
