"""The skater drawn from his skeleton, and what of a mask lies on him."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from handoff.places import Box
from handoff.poses import FARTHEST, N_KEYPOINTS, Person
from tests.evaluator.helpers import stick_figure
from tracker.witness.body import body_mask, feet_zone, leg_followed


def test_the_body_covers_trunk_and_limbs_and_nothing_far_from_them() -> None:
    person = stick_figure()
    body = body_mask([person], 120, 240)
    for x, y in person.keypoints[5:17].round().astype(int):
        assert body[y, x]
    assert body[50, 120], "the trunk"
    assert body[104:111, 128:133].any(), "a foot"
    assert not body[:, :95].any() and not body[:, 145:].any()
    assert 0.03 < body.mean() < 0.15
    assert not body_mask([], 120, 240).any()


def test_a_skeleton_far_outside_the_picture_is_drawn_as_far_as_it_goes() -> None:
    """What was guessed lies at most handoff.poses.FARTHEST px away."""
    keypoints = np.full((N_KEYPOINTS, 2), FARTHEST, np.float32)
    keypoints[::2] = -FARTHEST
    person = Person(Box(0, 0, 10, 10), keypoints, np.ones(N_KEYPOINTS, np.float32))
    assert body_mask([person], 120, 240).shape == (120, 240)


def test_a_limb_that_points_at_the_camera_is_as_thick_as_the_other() -> None:
    person = stick_figure()
    keypoints = person.keypoints.copy()
    keypoints[15], keypoints[17], keypoints[19] = keypoints[13] + (0, 1), keypoints[13], keypoints[13]
    body = body_mask([replace(person, keypoints=keypoints)], 120, 240)
    left, right = (int(x) for x in keypoints[[13, 14], 0])
    below = int(keypoints[13, 1]) + 2
    assert body[below, left - 2 : left + 3].all() and body[below, right - 2 : right + 3].all()
    assert np.count_nonzero(body[below]) >= 10


def test_without_feet_the_limbs_end_at_the_ankles() -> None:
    assert not body_mask([stick_figure()], 120, 240, feet=False)[110:, 128:135].any()


def test_the_feet_s_zone_holds_both_feet_and_what_is_between_them() -> None:
    zone = feet_zone([stick_figure()], 120, 240)
    assert zone is not None and zone[100:112, 106:135].all() and not zone[:85].any()
    assert feet_zone([], 120, 240) is None
    person = stick_figure()
    scores = person.scores.copy()
    scores[15:23] = 0
    assert feet_zone([replace(person, scores=scores)], 120, 240) is None, "no foot is seen"


def test_a_mask_that_holds_a_whole_leg_follows_it() -> None:
    person, mask = stick_figure(), np.zeros((120, 240), bool)
    mask[60:110, 124:132] = True
    assert leg_followed(mask, [person]) == 1.0
    mask[60:85] = False
    assert leg_followed(mask, [person]) == pytest.approx(0.5, abs=0.1)
    assert leg_followed(mask, []) is None
    away = replace(person, keypoints=person.keypoints + 1000)
    assert leg_followed(mask, [away]) == 0.0, "outside the picture"
    scores = person.scores.copy()
    scores[[13, 14]] = 0
    assert leg_followed(mask, [replace(person, scores=scores)]) is None
