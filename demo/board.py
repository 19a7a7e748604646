"""The skateboard as a mesh of small faces: kicked deck, two trucks, four wheels.

Body axes in metres: x along the board (the nose is at -x: it rolls to the left), y up, z across. The origin lies
on the deck's underside, midway between the trucks.

It is painted with dark grip tape with a mark above and a bright graphic below; both are functions of a place on the
deck, `along` -1 (nose) .. 1 (tail) and `across` -1 .. 1. Colours are RGB 0..255 before light falls on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LENGTH_M, WIDTH_M, THICKNESS_M = 0.86, 0.27, 0.018
KICK_START_M, KICK_ANGLE_RAD = 0.29, math.radians(22.0)
TRUCK_X_M, WHEEL_RADIUS_M, WHEEL_WIDTH_M, AXLE_DROP_M = 0.25, 0.033, 0.05, 0.056
RIDE_HEIGHT_M = AXLE_DROP_M + WHEEL_RADIUS_M
CELLS_LONG, CELLS_WIDE, WHEEL_SIDES = 64, 15, 14

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


@dataclass(frozen=True)
class Mesh:
    """`quads` (F, 4, 3) float64 metres, corners in order around the face, outward side by the right-hand rule;
    `colours` (F, 3) float64 RGB 0..255; `outline` (K, 3) the deck's rim, for the shadow."""

    quads: NDArray[np.float64]
    colours: NDArray[np.float64]
    outline: NDArray[np.float64]


def build_board(rng: np.random.Generator) -> Mesh:
    """The whole board; `rng` only roughens the grip tape."""
    parts = [*_deck(rng), *_trucks(), *_wheels()]
    quads = np.concatenate([quads for quads, _ in parts])
    colours = np.concatenate([colours for _, colours in parts])
    return Mesh(quads, colours, _rim(0.0))


_Part = tuple[NDArray[np.float64], NDArray[np.float64]]


def _half_width(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the deck's width at x: straight sides, round nose and tail (a superellipse)."""
    s = np.clip(np.abs(2.0 * x / LENGTH_M), 0.0, 1.0)
    return np.asarray(WIDTH_M / 2 * np.sqrt(1.0 - s**7), dtype=np.float64)


def _deck_height(x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Height of the underside: nose and tail bend up, the long edges a little (the concave)."""
    beyond = np.maximum(np.abs(x) - KICK_START_M, 0.0)
    kick = beyond**2 / (beyond + 0.03) * math.tan(KICK_ANGLE_RAD)
    return np.asarray(kick + 0.008 * v**2, dtype=np.float64)


def _sheet(lift: float) -> NDArray[np.float64]:
    """Deck surface points (CELLS_LONG + 1, CELLS_WIDE + 1, 3), `lift` metres above the underside."""
    # Cosine spacing puts more cells where the outline bends.
    x = -LENGTH_M / 2 * np.cos(np.linspace(0.0, np.pi, CELLS_LONG + 1))
    xx, vv = np.meshgrid(x, np.linspace(-1.0, 1.0, CELLS_WIDE + 1), indexing="ij")
    return np.stack([xx, _deck_height(xx, vv) + lift, vv * _half_width(xx)], axis=-1)


def _cells(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quads (cells, 4, 3) of a grid of points, facing up (+y) for a sheet in x and z."""
    quads = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2)
    return np.asarray(quads.reshape(-1, 4, 3), dtype=np.float64)


def _rim(lift: float) -> NDArray[np.float64]:
    """The deck's edge as a closed ring, counter-clockwise seen from above."""
    sheet = _sheet(lift)
    return np.concatenate([sheet[:, -1], sheet[-2:0:-1, 0]])  # nose and tail are single points


def _deck(rng: np.random.Generator) -> list[_Part]:
    top, bottom = _cells(_sheet(THICKNESS_M)), _cells(_sheet(0.0))[:, ::-1]
    low, high = _rim(0.0), _rim(THICKNESS_M)
    side = np.stack([low, np.roll(low, -1, axis=0), np.roll(high, -1, axis=0), high], axis=1)
    return [
        (top, grip_colour(*_surface_place(top), rng)),
        (bottom, underside_colour(*_surface_place(bottom))),
        (side, np.tile(EDGE, (len(side), 1))),
    ]


def _surface_place(quads: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each quad's place on the deck: along (-1 nose .. 1 tail) and across (-1 .. 1, in widths of the middle)."""
    centre = quads.mean(axis=1)
    return centre[:, 0] / (LENGTH_M / 2), centre[:, 2] / (WIDTH_M / 2)


def _box(centre: tuple[float, float, float], size: tuple[float, float, float]) -> NDArray[np.float64]:
    """The six outward faces (6, 4, 3) of an axis-aligned box."""
    corners = np.array(
        [
            [[-1, -1, -1], [-1, -1, 1], [-1, 1, 1], [-1, 1, -1]],
            [[1, -1, -1], [1, 1, -1], [1, 1, 1], [1, -1, 1]],
            [[-1, -1, -1], [1, -1, -1], [1, -1, 1], [-1, -1, 1]],
            [[-1, 1, -1], [-1, 1, 1], [1, 1, 1], [1, 1, -1]],
            [[-1, -1, -1], [-1, 1, -1], [1, 1, -1], [1, -1, -1]],
            [[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]],
        ],
        dtype=np.float64,
    )
    return np.asarray(np.array(centre) + corners * np.array(size) / 2, dtype=np.float64)


def _trucks() -> list[_Part]:
    parts: list[_Part] = []
    for x in (-TRUCK_X_M, TRUCK_X_M):
        base = _box((x, -0.012, 0.0), (0.085, 0.024, 0.06))
        hanger = _box((x, -0.040, 0.0), (0.04, 0.04, 0.1))
        axle = _box((x, -AXLE_DROP_M, 0.0), (0.02, 0.02, WIDTH_M - 0.03))
        quads = np.concatenate([base, hanger, axle])
        parts.append((quads, np.tile(METAL, (len(quads), 1))))
    return parts


def _wheels() -> list[_Part]:
    """Cylinders across the board: tread quads, and caps of thin quads with a darker core."""
    angles = np.linspace(0.0, 2 * np.pi, WHEEL_SIDES + 1)
    circle = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=-1)
    parts: list[_Part] = []
    for x in (-TRUCK_X_M, TRUCK_X_M):
        for z in (-(WIDTH_M - WHEEL_WIDTH_M) / 2, (WIDTH_M - WHEEL_WIDTH_M) / 2):
            centre = np.array([x, -AXLE_DROP_M, z])
            across = np.array([0.0, 0.0, WHEEL_WIDTH_M / 2])
            near, far = centre + circle * WHEEL_RADIUS_M - across, centre + circle * WHEEL_RADIUS_M + across
            tread = np.stack([near[:-1], near[1:], far[1:], far[:-1]], axis=1)
            parts.append((tread, np.tile(WHEEL, (len(tread), 1))))
            for end, flip in ((-across, True), (across, False)):
                parts.extend(_cap(centre + end, circle, flip))
    return parts


def _cap(centre: NDArray[np.float64], circle: NDArray[np.float64], flip: bool) -> list[_Part]:
    inner, outer = centre + circle * (0.45 * WHEEL_RADIUS_M), centre + circle * WHEEL_RADIUS_M
    ring = np.stack([inner[:-1], outer[:-1], outer[1:], inner[1:]], axis=1)
    hub = np.broadcast_to(centre, inner[:-1].shape)
    core = np.stack([hub, inner[:-1], inner[1:], hub], axis=1)
    parts = []
    for quads, colour in ((ring, WHEEL), (core, WHEEL_CORE)):
        parts.append((quads[:, ::-1] if flip else quads, np.tile(colour, (len(quads), 1))))
    return parts


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
