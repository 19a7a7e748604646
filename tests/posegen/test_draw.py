"""Skeletons look as the video model was trained to see them."""

from __future__ import annotations

import numpy as np
import pytest

from handoff.video import Frame
from posegen.draw import BODY_COLOURS, canvas_size, draw_skeletons
from tests.posegen.people import line_of, person

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
