"""Windows: every frame once, in order, and never more pixels than the server can hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reskin.windows import MAX_FRAMES, PIXEL_BUDGET, frames_per_window, plan_windows


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
