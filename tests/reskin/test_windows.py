"""Windows: every frame, in order, never more pixels than the server can hold; overlapping ones join without a seam."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handoff.errors import UsageError
from reskin.windows import (
    MAX_FRAMES,
    PIXEL_BUDGET,
    check_model_windows,
    fitting_overlap,
    frames_per_window,
    later_weight,
    padded_length,
    plan_overlapping,
    plan_windows,
)


@given(frames=st.integers(1, 2000), width=st.integers(2, 8000), height=st.integers(2, 8000))
def test_every_frame_is_in_exactly_one_window(frames: int, width: int, height: int) -> None:
    windows = plan_windows(frames, width, height)
    assert [index for window in windows for index in range(window.start, window.stop)] == list(range(frames))
    assert [window.index for window in windows] == list(range(len(windows)))


@given(width=st.integers(2, 8000), height=st.integers(2, 8000))
def test_a_window_is_within_the_budget_or_a_single_frame(width: int, height: int) -> None:
    frames = frames_per_window(width, height)
    assert frames == 1 or frames * width * height <= PIXEL_BUDGET
    assert 1 <= frames <= MAX_FRAMES


@pytest.mark.parametrize(("size", "frames"), [((640, 360), 32), ((1280, 720), 8), ((1920, 1080), 3), ((3840, 2160), 1)])
def test_larger_pictures_go_in_shorter_windows(size: tuple[int, int], frames: int) -> None:
    assert frames_per_window(*size) == frames


def test_the_models_windows_overlap_by_21_of_81_frames() -> None:
    windows = plan_overlapping(210, 81, 21)
    assert [(window.start, window.stop - 1) for window in windows] == [(0, 80), (60, 140), (120, 200), (180, 209)]


@given(frames=st.integers(1, 1000), n=st.integers(1, 25), share=st.integers(0, 100))
def test_overlapping_windows_cover_every_frame_once_or_twice_and_share_what_is_asked(
    frames: int, n: int, share: int
) -> None:
    length = 4 * n + 1
    overlap = fitting_overlap(length, share) if share else 0
    check_model_windows(length, overlap)
    windows = plan_overlapping(frames, length, overlap)
    counts = [0] * frames
    for window in windows:
        assert 1 <= len(window) <= length
        for index in range(window.start, window.stop):
            counts[index] += 1
    assert set(counts) <= {1, 2}
    assert counts.count(2) == overlap * (len(windows) - 1)
    for before, after in pairwise(windows):
        assert before.stop - after.start == overlap
        assert len(before) == length
        assert after.stop > before.stop, "every window has a frame of its own"


@given(frames=st.integers(1, 1000))
def test_a_window_is_padded_to_the_next_4n_plus_1(frames: int) -> None:
    padded = padded_length(frames)
    assert padded % 4 == 1
    assert frames <= padded < frames + 4


def test_the_later_window_counts_more_from_frame_to_frame_and_never_alone() -> None:
    weights = [later_weight(offset, 5) for offset in range(5)]
    assert weights == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


@pytest.mark.parametrize(("length", "near"), [(80, 81), (82, 85), (1, 5), (0, 5), (-3, 5)])
def test_a_window_that_is_not_4n_plus_1_is_refused_with_one_that_is(length: int, near: int) -> None:
    with pytest.raises(UsageError, match=rf"--window {length} is not 4n\+1 frames; give {near},"):
        check_model_windows(length, 0)


@pytest.mark.parametrize("overlap", [-1, 2, 20, 22, 41])
def test_an_overlap_that_does_not_fit_is_refused_with_one_that_does(overlap: int) -> None:
    with pytest.raises(UsageError, match=rf"--overlap {overlap} is neither .* half of --window 81; give 21,"):
        check_model_windows(81, overlap)
