"""Drawing the board with motion blur: painter's algorithm, several moments of one exposure, several samples a pixel.

Coverage is counted in whole samples, so the truth that is made of it does not depend on rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.board import Mesh
from demo.camera import DEPRESSION_RAD, DISTANCE_M, project
from demo.choreography import BoardPose, Choreography

SUPERSAMPLING = 3
MOMENTS = 8
SHUTTER = 0.2  # of the time between two frames: 1/150 s, as a phone takes by day (her steps are hardly blurred)
SOFTENING = 16  # the footage is a little soft: counts are spread by [1 2 1] x [1 2 1]
FULL_COVERAGE = SUPERSAMPLING**2 * MOMENTS * SOFTENING

_FRACTION_BITS = 4
_MARGIN_PX = 4
_CAMERA = DISTANCE_M * np.array([0.0, np.sin(DEPRESSION_RAD), -np.cos(DEPRESSION_RAD)])
_UP = np.array([0.0, 1.0, 0.0])
_SUN = np.array([0.45, 0.55, 0.70]) / np.linalg.norm([0.45, 0.55, 0.70])  # low, behind the scene, to the right
_FACING = np.array([0.2, 0.1, -1.0]) / np.linalg.norm([0.2, 0.1, -1.0])  # light from the open sky behind the camera


@dataclass(frozen=True)
class Layer:
    """The board in one exposure, as a patch whose upper left pixel is (x, y) of the frame (may lie outside it).

    `coverage` (h, w) int32, 0..FULL_COVERAGE; `colour` (h, w, 3) float64 RGB, already weighted by coverage.
    """

    x: int
    y: int
    coverage: NDArray[np.int32]
    colour: NDArray[np.float64]


def exposure_times(frame_index: int) -> list[float]:
    """The moments of one exposure, in frames, evenly spread around the frame's own time."""
    return [frame_index + SHUTTER * ((k + 0.5) / MOMENTS - 0.5) for k in range(MOMENTS)]


def render(mesh: Mesh, motion: Choreography, frame_index: int) -> Layer:
    """Draw the whole exposure of one frame."""
    moments = [_visible_faces(mesh, motion.pose(t)) for t in exposure_times(frame_index)]
    points = np.concatenate([corners.reshape(-1, 2) for corners, _ in moments])
    x, y = (np.floor(points.min(axis=0)) - _MARGIN_PX).astype(int)
    width, height = (np.ceil(points.max(axis=0)) + _MARGIN_PX).astype(int) - (x, y)
    total = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING, 4), np.int32)
    for corners, colours in moments:
        canvas = np.zeros(total.shape, np.uint8)
        fixed: NDArray[np.int32] = np.round((corners - (x, y)) * (SUPERSAMPLING << _FRACTION_BITS)).astype(np.int32)
        fills: list[list[float]] = colours.tolist()
        for quad, colour in zip(fixed, fills, strict=True):
            cv2.fillConvexPoly(canvas, quad, colour, cv2.LINE_8, _FRACTION_BITS)
        total += canvas
    soft = _soften(_pixel_sums(total))
    colour_share = soft[..., :3].astype(np.float64) / FULL_COVERAGE
    return Layer(int(x), int(y), soft[..., 3] // 255, colour_share)


def shadow(mesh: Mesh, motion: Choreography, frame_index: int, width: int, height: int) -> NDArray[np.float32]:
    """How much light the board takes from the ground, (height, width) float32, 0 (none) .. 1.

    The place lies in the shade of trees: the shadow is what hides the open sky, soft, close under the board,
    wider and fainter the higher the board is.
    """
    pose = motion.pose(float(frame_index))
    rim = pose.apply(mesh.outline)
    clearance = max(float(rim[:, 1].mean()) - 0.1, 0.0)
    ground = rim * np.array([1.0, 0.0, 1.0]) + np.array([-0.10, 0.0, -0.18]) * clearance
    pixels, _ = project(ground)
    shade = np.zeros((height, width), np.uint8)
    hull = cv2.convexHull(np.round(pixels * 16).astype(np.int32))
    cv2.fillConvexPoly(shade, np.asarray(hull), (255.0,), cv2.LINE_AA, _FRACTION_BITS)
    soft = cv2.GaussianBlur(shade, (0, 0), 2.2 + 14.0 * clearance)
    strength = 0.62 / (1.0 + 3.0 * clearance)
    return soft.astype(np.float32) * np.float32(strength / 255.0)


def _visible_faces(mesh: Mesh, pose: BoardPose) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Faces turned to the camera, far ones first: corners (F, 4, 2) in px, colours (F, 4) RGB and 255."""
    quads = pose.apply(mesh.quads)
    # Diagonals, not edges: a face may have two corners in one place.
    normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centres = quads.mean(axis=1)
    facing = np.einsum("ij,ij->i", normals, _CAMERA - centres) > 0
    pixels, depths = project(quads[facing])
    order = np.argsort(-depths.mean(axis=1), kind="stable")
    colours = _lit(mesh.colours[facing], normals[facing])[order]
    return pixels[order], np.concatenate([colours, np.full((len(colours), 1), 255.0)], axis=1)


def _lit(colours: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours as the footage shows them: shade of trees, warm sun from behind, the haze of a low sun."""
    sky = 0.5 + 0.5 * (normals @ _UP)
    front = np.maximum(normals @ _FACING, 0.0)
    sun = np.maximum(normals @ _SUN, 0.0)
    light = (0.42 + 0.30 * sky + 0.22 * front)[:, None] * np.array([0.98, 1.0, 1.03])
    light = light + sun[:, None] * np.array([0.24, 0.19, 0.10])
    haze = np.array([26.0, 26.0, 24.0])
    return np.asarray(np.clip(np.round(colours * light * 0.90 + haze), 0, 255), dtype=np.float64)


def _pixel_sums(samples: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum each block of SUPERSAMPLING x SUPERSAMPLING samples; slices added up are faster than sum(axis=(1, 3))."""
    rows = samples[::SUPERSAMPLING].copy()
    for k in range(1, SUPERSAMPLING):
        rows += samples[k::SUPERSAMPLING]
    pixels = rows[:, ::SUPERSAMPLING].copy()
    for k in range(1, SUPERSAMPLING):
        pixels += rows[:, k::SUPERSAMPLING]
    return pixels


def _soften(samples: NDArray[np.int32]) -> NDArray[np.int32]:
    """[1 2 1] down and across; exact in integers. The patch's margin keeps everything inside."""
    padded = np.pad(samples, ((1, 1), (1, 1), (0, 0)))
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return np.asarray(rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:], dtype=np.int32)
