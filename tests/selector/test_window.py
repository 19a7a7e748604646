"""The mouse's way to a box, without a window."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from runner.process import ROOT
from selector.window import Corners, Drag, draw_box, enlarge
from tests.helpers import HANG_S

DOWN, MOVE, UP = cv2.EVENT_LBUTTONDOWN, cv2.EVENT_MOUSEMOVE, cv2.EVENT_LBUTTONUP


def dragged(*events: tuple[int, int, int]) -> Corners | None:
    drag = Drag((640, 360))
    for event, x, y in events:
        drag.mouse(event, x, y, 0, None)
    return drag.box


@pytest.mark.parametrize(("start", "end"), [((120, 200), (260, 240)), ((260, 200), (120, 240))])
def test_a_drag_in_any_direction_is_the_box_between_its_ends(start: tuple[int, int], end: tuple[int, int]) -> None:
    assert dragged((DOWN, *start), (MOVE, 130, 210), (UP, *end)) == (120, 200, 260, 240)


def test_a_drag_that_leaves_the_picture_ends_at_its_border() -> None:
    assert dragged((DOWN, 600, 300), (UP, 700, 400)) == (600, 300, 640, 360)
    assert dragged((DOWN, 50, 40), (UP, -9, -5)) == (0, 0, 50, 40)


def test_a_mouse_that_only_moves_and_a_click_draw_nothing_and_a_second_drag_replaces_the_first() -> None:
    assert dragged((MOVE, 10, 10), (MOVE, 50, 50)) is None
    assert dragged((DOWN, 10, 10), (UP, 10, 10)) is None
    assert dragged((DOWN, 0, 0), (UP, 9, 9), (MOVE, 99, 99)) == (0, 0, 9, 9)
    assert dragged((DOWN, 0, 0), (UP, 9, 9), (DOWN, 20, 20), (MOVE, 30, 40)) == (20, 20, 30, 40)


def test_a_box_on_a_reduced_picture_is_enlarged_outward_and_stays_in_the_frame() -> None:
    assert enlarge((120, 200, 260, 240), (640, 360), (640, 360)) == (120, 200, 260, 240)
    assert enlarge((100, 50, 141, 80), (1280, 720), (1920, 1080)) == (150, 75, 212, 120)
    assert enlarge((1200, 700, 1280, 720), (1280, 720), (1921, 1081)) == (1800, 1050, 1921, 1081)


def shows(monkeypatch: pytest.MonkeyPatch, visible: list[float], keys: list[int]) -> Corners | None:
    """Draw on a desktop that says, look by look, whether the window is visible, and which key was pressed."""
    monkeypatch.setattr(cv2, "namedWindow", lambda *_: None)
    monkeypatch.setattr(cv2, "setMouseCallback", lambda *_: None)
    monkeypatch.setattr(cv2, "imshow", lambda *_: None)
    monkeypatch.setattr(cv2, "waitKey", lambda _: keys.pop(0))
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: visible.pop(0))
    return draw_box(np.zeros((36, 64, 3), np.uint8))


def test_a_window_that_a_busy_desktop_shows_late_is_not_taken_for_a_closed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    visible, keys = [0.0, 0.0, 1.0, 1.0, 0.0, 1.0], [255, 255, 255, 255, 255, 27]
    assert shows(monkeypatch, visible, keys) is None
    assert visible == [1.0], "it was given up when it was closed, not before it was seen, and not later"


@pytest.mark.parametrize("data", [b"", b"II*\0" + bytes(100), b"\0\0\0\x0cjP  \r\n\x87\n"])
def test_what_is_no_png_reaches_no_decoder(data: bytes) -> None:
    command = [sys.executable, "-m", "selector"]
    done = subprocess.run(command, cwd=ROOT, input=data, capture_output=True, timeout=HANG_S, check=False)
    assert done.returncode and b"Error: what is on stdin is no PNG." in done.stderr and b"Traceback" not in done.stderr
