"""The choreography: where the board is at any moment, as smooth curves through a few keys.

She walks to the left. The board rolls ahead of her, does an ollie with a kick-flip, comes to rest; she steps on its
tail, it stands up behind her leg (hidden), drops, and shoots out of the frame on the left. Times are in frames of
the clip and may be fractions: motion blur samples between frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demo.board import LENGTH_M, RIDE_HEIGHT_M
from demo.camera import ground_point

# frame, the board's middle on the ground as seen: x in px, y in px
_PATH = (
    (-2, 425, 337), (8, 356, 334), (14, 313, 331), (24, 252, 326), (34, 196, 320), (44, 134, 312), (52, 115, 306),
    (57, 114, 303), (60, 117, 302), (61, 123, 302), (62, 122, 302), (63, 115, 302), (64, 108, 302), (65, 98, 302),
    (66, 94, 302), (67, 96, 302), (68, 95, 302), (70, 90, 302), (72, 80, 302), (75, 68, 303), (78, 26, 306),
    (81, -60, 309), (84, -170, 312), (95, -520, 320),
)  # fmt: skip
# frame, height of the middle above rolling, metres (the ollie)
_LIFT = (
    (-2, 0.0), (13, 0.0), (15, 0.03), (18, 0.26), (21, 0.42), (24, 0.47), (27, 0.40), (30, 0.22), (33, 0.02),
    (34, 0.0), (54, 0.0), (57, 0.07), (59, 0.14), (61, 0.22), (62, 0.26), (63, 0.32),
    (65, 0.34), (66, 0.40), (67, 0.50), (68, 0.50), (69, 0.47), (72, 0.46), (74, 0.36), (76, 0.18),
    (78, 0.02), (79, 0.0), (95, 0.0),
)  # fmt: skip
# frame, nose up in degrees; 90 stands on the tail
_PITCH = (
    (-2, 0), (12, 0), (15, 17), (18, 22), (22, 6), (27, -5), (31, 4), (34, 0), (53, 0), (55, 9), (57, 27),
    (59, 52), (60, 66), (61, 90), (62, 96),
    (63, 101), (65, 106), (66, 106), (68, 102), (70, 99), (72, 97), (73, 82), (75, 32), (77, 7), (79, 0), (95, 0),
)  # fmt: skip
# frame, turns about the long axis (the kick-flip is one)
_FLIP = ((-2, 0.0), (16, 0.0), (18, 0.08), (24, 0.52), (30, 0.95), (32, 1.0), (95, 1.0))
# frame, heading in degrees: nose away from the camera
_YAW = ((-2, 9), (14, 8), (24, 10), (34, 8), (44, 8), (54, 5), (62, 0), (72, 0), (78, -4), (95, -4))
# frame, lean towards the camera in degrees
_LEAN = ((-2, 9), (10, 9), (16, 8), (34, 8), (46, 9), (57, 8), (62, 0), (72, 0), (78, 8), (95, 8))

# The seed's freedom fades out around the hidden stretch, which a moved board would spoil.
_FREE_UNTIL, _FIXED_FROM, _FIXED_UNTIL, _FREE_FROM = 44, 56, 75, 79


@dataclass(frozen=True)
class BoardPose:
    """The board's middle in world metres (3,), and body-to-world rotation (3, 3)."""

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Body points (..., 3) to world points."""
        return np.asarray(points @ self.rotation.T + self.position, dtype=np.float64)


@dataclass(frozen=True)
class Choreography:
    """What the seed decides: a shift of the path in px, a lag of the flip in frames, a wobble in degrees."""

    shift_px: float
    flip_lag: float
    wobble_deg: float
    wobble_phase: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Choreography:
        """Draw one from `rng`."""
        return Choreography(*(float(rng.uniform(*span)) for span in ((-6, 6), (-0.6, 0.6), (0.6, 1.6), (0, 6.28))))

    def pose(self, t: float) -> BoardPose:
        """The pose at `t` frames."""
        free = float(np.interp(t, (_FREE_UNTIL, _FIXED_FROM, _FIXED_UNTIL, _FREE_FROM), (1, 0, 0, 1)))
        pitch = math.radians(_curve(_PITCH, t))
        lean = math.radians(_curve(_LEAN, t) + free * self.wobble_deg * math.sin(0.7 * t + self.wobble_phase))
        roll = 2 * math.pi * _curve(_FLIP, t - self.flip_lag) - lean
        x, z = ground_point(_curve(_PATH, t) + free * self.shift_px, _curve(_PATH, t, column=2))
        # Nose up turns about the tail's wheels, not about the middle.
        arm = 0.42 * LENGTH_M
        position = np.array(
            [
                x + arm * (1 - math.cos(pitch)),
                RIDE_HEIGHT_M + _curve(_LIFT, t) + arm * abs(math.sin(pitch)),
                z,
            ]
        )
        return BoardPose(position, _rotation(pitch, roll, math.radians(_curve(_YAW, t))))


def _rotation(pitch: float, roll: float, yaw: float) -> NDArray[np.float64]:
    """Body to world: first the flip about the board's own length, then nose up, then the heading."""
    c, s = math.cos(roll), math.sin(roll)
    about_x = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    c, s = math.cos(pitch), math.sin(pitch)
    about_z = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    c, s = math.cos(yaw), math.sin(yaw)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.asarray(about_y @ about_z @ about_x, dtype=np.float64)


def _curve(keys: tuple[tuple[float, ...], ...], t: float, column: int = 1) -> float:
    """A monotone cubic through the keys (Fritsch and Carlson 1980): smooth, and never beyond its keys."""
    table = np.array(keys, dtype=np.float64)
    times, values = table[:, 0], table[:, column]
    t = float(np.clip(t, times[0], times[-1]))
    i = int(np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 2))
    step = times[i + 1] - times[i]
    u = (t - times[i]) / step
    slopes = np.diff(values) / np.diff(times)
    left, right = _tangent(slopes, i), _tangent(slopes, i + 1)
    h00, h10 = (1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2
    h01, h11 = u * u * (3 - 2 * u), u * u * (u - 1)
    return float(h00 * values[i] + h10 * step * left + h01 * values[i + 1] + h11 * step * right)


def _tangent(slopes: NDArray[np.float64], i: int) -> float:
    """The slope at key i: the harmonic mean of its neighbours', zero at a turn and at the ends one-sided."""
    if i in (0, len(slopes)):
        return float(slopes[min(i, len(slopes) - 1)])
    before, after = float(slopes[i - 1]), float(slopes[i])
    return 0.0 if before * after <= 0 else 2 * before * after / (before + after)
