"""What is a person, and where."""

from __future__ import annotations

import numpy as np

from handoff.box import Box
from posegen.keypoints import MIN_VISIBLE, box_around, certainty, is_person, is_whole
from tests.posegen.people import line_of, person


def test_too_few_visible_keypoints_are_no_person() -> None:
    assert is_person(person(line_of(range(MIN_VISIBLE), 10, 10)).scores)
    assert not is_person(person(line_of(range(MIN_VISIBLE - 1), 10, 10)).scores)


def test_hands_and_a_face_alone_are_no_person() -> None:
    assert not is_person(person(line_of(range(23, 133), 10, 10)).scores)


def test_keypoints_at_the_threshold_do_not_count() -> None:
    assert not is_person(person(line_of(range(17), 10, 10), score=0.3).scores)


def test_the_box_has_a_margin_around_what_is_visible() -> None:
    someone = person({0: (100, 50), 16: (200, 250)})
    assert box_around(someone.keypoints, someone.scores, 640, 480) == Box(90, 30, 210, 270)


def test_the_box_stays_inside_the_frame() -> None:
    someone = person({0: (2, 1), 16: (638, 479)})
    assert box_around(someone.keypoints, someone.scores, 640, 480) == Box(0, 0, 640, 480)


def test_the_box_holds_the_masks_largest_part_and_no_stray_one() -> None:
    someone = person({0: (100, 50), 16: (200, 250)})
    mask = np.zeros((480, 640), np.bool_)
    mask[40:200, 80:150] = True
    mask[400:410, 600:610] = True
    assert box_around(someone.keypoints, someone.scores, 640, 480, mask) == Box(80, 40, 200, 250)


def test_an_empty_mask_counts_as_none() -> None:
    someone = person({0: (100, 50), 16: (200, 250)})
    empty = np.zeros((480, 640), np.bool_)
    assert box_around(someone.keypoints, someone.scores, 640, 480, empty) == Box(90, 30, 210, 270)


def test_a_box_near_the_edge_may_be_cut_off() -> None:
    assert is_whole(Box(13, 13, 600, 460), 640, 480)
    assert not is_whole(Box(12, 13, 600, 460), 640, 480)
    assert not is_whole(Box(13, 13, 600, 479), 640, 480)


def test_certainty_is_the_mean_of_body_and_feet() -> None:
    everything = person(line_of(range(133), 10, 10), score=0.5)
    assert certainty(everything) == 0.5
    assert certainty(person(line_of(range(17), 10, 10), score=0.5)) < 0.5
