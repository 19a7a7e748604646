"""The two filters of posegen.smooth as pure numpy: Savitzky-Golay as a table of kernels, one-euro as one step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WINDOW = 7
"""Frames that a Savitzky-Golay fit takes in, odd."""

ORDER = 2
"""Degree of the fitted polynomial."""

REACH = WINDOW - 1
"""How many frames before and after a frame can have a part in its value: near the end of a stretch the last WINDOW
frames are fitted, so its first of them reaches that far."""

MIN_CUTOFF_HZ = 1.0
"""One-euro: how low frequencies may be cut at standstill; lower is calmer, and later."""

BETA = 0.05
"""One-euro: how much the cutoff rises with speed, Hz per px/s; higher follows fast movement more closely."""

D_CUTOFF_HZ = 1.0
"""One-euro: the cutoff for the speed itself, the paper's own value."""


def _window(length: int) -> int:
    """Return the window for a stretch of `length` frames: the longest odd one that fits, 1 where none smooths."""
    window = min(WINDOW, length - (length + 1) % 2)
    return window if window > ORDER + 1 else 1  # through ORDER + 1 points the polynomial goes exactly


def _fit(window: int) -> Floats:
    """Return (window, window): row p holds the weights that give a least-squares polynomial's value at point p.

    The middle row is Savitzky and Golay's filter (Analytical Chemistry 36, 1964); the other rows are its edges.
    """
    powers = np.vander(np.arange(window) - window // 2, min(ORDER, window - 1) + 1).astype(np.float64)
    return np.asarray(powers @ np.linalg.pinv(powers), np.float64)


def savgol_kernels() -> Floats:
    """Return (REACH + 1, REACH + 1, 2 * REACH + 1): the weights for a frame with `before`, `after` neighbours.

    kernels[before, after] belongs to a frame that has that many seen frames without a gap on either side (counted up
    to REACH); its entry REACH + d weighs the frame at distance d. Inside a stretch that is the symmetric filter; within
    half a window of its ends the value of the polynomial through the first or last WINDOW frames.
    """
    kernels = np.zeros((REACH + 1, REACH + 1, 2 * REACH + 1))
    for before in range(REACH + 1):
        for after in range(REACH + 1):
            window = _window(before + 1 + after)
            half = window // 2
            place = before if before < half else window - 1 - after if after < half else half
            start = REACH - place
            kernels[before, after, start : start + window] = _fit(window)[place]
    return kernels


@dataclass(frozen=True)
class EuroState:
    """What the one-euro filter knows after a frame: points (N, 2) px filtered, speeds (N, 2) px/s filtered, seen (N,).

    Where `seen` is false, the point is as it came and its speed is 0.
    """

    points: Floats
    speeds: Floats
    seen: NDArray[np.bool_]


def _alpha(cutoff_hz: Floats | float, rate_hz: float) -> Floats:
    """Return the weight of a new value in exponential smoothing with this cutoff at this rate."""
    tau = 1 / (2 * math.pi * np.asarray(cutoff_hz, np.float64))
    return np.asarray(1 / (1 + tau * rate_hz), np.float64)


def one_euro(points: Floats, seen: NDArray[np.bool_], before: EuroState | None, rate_hz: float) -> EuroState:
    """Return the state after points (N, 2) px of which `seen` (N,) are there; before: of the frame before, or None.

    Casiez, Roussel and Vogel, "1 euro filter", CHI 2012, algorithm 1, for each coordinate: the speed is the difference
    to the last filtered value. A point that was not seen in the frame before starts anew.
    """
    if before is None:
        return EuroState(points, np.zeros_like(points), seen)
    going_on = (seen & before.seen)[:, None]
    change = (points - before.points) * rate_hz
    part = _alpha(D_CUTOFF_HZ, rate_hz)
    speeds = np.where(going_on, part * change + (1 - part) * before.speeds, 0.0)
    weight = _alpha(MIN_CUTOFF_HZ + BETA * np.abs(speeds), rate_hz)
    filtered = np.where(going_on, weight * points + (1 - weight) * before.points, points)
    return EuroState(filtered, speeds, seen)
