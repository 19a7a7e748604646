"""Smoothing takes the jitter away, and nothing ever crosses a gap."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from handoff.errors import UsageError
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person
from posegen.backend import FramePose
from posegen.choice import METHODS
from posegen.keypoints import KPT_THR
from posegen.smooth import REACH, parameters, smooth

Floats = NDArray[np.float64]


def person(keypoints: Floats, scores: Floats | float = 0.9, x: float = 0) -> Person:
    """Somebody with these keypoints (133, 2), in a box 100 px wide and 200 px high that begins at x."""
    filled = np.broadcast_to(np.asarray(scores, np.float32), N_KEYPOINTS).copy()
    return Person(Box(x, 0, x + 100, 200), keypoints.astype(np.float32), filled)


def clip(ways: Floats, scores: Floats | None = None) -> list[FramePose]:
    """One person along ways (frames, 133, 2) with scores (frames, 133)."""
    all_scores = np.full(ways.shape[:2], 0.9) if scores is None else scores
    return [FramePose([person(*each)]) for each in zip(ways, all_scores, strict=True)]


def keypoints(poses: Iterator[FramePose]) -> Floats:
    return np.stack([pose.people[0].keypoints for pose in poses]).astype(np.float64)


def random_ways(frames: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).uniform(0, 1000, (frames, N_KEYPOINTS, 2)).astype(np.float32).astype(np.float64)


def fitted_by_hand(values: Floats) -> Floats:
    """What scipy.signal.savgol_filter(values, 7, 2, mode="interp") gives, by a fit for each frame; a stretch shorter
    than 7 takes the longest odd window that fits, and one of 4 or fewer stays as it is."""
    length = len(values)
    window = min(7, length if length % 2 else length - 1)
    if window < 5:
        return values
    result = np.empty_like(values)
    for frame in range(length):
        start = min(max(frame - window // 2, 0), length - window)
        places = np.arange(start, start + window)
        result[frame] = np.polyval(np.polyfit(places - frame, values[places], 2), 0)
    return result


def stretches(seen: NDArray[np.bool_]) -> Iterator[slice]:
    """The runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(int)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_each_stretch_of_each_keypoint_is_fitted_by_itself(frames: int, missing: float, seed: int) -> None:
    ways = random_ways(frames, seed)
    rng = np.random.default_rng(seed)
    scores = np.where(rng.random((frames, N_KEYPOINTS)) < missing * 0.3, rng.choice([0, KPT_THR - 0.05]), 0.9)
    result = keypoints(smooth(clip(ways, scores), "savgol"))
    for keypoint in range(0, N_KEYPOINTS, 19):
        seen = scores[:, keypoint] > KPT_THR
        expected = ways[:, keypoint].copy()
        for stretch in stretches(seen):
            for axis in (0, 1):
                expected[stretch, axis] = fitted_by_hand(ways[stretch, keypoint, axis])
        np.testing.assert_allclose(result[:, keypoint], expected, atol=2e-3)


def test_inside_a_stretch_the_weights_are_savitzky_and_golays() -> None:
    ways = np.zeros((15, N_KEYPOINTS, 2))
    ways[7] = 21
    result = keypoints(smooth(clip(ways), "savgol"))[:, 0, 0]
    # their table for 7 points and a parabola: (-2, 3, 6, 7, 6, 3, -2) / 21
    np.testing.assert_allclose(result[4:11], [-2, 3, 6, 7, 6, 3, -2], atol=1e-4)
    assert not result[:4].any()
    assert not result[11:].any()


def test_a_thrown_thing_keeps_its_parabola_to_the_very_ends() -> None:
    times = np.arange(12.0)[:, None, None]
    ways = np.broadcast_to(100 + 30 * times - 2.5 * times**2, (12, N_KEYPOINTS, 2)).copy()
    np.testing.assert_allclose(keypoints(smooth(clip(ways), "savgol")), ways, atol=1e-3)


@pytest.mark.parametrize("gap", ["unseen", "nobody", "another person"])
def test_what_lies_beyond_a_gap_has_no_effect(gap: str) -> None:
    ways = random_ways(24)

    def smoothed(first_half: Floats) -> list[FramePose]:
        poses = clip(np.concatenate([first_half, ways[12:]]))
        if gap == "unseen":
            poses[11] = FramePose([person(ways[11], KPT_THR)])
        elif gap == "nobody":
            poses[11] = FramePose([])
        else:
            poses[12:] = [FramePose([person(each, x=500)]) for each in ways[12:]]
        return list(smooth(poses, "savgol"))

    one, other = smoothed(ways[:12]), smoothed(ways[:12] + 300)
    for before, after in zip(one[12:], other[12:], strict=True):
        np.testing.assert_array_equal(before.people[0].keypoints, after.people[0].keypoints)
    alone = list(smooth(clip(ways[12:]), "savgol"))
    for before, after in zip(one[12:], alone, strict=True):
        np.testing.assert_array_equal(before.people[0].keypoints, after.people[0].keypoints)


def test_two_people_keep_to_themselves_whatever_order_they_come_in() -> None:
    left, right = random_ways(20, 1), random_ways(20, 2)
    poses = []
    for frame in range(20):
        people = [person(left[frame], x=5 * frame), person(right[frame], x=800 - 5 * frame)]
        poses.append(FramePose(people[:: -1 if frame % 3 == 0 else 1]))
    for way, start in ((left, 0), (right, 800)):
        alone = keypoints(smooth(clip(way), "savgol"))
        for frame, pose in enumerate(smooth(poses, "savgol")):
            (own,) = [each for each in pose.people if abs(each.box.x1 - start) <= 100]
            np.testing.assert_allclose(own.keypoints, alone[frame], atol=1e-3)


def test_somebody_who_comes_up_beside_another_begins_anew() -> None:
    first, second = random_ways(20, 1), random_ways(20, 2)
    poses = clip(first[:10])
    poses += [FramePose([person(second[frame], x=30), person(first[frame])]) for frame in range(10, 20)]
    result = list(smooth(poses, "savgol"))[10:]
    alone = keypoints(smooth(clip(second[10:]), "savgol"))
    np.testing.assert_allclose(np.stack([pose.people[0].keypoints for pose in result]), alone, atol=1e-3)
    whole = keypoints(smooth(clip(first), "savgol"))[10:]
    np.testing.assert_allclose(np.stack([pose.people[1].keypoints for pose in result]), whole, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["score", "place"])
def test_what_is_no_number_counts_as_not_seen(method: str, bad: float, where: str) -> None:
    poses, unseen = clip(random_ways(16)), clip(random_ways(16))
    if where == "score":
        poses[8].people[0].scores[9] = bad
    else:
        poses[8].people[0].keypoints[9, 1] = bad
    unseen[8].people[0].scores[9] = 0
    unseen[8].people[0].keypoints[9] = 0
    for pose, expected in zip(smooth(poses, method), smooth(unseen, method), strict=True):
        np.testing.assert_array_equal(pose.people[0].keypoints, expected.people[0].keypoints)
        np.testing.assert_array_equal(pose.people[0].scores, expected.people[0].scores)


@pytest.mark.parametrize("method", METHODS)
def test_a_box_that_is_no_number_stops_nothing(method: str) -> None:
    poses = clip(random_ways(10))
    poses[4] = FramePose([replace(poses[4].people[0], box=Box(math.nan, 0, math.nan, 0))])
    assert np.isfinite(keypoints(smooth(poses, method))).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=25), st.sampled_from(METHODS))
def test_frames_people_scores_boxes_and_masks_pass_through(counts: list[int], method: str) -> None:
    ways = random_ways(2)
    poses = [
        FramePose([person(ways[each], 0.8, 400.0 * each) for each in range(count)], np.eye(4, dtype=np.bool_))
        for count in counts
    ]
    result = list(smooth(iter(poses), method))
    assert len(result) == len(poses)
    for before, after in zip(poses, result, strict=True):
        assert after.person_mask is before.person_mask
        assert [each.box for each in after.people] == [each.box for each in before.people]
        for one, other in zip(before.people, after.people, strict=True):
            np.testing.assert_array_equal(one.scores, other.scores)


def test_the_places_before_are_kept_beside_the_new_ones() -> None:
    ways = random_ways(9)
    raw = [pose.people[0].raw for pose in smooth(clip(ways), "savgol")]
    np.testing.assert_array_equal(np.stack([each for each in raw if each is not None]), ways)


def test_without_smoothing_nothing_is_kept_or_changed() -> None:
    ways = random_ways(9)
    result = list(smooth(clip(ways), "none"))
    assert [pose.people[0].raw for pose in result] == [None] * 9
    np.testing.assert_array_equal(keypoints(iter(result)), ways)


@pytest.mark.parametrize(("method", "ahead"), [("savgol", REACH + 1), ("none", 1)])
def test_it_runs_only_so_far_ahead_and_holds_no_more_masks(method: str, ahead: int) -> None:
    way = random_ways(1)[0]
    masks: list[weakref.ref[NDArray[np.bool_]]] = []
    taken = 0

    def source() -> Iterator[FramePose]:
        nonlocal taken
        for _ in range(60):
            taken += 1
            mask = np.zeros((8, 8), np.bool_)
            masks.append(weakref.ref(mask))
            yield FramePose([person(way)], mask)

    most = 0
    for given_out, _ in enumerate(smooth(source(), method), start=1):
        most = max(most, sum(mask() is not None for mask in masks))
        assert taken - given_out < ahead
    assert most <= ahead + 2  # those waiting, the one in this loop and the one being made


def test_the_filter_has_no_lag() -> None:
    times = np.arange(40.0)[:, None, None]
    ways = np.broadcast_to(20 * times, (40, N_KEYPOINTS, 2)).copy()  # 480 px/s
    np.testing.assert_allclose(keypoints(smooth(clip(ways), "savgol")), ways, atol=1e-2)


def test_the_jitter_of_somebody_who_stands_still_shrinks() -> None:
    ways = 500 + np.random.default_rng(0).normal(0, 1.5, (80, N_KEYPOINTS, 2))

    def jitter(way: Floats) -> float:
        return float(np.abs(np.diff(way, n=2, axis=0)).mean())

    assert jitter(keypoints(smooth(clip(ways), "savgol"))) < 0.4 * jitter(ways)


def test_an_unknown_method_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no smoothing 'gauss'; choose one of: savgol, none"):
        smooth([], "gauss")


def test_the_parameters_say_what_was_done() -> None:
    assert parameters("savgol") == {"method": "savgol", "window": 7, "order": 2}
    assert parameters("none") == {"method": "none"}
