"""The skater kept: OKS and PCK as COCO and its papers define them; his body where there is no mask of him."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from evaluator.figures import SIGMAS, body_mask, compare_skeletons, oks, pck
from tests.evaluator.conftest import stick_figure


def test_the_same_skeleton_is_wholly_alike() -> None:
    assert compare_skeletons([stick_figure()], [stick_figure()]) == (1.0, 1.0)


def test_oks_is_cocos_formula_over_the_body() -> None:
    source, generated = stick_figure(), stick_figure(6.0)
    area = 40 * 102
    by_hand = [math.exp(-(6.0**2) / (2 * area * (2 * sigma) ** 2)) for sigma in SIGMAS]
    assert oks(source, generated) == pytest.approx(sum(by_hand) / 17, abs=1e-6)
    assert SIGMAS[0] == 0.026 and SIGMAS[11] == 0.107 and len(SIGMAS) == 17


def test_a_keypoint_is_correct_within_a_fifth_of_the_boxs_longer_side() -> None:
    """102 px, so 20.4 px."""
    assert pck(stick_figure(), stick_figure(20.0)) == 1.0
    assert pck(stick_figure(), stick_figure(21.0)) == 0.0


def test_only_keypoints_of_the_source_count_and_one_that_is_gone_is_wrong() -> None:
    source, generated = stick_figure(), stick_figure()
    scores = source.scores.copy()
    scores[5:17] = 0.0
    assert compare_skeletons([replace(source, scores=scores)], [generated]) == (1.0, 1.0)
    found = compare_skeletons([source], [replace(generated, scores=scores)])
    assert found == (pytest.approx(5 / 17), pytest.approx(5 / 17))


def test_where_the_source_shows_nobody_nothing_is_said_and_where_the_new_clip_does_it_is_zero() -> None:
    assert compare_skeletons([], [stick_figure()]) == (None, None)
    assert compare_skeletons([stick_figure()], []) == (0.0, 0.0)


def test_a_passer_by_in_the_new_clip_is_not_taken_for_the_skater() -> None:
    assert compare_skeletons([stick_figure()], [stick_figure(80.0), stick_figure(1.0)])[1] == 1.0


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


def test_a_limb_that_points_at_the_camera_is_as_thick_as_the_other() -> None:
    person = stick_figure()
    keypoints = person.keypoints.copy()
    keypoints[15], keypoints[17], keypoints[19] = keypoints[13] + (0, 1), keypoints[13], keypoints[13]
    body = body_mask([replace(person, keypoints=keypoints)], 120, 240)
    left, right = (int(x) for x in keypoints[[13, 14], 0])
    below = int(keypoints[13, 1]) + 2
    assert body[below, left - 2 : left + 3].all() and body[below, right - 2 : right + 3].all()
    assert np.count_nonzero(body[below]) >= 10
