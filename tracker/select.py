"""Draw the object's box with the mouse (`--select`), where there is a display and an OpenCV that can open windows.

The stage's own OpenCV is the headless one, which runs on any machine: with it, or without a display, `make frame` is
the way to a box.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.box import Box, check_box
from handoff.errors import MissingError, UsageError

Frame = NDArray[np.uint8]  # (H, W, 3) RGB

_TITLE = "drag a box around the object; Enter takes it, c gives up"
_LARGEST = (1280, 720)  # px of the screen
_INSTEAD = (
    "write the frame with a grid instead and read the box from it: make frame VIDEO=clip.mp4 FRAME=n, "
    "then give --bbox x1,y1,x2,y2 --frame n."
)

Roi = Sequence[int]  # x, y, width, height in px of what was shown


def select_box(frame: Frame, choose: Callable[[str, Frame], Roi] | None = None) -> Box:
    """Show `frame` (H, W, 3) RGB and return the box (px of the frame) that the user drags.

    choose: shows a BGR picture under a title and returns the region; OpenCV's own window unless given.
    Raises MissingError where no window can be opened and UsageError when the user drew nothing.
    """
    if choose is None:
        check_display()
        choose = _choose_in_window
    height, width = frame.shape[:2]
    scale = min(1.0, _LARGEST[0] / width, _LARGEST[1] / height)
    shown = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    if scale < 1:
        shown = cv2.resize(shown, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    roi = choose(_TITLE, np.asarray(shown, np.uint8))
    return box_of_roi(roi, (shown.shape[1], shown.shape[0]), (width, height))


def box_of_roi(roi: Roi, shown: tuple[int, int], size: tuple[int, int]) -> Box:
    """The box in px of a frame of `size` (width, height) for a region drawn on it at the size `shown`.

    Rounded outward to whole pixels and cut at the frame. UsageError for an empty region.
    """
    x, y, width, height = (int(value) for value in roi)
    if width <= 0 or height <= 0:
        raise UsageError("no box was drawn; run the command again and drag one around the object.")
    across, down = size[0] / shown[0], size[1] / shown[1]
    box = Box(
        max(0, int(np.floor(x * across))),
        max(0, int(np.floor(y * down))),
        min(size[0], int(np.ceil((x + width) * across))),
        min(size[1], int(np.ceil((y + height) * down))),
    )
    return check_box(box, *size)


def check_display(environment: dict[str, str] | None = None, gui: str | None = None) -> None:
    """Raise MissingError unless a window can be opened; it names the way without one.

    environment, gui: for tests; else the process's environment and the GUI that OpenCV was built with.
    """
    environment = dict(os.environ) if environment is None else environment
    if sys.platform.startswith("linux") and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        raise MissingError(f"--select needs a display and there is none (DISPLAY is not set); {_INSTEAD}")
    if (gui_support() if gui is None else gui).upper() in ("NONE", ""):
        raise MissingError(f"--select needs an OpenCV with windows and this is the headless build; {_INSTEAD}")


def gui_support() -> str:
    """The GUI that this OpenCV was built with, such as "GTK3" or "QT5"; "NONE" for the headless build."""
    found = re.search(r"^\s*GUI:[ \t]*(\S*)", cv2.getBuildInformation(), re.MULTILINE)
    return (found.group(1) if found else "") or "NONE"


def _choose_in_window(title: str, picture: Frame) -> Roi:
    try:
        roi = cv2.selectROI(title, picture, showCrosshair=True, fromCenter=False)
        cv2.destroyWindow(title)
    except cv2.error as error:
        raise MissingError(f"OpenCV could not open a window ({str(error).strip()[:80]}); {_INSTEAD}") from error
    return [int(value) for value in roi]
