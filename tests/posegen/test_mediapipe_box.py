"""What MediaPipe is shown of a frame where the skater's box is known."""

from __future__ import annotations

import numpy as np

from handoff.box import Box
from posegen.mediapipe_backend import ROOM, only
from tests.helpers import textured


def test_only_the_box_and_a_little_room_around_it_is_shown() -> None:
    frame = textured(120, 160)
    before = frame.copy()
    shown = only(frame, Box(60, 30, 100, 90))
    room = int(60 * ROOM)
    inside = np.s_[30 - room : 90 + room, 60 - room : 100 + room]
    np.testing.assert_array_equal(shown[inside], frame[inside])
    shown[inside] = 114
    assert (shown == 114).all()
    np.testing.assert_array_equal(frame, before)


def test_a_box_at_or_beyond_the_edge_is_cut_there() -> None:
    frame = textured(120, 160)
    np.testing.assert_array_equal(only(frame, Box(-10, -10, 170, 130)), frame)
    assert (only(frame, Box(300, 300, 340, 360)) == 114).all()
