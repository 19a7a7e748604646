"""`--select`: a frame goes to a window, and the box that the user drags comes back.

The stage's own OpenCV is the headless one, which runs on any machine and opens no window. The window is a process in an
environment of its own (`selector/`), whose Python `extract_physics.py --select` makes and names in $SELECTOR_PYTHON.
"""

from __future__ import annotations

import os
import subprocess

import cv2

from handoff.errors import MissingError, UsageError
from handoff.places import Box, check_box, parse_box
from handoff.video import Frame

SELECTOR = "SELECTOR_PYTHON"
_INSTEAD = (
    "write the frame with a grid instead and read the box from it: make frame VIDEO=clip.mp4 FRAME=n, "
    "then give --bbox x1,y1,x2,y2 --frame n."
)


def selector_python() -> str:
    """The Python of the window's environment; MissingError where nobody named one, as in a container."""
    python = os.environ.get(SELECTOR)
    if not python:
        raise MissingError(
            "--select needs the window that extract_physics.py --select opens, on a machine with a display, and this "
            f"command was not started by it; {_INSTEAD}"
        )
    return python


def select_box(frame: Frame) -> Box:
    """Show `frame` (H, W, 3) RGB in a window and return the box (px of the frame) that the user drags.

    Raises MissingError where no window can be opened and UsageError when the user gave up.
    """
    _, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    command = [selector_python(), "-P", "-s", "-m", "selector"]  # found by PYTHONPATH, never in the current folder
    try:
        done = subprocess.run(command, input=png.tobytes(), capture_output=True, check=False)
    except OSError as error:
        raise MissingError(f"the Python of --select's window, {command[0]}, cannot be run; {_INSTEAD}") from error
    if done.returncode != 0:
        raise MissingError(
            f"--select could not open its window ({_why(done.stderr.decode(errors='replace'))}); check the display and "
            "install what OpenCV's windows need (Debian and Ubuntu: apt install libgl1 libglib2.0-0 libsm6 libxext6), "
            f"or {_INSTEAD}"
        )
    drawn = done.stdout.decode().strip()
    if not drawn:
        raise UsageError("no box was drawn; run the command again, drag one around the object and press Enter.")
    return check_box(parse_box(drawn), frame.shape[1], frame.shape[0])


def _why(said: str) -> str:
    """The line of a failed window's stderr that names the reason: Python's error or Qt's, else the last one."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in lines if "Error: " in line or line.startswith("qt.qpa.")), lines[-1])
