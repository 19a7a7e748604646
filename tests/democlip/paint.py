"""What the board is painted with: dark grip tape with a mark above, a bright graphic below.

Both sides are functions of a place on the deck: `along` -1 (nose) .. 1 (tail), `across` -1 .. 1. Colours are RGB
0..255 before light falls on them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

EDGE = np.array([196.0, 150.0, 96.0])  # bare maple
METAL = np.array([150.0, 152.0, 158.0])
WHEEL = np.array([238.0, 226.0, 196.0])
WHEEL_CORE = np.array([214.0, 70.0, 48.0])

_TAPE = np.array([46.0, 46.0, 52.0])
_MARK = np.array([232.0, 220.0, 168.0])
_STRIPE = np.array([200.0, 62.0, 48.0])
_TEAL = np.array([20.0, 176.0, 190.0])
_ORANGE = np.array([250.0, 130.0, 32.0])
_MAGENTA = np.array([222.0, 36.0, 116.0])
_CREAM = np.array([250.0, 238.0, 205.0])

# The deck is 3.2 times as long as wide: circles on it need this.
_ASPECT = 3.2


def grip_colour(
    along: NDArray[np.float64], across: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Grip tape: near black, grainy, a pale ring behind the nose and a red stripe across the tail."""
    colours = np.tile(_TAPE, (len(along), 1)) * rng.uniform(0.85, 1.2, (len(along), 1))
    ring = np.hypot((along + 0.42) * _ASPECT, across)
    colours[(ring > 0.40) & (ring < 0.75)] = _MARK
    colours[(along > 0.46) & (along < 0.55)] = _STRIPE
    return np.asarray(colours, dtype=np.float64)


def underside_colour(along: NDArray[np.float64], across: NDArray[np.float64]) -> NDArray[np.float64]:
    """The graphic: teal with slanting orange and magenta bands and a cream disc in the middle."""
    slant = along * _ASPECT + 0.8 * across
    colours = np.tile(_TEAL, (len(along), 1))
    colours[np.mod(slant, 1.8) < 0.6] = _ORANGE
    colours[np.abs(along) > 0.74] = _MAGENTA
    disc = np.hypot(along * _ASPECT, across)
    colours[disc < 0.78] = _CREAM
    colours[disc < 0.42] = _MAGENTA
    return colours
