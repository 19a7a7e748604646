"""A box without guessing: one frame with a pixel grid to read it from, or a window to draw it in with the mouse.

    python -m tracker.grid -i clip.mp4 --frame 40 -o frame.png        make frame VIDEO=clip.mp4 FRAME=40

Lines every 50 px, stronger ones every 100 px, each labelled on all four sides in pixels of the clip. The labels stand
in a margin beside the picture, and small clips are enlarged, so the PNG's own pixels are not the clip's.

`select_box` is `--select`: a frame goes to the window, the box comes back. The stage's own OpenCV is the headless one,
which runs on any machine and opens no window. The window is a process in an environment of its own (`selector/`), whose
Python `extract_physics.py --select` makes and names in $SELECTOR_PYTHON.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import click
import cv2
import numpy as np

from handoff.command import main
from handoff.errors import InputError, MissingError, UsageError
from handoff.files import atomic_file
from handoff.masks import write_png
from handoff.places import Box, check_box, parse_box
from handoff.video import Frame, read_frames

STEP_PX = 50  # of the clip
_STRONG_PX = 100
_SMALL_WIDTH = 1000  # px: narrower frames are enlarged by whole factors until they are as wide
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN, _INK, _FAINT = (24, 24, 24), (255, 255, 255), (150, 150, 150)

SELECTOR = "SELECTOR_PYTHON"
_INSTEAD = (
    "write the frame with a grid instead and read the box from it: make frame VIDEO=clip.mp4 FRAME=n, "
    "then give --bbox x1,y1,x2,y2 --frame n."
)


@click.command("frame")
@click.option("-i", "--input", "clip", required=True, type=click.Path(path_type=Path), help="The clip.")
@click.option("--frame", "index", type=int, default=0, show_default=True, help="Which frame, counted from 0.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The PNG.  [default: frame_NNNNN.png]")
def command(clip: Path, index: int, output: Path | None) -> None:
    """Write one frame with a pixel grid, to read a box from.

    Example: python -m tracker.grid -i clip.mp4 --frame 40 -o frame.png
    """
    frame, _ = frame_at(clip, index)
    output = output or Path(f"frame_{index:05d}.png")
    height, width = frame.shape[:2]
    with atomic_file(output) as partial:
        write_png(partial, draw_grid(frame, f"frame {index}, {width}x{height} px"))
    click.echo(f"{output}: frame {index} of {clip}, {width}x{height} px. Read the object's box, then give")
    click.echo(f"  --bbox x1,y1,x2,y2 --frame {index}     (left, top, right, bottom)")


def frame_at(path: Path, index: int) -> tuple[Frame, int]:
    """Frame `index` (H, W, 3) RGB, and the number of frames read to get it.

    Counted by decoding from the start, because seeking is exact only at a constant rate and this reads any clip.
    InputError for a frame that the clip does not have.
    """
    count = 0
    if index >= 0:
        for frame in read_frames(path):
            if count == index:
                return frame, count + 1
            count += 1
        raise InputError(f"frame {index} is not in the clip: {path} has {count} frames, 0 to {count - 1}.")
    raise InputError(f"frame {index} is not in the clip: frames are counted from 0.")


def draw_grid(frame: Frame, caption: str = "") -> Frame:
    """A larger picture (h, w, 3) RGB: `frame` with the grid, in a margin with the labels and one line of text below."""
    height, width = frame.shape[:2]
    scale = max(1, -(-_SMALL_WIDTH // width))
    picture = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4) if scale > 1 else frame
    size = max(0.5, max(picture.shape[:2]) / 2400)  # readable when the whole picture is shown 1000 px wide
    (label_w, label_h), _ = cv2.getTextSize("0000", _FONT, size, _thickness(size))
    pad_x, pad_y = label_w + 12, label_h + 16
    canvas = np.full((picture.shape[0] + 3 * pad_y, picture.shape[1] + 2 * pad_x, 3), _MARGIN, np.uint8)
    inner = canvas[pad_y : pad_y + picture.shape[0], pad_x : pad_x + picture.shape[1]]
    inner[:] = picture
    _draw_lines(inner, scale)
    for x in range(0, width + 1, STEP_PX if label_w < STEP_PX * scale else _STRONG_PX):
        at = pad_x + x * scale
        for y in (pad_y // 2, pad_y + picture.shape[0] + pad_y // 2):
            _label(canvas, x, (at, y), size)
    for y in range(0, height + 1, STEP_PX):
        at = pad_y + y * scale
        for x in (pad_x // 2, pad_x + picture.shape[1] + pad_x // 2):
            _label(canvas, y, (x, at), size)
    cv2.putText(
        canvas, caption, (pad_x, canvas.shape[0] - pad_y // 3), _FONT, size, _INK, _thickness(size), cv2.LINE_AA
    )
    return canvas


def _draw_lines(inner: Frame, scale: int) -> None:
    """Half-transparent lines, light with a dark companion, so that they show on any ground; ticks at the border."""
    drawn = inner.copy()
    height, width = inner.shape[:2]
    for strong in (False, True):
        for at in range(STEP_PX, max(height, width) // scale + 1, STEP_PX):
            if (at % _STRONG_PX == 0) != strong:
                continue
            place = at * scale
            for offset, colour in ((1, (0, 0, 0)), (0, (255, 230, 0) if strong else (255, 255, 255))):
                cv2.line(drawn, (place + offset, 0), (place + offset, height - 1), colour, 1)
                cv2.line(drawn, (0, place + offset), (width - 1, place + offset), colour, 1)
        share = 0.75 if strong else 0.4
        inner[:] = cv2.addWeighted(drawn, share, inner, 1 - share, 0)
        drawn = inner.copy()


def _label(canvas: Frame, number: int, centre: tuple[int, int], size: float) -> None:
    text, thick = str(number), _thickness(size)
    (width, height), _ = cv2.getTextSize(text, _FONT, size, thick)
    origin = (centre[0] - width // 2, centre[1] + height // 2)
    colour = _INK if number % _STRONG_PX == 0 else _FAINT
    cv2.putText(canvas, text, origin, _FONT, size, colour, thick, cv2.LINE_AA)


def _thickness(size: float) -> int:
    return 1 if size < 0.8 else 2


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
    command = [selector_python(), "-m", "selector"]
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


if __name__ == "__main__":
    main(command)
