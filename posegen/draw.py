"""Skeletons on black, RGB, as the video model was trained to see them. Read `draw_skeletons`.

Measures, limbs and order are those of VACE's pose annotator (vace/annotators/pose.py and dwpose/util.py): drawn on a
canvas whose short side is 1024 px and whose sides are multiples of 64, then scaled to the frame; limbs are filled
ellipses, the canvas is dimmed to 0.6, joints come on top at full colour, then the face in white.

Two things there differ from DWPose's own drawing, and hold for style "vace": the annotator turns the channels round
at the end, so that in RGB the shoulders are blue and the neck is red (its published figure shows it), and VACE's pose
task draws body and face, no hands. Style "openpose" has OpenPose's own colours and the hands, for ControlNet.
"""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.poses import Person
from handoff.video import Frame
from posegen.keypoints import FACE, KPT_THR, LEFT_HAND, N_BODY, RIGHT_HAND, Points, Scores, body_18

SHORT_SIDE = 1024
STEP = 64
STICK = 4
"""Half the thickness of a limb, px of the canvas."""
JOINT_RADIUS = 4
FACE_RADIUS = 3
HAND_LINE = 2
DIM = 0.6

LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7)),  # shoulders and arms, right then left
    *((1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13)),  # hips and legs
    *((1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),  # neck, eyes and ears
)
"""OpenPose body points at the ends of each limb; limb i has colour i."""

FINGERS = tuple((4 * finger + bone if bone else 0, 4 * finger + bone + 1) for finger in range(5) for bone in range(4))
"""Bones of a hand, from the wrist (0) along each finger."""


@dataclass(frozen=True)
class Style:
    """What the styles of posegen.choice.STYLES differ in: are red and blue turned round, are hands drawn."""

    turned_channels: bool
    hands: bool


_STYLES = {"vace": Style(turned_channels=True, hands=False), "openpose": Style(turned_channels=False, hands=True)}

Colour = tuple[int, int, int]


def hue(index: int, count: int) -> Colour:
    """Return colour `index` of `count` around the colour circle, RGB 0..255; 18 of them are OpenPose's own."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, 1.0, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


BODY_COLOURS = tuple(hue(index, N_BODY) for index in range(N_BODY))
HAND_JOINT: Colour = (0, 0, 255)
WHITE: Colour = (255, 255, 255)
_DIMMED = (np.arange(256) * DIM).astype(np.uint8)

Pixels = NDArray[np.int_]


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """Return (width, height) px of the canvas that a frame of width x height px is drawn on."""
    scale = SHORT_SIDE / min(width, height)
    return max(round(width * scale / STEP), 1) * STEP, max(round(height * scale / STEP), 1) * STEP


def _draw_limb(canvas: Frame, start: Points, end: Points, colour: Colour) -> None:
    """Draw a filled ellipse between two places, px of the canvas.

    Middle, half length and angle (from the end to the start) are cut to whole numbers, in that direction, as the
    annotator does it: cut otherwise, a limb of 500 px ends several px away from its joint on the other side.
    """
    dx, dy = (start - end).tolist()
    middle = ((start + end) / 2).astype(np.int_).tolist()
    axes = (int(math.hypot(dx, dy) / 2), STICK)
    polygon = cv2.ellipse2Poly(middle, axes, int(math.degrees(math.atan2(dy, dx))), 0, 360, 1)
    cv2.fillConvexPoly(canvas, np.array(polygon, np.int32), colour)


def _draw_dots(canvas: Frame, points: Pixels, visible: NDArray[np.bool_], radius: int, colour: Colour) -> None:
    for point in points[visible].tolist():
        cv2.circle(canvas, point, radius, colour, thickness=-1)


def _draw_hand(canvas: Frame, points: Pixels, visible: NDArray[np.bool_]) -> None:
    for bone, (start, end) in enumerate(FINGERS):
        if visible[start] and visible[end]:
            cv2.line(canvas, points[start].tolist(), points[end].tolist(), hue(bone, len(FINGERS)), HAND_LINE)
    _draw_dots(canvas, points, visible, JOINT_RADIUS, HAND_JOINT)


def draw_skeletons(people: list[Person], width: int, height: int, style: str = "vace") -> Frame:
    """Return (height, width, 3) uint8 RGB: the people's skeletons on black; all black where nobody is.

    Keypoints with a score of KPT_THR or less are not drawn, nor the limbs that end in them.
    """
    if not people:
        return np.zeros((height, width, 3), np.uint8)
    how = _STYLES[style]
    canvas_width, canvas_height = canvas_size(width, height)
    canvas = np.zeros((canvas_height, canvas_width, 3), np.uint8)
    scale = np.array([canvas_width / width, canvas_height / height], np.float32)

    def pixels(points: Points) -> Pixels:
        return (points * scale).astype(np.int_)

    def seen(scores: Scores) -> NDArray[np.bool_]:
        return scores > KPT_THR

    bodies = [body_18(person.keypoints, person.scores) for person in people]
    for (start, end), colour in zip(LIMBS, BODY_COLOURS, strict=False):
        for body in bodies:
            points, visible = body[:, :2] * scale, seen(body[:, 2])
            if visible[start] and visible[end]:
                _draw_limb(canvas, points[start], points[end], colour)
    canvas = np.asarray(cv2.LUT(canvas, _DIMMED), np.uint8)
    for joint, colour in enumerate(BODY_COLOURS):
        for body in bodies:
            place = slice(joint, joint + 1)
            _draw_dots(canvas, pixels(body[place, :2]), seen(body[place, 2]), JOINT_RADIUS, colour)
    for person in people:
        for part in (LEFT_HAND, RIGHT_HAND) if how.hands else ():
            _draw_hand(canvas, pixels(person.keypoints[part]), seen(person.scores[part]))
        _draw_dots(canvas, pixels(person.keypoints[FACE]), seen(person.scores[FACE]), FACE_RADIUS, WHITE)
    enlarging = width * height > canvas_width * canvas_height
    scaler = cv2.INTER_LANCZOS4 if enlarging else cv2.INTER_AREA
    picture = cv2.resize(canvas, (width, height), interpolation=scaler)
    if how.turned_channels:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    return np.asarray(picture, np.uint8)
