"""Shot cuts: found on the exact frame, and nothing else taken for one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError
from handoff.video import read_frames
from tests.helpers import textured
from tracker.cuts import CutFinder, find_cuts, parse_cuts, shots_of

Frame = NDArray[np.uint8]


def pan(seed: int, count: int, speed: int = 4) -> list[Frame]:
    """A camera that pans over a picture of its own, 160 x 90 px."""
    wide = textured(90, 160 + speed * count, seed)
    return [wide[:, speed * k : speed * k + 160].copy() for k in range(count)]


def fade(frame: Frame, level: int, count: int) -> list[Frame]:
    """`frame` going over to a flat `level`, which is reached with the last of `count` frames."""
    return [np.asarray(frame + (level - frame.astype(float)) * (k + 1) / count, np.uint8) for k in range(count)]


def test_a_cut_is_found_on_the_first_frame_of_the_new_shot() -> None:
    assert find_cuts(pan(1, 15) + pan(2, 15) + pan(3, 15)) == [15, 30]


def test_a_cut_right_before_the_end_of_the_clip_is_found() -> None:
    assert find_cuts(pan(1, 15) + pan(2, 2)) == [15]


@pytest.mark.parametrize("speed", [8, 16, 32])  # px of 160 a frame
def test_a_fast_pan_is_no_cut_and_a_cut_between_two_is(speed: int) -> None:
    assert find_cuts(pan(1, 20, speed)) == []
    assert find_cuts(pan(1, 15, speed) + pan(2, 15, speed)) == [15]


@pytest.mark.parametrize("frames", [1, 3, 6])
@pytest.mark.parametrize("gain, offset", [(1.0, 90), (1.0, 255), (3.0, 60), (0.1, 0), (0.0, 0)])
def test_a_flash_or_a_dropout_is_no_cut(frames: int, gain: float, offset: int) -> None:
    clip = pan(1, 30)
    for k in range(10, 10 + frames):
        clip[k] = np.clip(clip[k] * gain + offset, 0, 255).astype(np.uint8)
    assert find_cuts(clip) == []


def test_a_few_frames_of_something_else_are_no_cut_but_a_short_shot_is() -> None:
    clip, other = pan(1, 40), pan(2, 10)
    assert find_cuts(clip[:15] + other[:6] + clip[21:]) == []
    assert find_cuts(clip[:15] + other[:8] + clip[23:]) == [15, 23]


@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("count", [1, 4, 8])
def test_a_fade_through_black_or_white_is_cut_where_the_new_picture_begins(level: int, count: int) -> None:
    first, second = pan(1, 15), pan(2, 15)
    flat = [np.full_like(first[0], level)] * 3
    clip = first + fade(first[-1], level, count) + flat + fade(second[0], level, count)[-2::-1] + second
    first_picture = 15 + count + 3
    assert len(cuts := find_cuts(clip)) == 1
    assert first_picture <= cuts[0] <= first_picture + 1


def test_a_frame_blended_of_two_shots_makes_one_cut(demo_clip: Path) -> None:
    first = [
        np.asarray(cv2.resize(frame, (160, 90)), np.uint8) for frame in islice(read_frames(demo_clip / "demo.mp4"), 15)
    ]
    second = pan(2, 15)
    blend = cv2.addWeighted(first[-1], 0.5, second[0], 0.5, 0).astype(np.uint8)
    assert find_cuts([*first, blend, *second]) in ([15], [16])


def test_a_fade_out_and_in_of_the_same_picture_is_no_cut() -> None:
    clip = pan(1, 30)
    assert find_cuts(clip[:15] + fade(clip[14], 0, 6) + fade(clip[15], 0, 6)[-2::-1] + clip[15:]) == []


def test_black_bars_change_nothing() -> None:
    clip = [np.pad(frame, ((30, 30), (0, 0), (0, 0))) for frame in pan(1, 15) + pan(2, 15)]
    assert find_cuts(clip) == [15]


def test_a_clip_without_a_picture_has_no_cut() -> None:
    assert find_cuts([]) == []
    assert find_cuts([np.zeros((90, 160, 3), np.uint8)] * 10) == []


def test_frames_are_not_kept() -> None:
    finder, largest = CutFinder(), 0
    for frame in pan(1, 15) + pan(2, 3) + pan(3, 3) + pan(4, 40):
        finder.step(frame)
        largest = max(largest, len(finder._doubtful))
    assert 1 <= largest <= 3


def test_the_demo_clip_with_its_kick_flip_has_no_cut_also_at_four_times_its_speed(demo_clip: Path) -> None:
    frames = [
        cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA) for frame in read_frames(demo_clip / "demo.mp4")
    ]
    clip = [np.asarray(frame, np.uint8) for frame in frames]
    assert find_cuts(clip) == []
    assert find_cuts(clip[::4]) == []


@pytest.mark.parametrize("name", ["juggle.mp4", "skateboarder.mp4"])
def test_real_footage_has_no_cut_until_it_is_spliced(name: str, shared: Path, demo_clip: Path) -> None:
    def shot(path: Path, count: int) -> Iterator[Frame]:
        for frame in islice(read_frames(path), count):
            yield np.asarray(cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA), np.uint8)

    clip = list(shot(shared / "clips" / name, 60))
    assert find_cuts(clip) == []
    assert find_cuts([*clip, *shot(demo_clip / "demo.mp4", 12)]) == [60]


def test_cuts_can_be_named_looked_for_or_denied() -> None:
    clip = pan(1, 15) + pan(2, 15)
    assert parse_cuts("auto", clip, 30) == [15]
    assert parse_cuts("none", clip, 30) == []
    assert parse_cuts("20, 5,20", iter(()), 30) == [5, 20]


@pytest.mark.parametrize("text", ["", "50;60", "5,,6", "-3", "2.5", "some"])
def test_cuts_that_are_no_frames_are_refused_with_what_was_seen(text: str) -> None:
    with pytest.raises(UsageError, match="--cuts"):
        parse_cuts(text, [], 30)


@pytest.mark.parametrize("text", ["0", "30", "5,99"])
def test_a_cut_outside_the_clip_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="from 1 to 29"):
        parse_cuts(text, [], 30)


def test_shots_cover_the_clip() -> None:
    assert shots_of([], 30) == [range(30)]
    assert shots_of([5, 20], 30) == [range(5), range(5, 20), range(20, 30)]
