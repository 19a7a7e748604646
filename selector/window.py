"""A window with a picture, on which one box is dragged.

Not cv2.selectROI: there Esc takes the box, a closed window opens again, and Ctrl-C is not heard.
"""

from __future__ import annotations

import os

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) BGR
Corners = tuple[int, int, int, int]  # x1, y1, x2, y2

TITLE = "Drag a box around the object; Enter takes it, Esc or c gives up"
LARGEST = (1280, 720)  # px of the screen
_TAKE, _GIVE_UP = (10, 13, 32), (27, ord("c"), ord("C"))  # Enter, space; Esc
_REFRESH_MS = 30
_DARK, _LIGHT = (0, 0, 0), (0, 230, 255)


def draw_box(picture: Picture) -> Corners | None:
    """Show `picture`, reduced where it is larger than LARGEST, and return the box in its px; None when given up.

    Closing the window, and the end of the program that asked, are giving up too.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, LARGEST[0] / width, LARGEST[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    drag, asked_by = Drag(size), os.getppid()
    cv2.namedWindow(TITLE, cv2.WINDOW_AUTOSIZE | cv2.WINDOW_GUI_NORMAL)
    cv2.setMouseCallback(TITLE, drag.mouse)
    was_visible = False
    while os.getppid() == asked_by:
        cv2.imshow(TITLE, _with_box(np.asarray(shown, np.uint8), drag.box))
        key = cv2.waitKey(_REFRESH_MS) & 0xFF
        visible = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1
        # a busy desktop shows it late: what was never to be seen was not closed
        if key in _GIVE_UP or (was_visible and not visible):
            return None
        was_visible = visible
        if key in _TAKE and drag.box:
            return enlarge(drag.box, size, (width, height))
    return None


class Drag:
    """What the mouse has dragged so far on a picture of `size` (width, height) px."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._start = self._end = (0, 0)
        self._held = False

    def mouse(self, event: int, x: int, y: int, flags: int, _: object) -> None:
        """OpenCV's callback. A drag may leave the picture; the box ends at its border."""
        at = (min(max(x, 0), self._size[0]), min(max(y, 0), self._size[1]))
        if event == cv2.EVENT_LBUTTONDOWN:
            self._start = self._end = at
            self._held = True
        elif self._held and event in (cv2.EVENT_MOUSEMOVE, cv2.EVENT_LBUTTONUP):
            self._end = at
            self._held = event == cv2.EVENT_MOUSEMOVE

    @property
    def box(self) -> Corners | None:
        """The box in px of what is shown, the right and lower edges not included; None while it is empty."""
        (xa, ya), (xb, yb) = self._start, self._end
        return (min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb)) if xa != xb and ya != yb else None


def enlarge(box: Corners, shown: tuple[int, int], size: tuple[int, int]) -> Corners:
    """The box in px of a picture of `size` (width, height) for one on the picture at the size `shown`.

    Rounded outward to whole pixels.
    """
    (width, height), (wide, high) = size, shown
    x1, y1, x2, y2 = box
    return x1 * width // wide, y1 * height // high, -(-x2 * width // wide), -(-y2 * height // high)


def _with_box(shown: Picture, box: Corners | None) -> Picture:
    drawn = shown.copy()
    if box:
        for colour, thickness in ((_DARK, 3), (_LIGHT, 1)):  # shows on any ground
            cv2.rectangle(drawn, box[:2], box[2:], colour, thickness)
    return drawn
