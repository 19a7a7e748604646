"""Skeletons look as the video model was trained to see them: single parts, and whole people pixel for pixel.

python -m tests.posegen.test_draw draws the golden pictures anew. Look at them before they are committed.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff.poses import Person
from handoff.video import Frame
from posegen.draw import BODY_COLOURS, canvas_size, draw_skeletons
from tests.posegen.helpers import line_of, person, standing

# a square of 1024 px is its own canvas, so that pixels can be told exactly
SIZE = 1024

NOSE, L_SHOULDER, R_SHOULDER, R_ELBOW = 0, 5, 6, 8


def drawn(points: dict[int, tuple[float, float]], style: str = "vace", score: float = 0.9) -> Frame:
    return draw_skeletons([person(points, score)], SIZE, SIZE, style)


def test_nobody_is_black() -> None:
    picture = draw_skeletons([], 640, 360)
    assert picture.shape == (360, 640, 3)
    assert picture.dtype == np.uint8
    assert not picture.any()


@pytest.mark.parametrize(("style", "colour"), [("openpose", (153, 102, 0)), ("vace", (0, 102, 153))])
def test_a_limb_is_dimmed_to_06_of_its_colour(style: str, colour: tuple[int, int, int]) -> None:
    # the right upper arm is OpenPose's third limb: (255, 170, 0) in its own palette
    picture = drawn({R_SHOULDER: (300, 500), R_ELBOW: (500, 500)}, style)
    assert tuple(picture[500, 400]) == colour


@pytest.mark.parametrize(("style", "colour"), [("openpose", (255, 170, 0)), ("vace", (0, 170, 255))])
def test_a_joint_lies_on_top_at_full_colour(style: str, colour: tuple[int, int, int]) -> None:
    picture = drawn({R_SHOULDER: (300, 500), R_ELBOW: (500, 500)}, style)
    assert tuple(picture[500, 300]) == colour


def test_in_vaces_style_the_shoulders_are_blue_and_the_neck_is_red() -> None:
    picture = drawn({L_SHOULDER: (600, 500), R_SHOULDER: (400, 500), NOSE: (500, 300)})
    red, _, blue = picture[500, 450].tolist()
    assert (red, blue) == (0, 153)
    red, _, blue = picture[400, 500].tolist()
    assert (red, blue) == (153, 0)


def test_a_limb_is_an_ellipse_thick_in_the_middle_and_thin_at_its_ends() -> None:
    picture = drawn({R_SHOULDER: (300, 500), R_ELBOW: (700, 500)})
    thick = np.count_nonzero(picture[:, 500].any(axis=1))
    thin = np.count_nonzero(picture[:, 312].any(axis=1))
    assert (thick, thin) == (9, 3)


def test_right_and_left_differ() -> None:
    right = drawn({R_SHOULDER: (300, 500), R_ELBOW: (500, 500)})
    left = drawn({L_SHOULDER: (300, 500), 7: (500, 500)})
    assert tuple(right[500, 400]) != tuple(left[500, 400])


@pytest.mark.parametrize("score", [0.0, 0.29, 0.3])
def test_nothing_at_or_below_the_threshold_is_drawn(score: float) -> None:
    assert not drawn(line_of(range(133), 20, 500), "openpose", score).any()


def test_a_limb_with_one_end_unseen_is_not_drawn() -> None:
    picture = drawn({R_SHOULDER: (300, 500)})
    rows, columns = np.nonzero(picture.any(axis=2))
    assert (columns.min(), columns.max()) == (296, 304)
    assert (rows.min(), rows.max()) == (496, 504)


def test_face_points_are_white() -> None:
    assert tuple(drawn({23: (200, 200)})[200, 200]) == (255, 255, 255)


def test_hands_are_drawn_for_openpose_and_not_for_vace() -> None:
    hand = line_of(range(91, 112), 100, 200)
    assert not drawn(hand, "vace").any()
    picture = drawn(hand, "openpose")
    assert tuple(picture[200, 100]) == (0, 0, 255)
    assert picture[200, 105].any()  # the bone from the wrist to the thumb


def test_feet_have_no_place_in_the_drawing() -> None:
    assert not drawn(line_of(range(17, 23), 100, 200), "openpose").any()


def test_places_scale_with_the_frame() -> None:
    picture = draw_skeletons([person({R_SHOULDER: (100, 90), R_ELBOW: (500, 90)})], 640, 360)
    rows, columns = np.nonzero(picture.any(axis=2))
    assert abs(rows.mean() - 90) < 1
    assert (abs(columns.min() - 100) <= 3, abs(columns.max() - 500) <= 3) == (True, True)
    assert picture.shape == (360, 640, 3)


def test_the_canvas_has_a_short_side_of_1024_in_steps_of_64() -> None:
    assert canvas_size(1280, 720) == (1792, 1024)
    assert canvas_size(360, 640) == (1024, 1792)


def test_the_colours_are_openposes_18() -> None:
    assert BODY_COLOURS[:4] == ((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0))
    assert BODY_COLOURS[17] == (255, 0, 85)
    assert len(set(BODY_COLOURS)) == 18


def test_all_people_are_drawn() -> None:
    one, other = person({R_SHOULDER: (100, 100)}), person({R_SHOULDER: (900, 900)})
    picture = draw_skeletons([one, other], SIZE, SIZE)
    assert picture[100, 100].any()
    assert picture[900, 900].any()


FOLDER = Path(__file__).parent / "golden"


def dancers() -> list[Person]:
    """One person who stands, and one who leans over to the left, turned by 70 degrees, and shows no left arm."""
    upright, leaning = standing(150, 190, 300), standing(430, 200, 280, angle=-70)
    leaning.scores[[7, 9, *range(91, 112)]] = 0.3
    return [upright, leaning]


def pictures() -> dict[str, Frame]:
    """Return what the golden pictures are to show, by file name, RGB."""
    one = [standing(512, 512, 900)]
    return {
        "vace_1024.png": draw_skeletons(one, 1024, 1024, "vace"),
        "openpose_1024.png": draw_skeletons(one, 1024, 1024, "openpose"),
        "vace_two_640x360.png": draw_skeletons(dancers(), 640, 360, "vace"),
        "openpose_two_640x360.png": draw_skeletons(dancers(), 640, 360, "openpose"),
    }


def read(name: str) -> Frame:
    """Return a golden picture, RGB."""
    return np.asarray(cv2.imread(str(FOLDER / name))[..., ::-1])


SIZE = 1024

PALETTE = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0)),
    *((0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255)),
    *((170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""OpenPose's colours, RGB, as its users know them."""

LIMBS = {
    "right shoulder": ("neck", 6, 0),
    "left shoulder": ("neck", 5, 1),
    "right upper arm": (6, 8, 2),
    "right forearm": (8, 10, 3),
    "left upper arm": (5, 7, 4),
    "left forearm": (7, 9, 5),
    "right side": ("neck", 12, 6),
    "right thigh": (12, 14, 7),
    "right shin": (14, 16, 8),
    "left side": ("neck", 11, 9),
    "left thigh": (11, 13, 10),
    "left shin": (13, 15, 11),
    "throat": ("neck", 0, 12),
    "nose to right eye": (0, 2, 13),
    "right eye to ear": (2, 4, 14),
    "nose to left eye": (0, 1, 15),
    "left eye to ear": (1, 3, 16),
}
"""COCO keypoints at the ends and the number of the colour."""

JOINTS = (0, "neck", 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
"""COCO keypoint of each of OpenPose's 18 body points."""


def shown(colour: tuple[int, int, int], style: str) -> tuple[int, int, int]:
    """A colour as it looks in a style: VACE's annotator turns the channels round."""
    return colour if style == "openpose" else (colour[2], colour[1], colour[0])


def place(figure: Frame, of: int | str) -> np.ndarray:
    """A keypoint of the figure, or its neck."""
    return (figure[5] + figure[6]) / 2 if of == "neck" else figure[int(of)]


@pytest.mark.parametrize("name", list(pictures()))
def test_the_picture_is_the_committed_one(name: str) -> None:
    drawn, golden = pictures()[name], read(name)
    # another processor may round a pixel that was scaled the other way; one at the canvas's own size is copied
    scaled = not name.endswith("_1024.png")
    assert drawn.shape == golden.shape
    assert int(np.abs(drawn.astype(int) - golden).max()) <= scaled


@pytest.mark.parametrize("style", ["vace", "openpose"])
@pytest.mark.parametrize("limb", list(LIMBS))
def test_each_limb_has_its_colour_at_60_percent_in_its_middle(limb: str, style: str) -> None:
    first, last, number = LIMBS[limb]
    figure = standing(512, 512, 900)
    figure.scores[17:] = 0  # no face and no hands over the limbs
    middle = (place(figure.keypoints, first) + place(figure.keypoints, last)) / 2
    x, y = middle.astype(int)
    expected = shown(tuple(int(0.6 * channel) for channel in PALETTE[number]), style)
    assert tuple(draw_skeletons([figure], SIZE, SIZE, style)[y, x]) == expected


@pytest.mark.parametrize("style", ["vace", "openpose"])
def test_each_joint_has_its_colour_in_full(style: str) -> None:
    figure = standing(512, 512, 900)
    figure.scores[17:] = 0
    picture = draw_skeletons([figure], SIZE, SIZE, style)
    for number, joint in enumerate(JOINTS):
        x, y = place(figure.keypoints, joint).astype(int)
        assert tuple(picture[y, x]) == shown(PALETTE[number], style), joint


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 2 * math.pi), st.integers(60, 900))
def test_a_limb_is_an_ellipse_between_its_joints(angle: float, length: int) -> None:
    half = length / 2 * np.array([math.cos(angle), math.sin(angle)])
    elbow, wrist = np.array([512, 512]) - half, np.array([512, 512]) + half
    picture = draw_skeletons([person({8: tuple(elbow), 10: tuple(wrist)})], SIZE, SIZE, "openpose")
    limb = (picture == (153, 153, 0)).all(axis=2)
    dots = np.zeros((SIZE, SIZE), np.uint8)
    for x, y in (elbow, wrist):
        cv2.circle(dots, (int(x), int(y)), 6, 255, -1)  # the joints lie over the limb's ends
    area = np.count_nonzero(limb | ((dots > 0) & picture.any(axis=2)))
    moments = cv2.moments(limb.astype(np.uint8), binaryImage=True)
    centre = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    direction = 0.5 * math.atan2(2 * moments["mu11"], moments["mu20"] - moments["mu02"])
    assert np.linalg.norm(centre - 512) < 1.5
    assert abs((direction - angle + math.pi / 2) % math.pi - math.pi / 2) < math.radians(1.5)
    ellipse = math.pi * (length / 2) * 4
    assert 0.95 * ellipse < area < 1.25 * ellipse + 80  # whole pixels on the rim, and the two joints


def test_the_left_arm_that_was_not_seen_is_missing_and_the_rest_is_there() -> None:
    upright, leaning = dancers()
    picture = draw_skeletons([leaning], 640, 360, "vace")
    for unseen in (7, 9):
        x, y = leaning.keypoints[unseen].astype(int)
        assert not picture[y - 3 : y + 4, x - 3 : x + 4].any()
    for seen in (8, 10, 13, 15, 14, 16):
        x, y = leaning.keypoints[seen].astype(int)
        assert picture[y, x].any()
    assert not picture[:, :250].any()  # where the other one stands
    both = draw_skeletons([upright, leaning], 640, 360, "vace")
    np.testing.assert_array_equal(both[:, 250:], picture[:, 250:])
    np.testing.assert_array_equal(both[:, :250], draw_skeletons([upright], 640, 360, "vace")[:, :250])


def test_somebody_half_out_of_the_frame_is_cut_at_its_edge() -> None:
    whole = draw_skeletons([standing(512, 512, 900)], SIZE, SIZE, "openpose")
    half = draw_skeletons([standing(0, 512, 900)], SIZE, SIZE, "openpose")
    np.testing.assert_array_equal(half[:, 2:500], whole[:, 514:1012])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        cv2.imwrite(str(FOLDER / name), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
