"""python -m tracker.grid: its options and the command. Importing this loads no cv2."""

from __future__ import annotations

from pathlib import Path

import click

from handoff.command import PATH, Option, with_options
from handoff.errors import UsageError
from handoff.files import atomic_file

_OPTIONS: tuple[Option, ...] = (
    (("-i", "--input", "clip"), {"type": PATH}, "The clip, e.g. -i clip.mp4"),
    (("--run", "run_dir"), {"type": PATH}, "A run, in place of its clip, e.g. --run runs/demo"),
    (("--frame", "index"), {"type": int, "default": 0, "show_default": True}, "Which frame, counted from 0."),
    (("-o", "--output"), {"type": PATH}, "The PNG.  [default: frame_NNNNN.png]"),
)


@click.command("frame")
@with_options(*_OPTIONS)
def command(clip: Path | None, run_dir: Path | None, index: int, output: Path | None) -> None:
    """Write one frame with a pixel grid, to read a box from.

    The frame is the one that every stage sees: turned, with square pixels, at a constant rate.

    Example: python -m tracker.grid -i clip.mp4 --frame 40 -o frame.png
    """
    if (clip is None) == (run_dir is None):
        raise UsageError("give either -i CLIP or --run RUN, one of the two.")
    from handoff.ingest import shown_frames  # here, not above: these bring OpenCV
    from handoff.masks import write_png
    from handoff.run import Run
    from handoff.video import read_frames
    from tracker.grid.drawing import draw_grid, frame_of

    if clip is None:
        clip = Run.open(run_dir or Path()).source
    frame = frame_of(clip, index, shown_frames if run_dir is None else read_frames)
    output = output or Path(f"frame_{index:05d}.png")
    height, width = frame.shape[:2]
    with atomic_file(output) as partial:
        write_png(partial, draw_grid(frame, f"frame {index}, {width}x{height} px"))
    click.echo(f"{output}: frame {index} of {clip}, {width}x{height} px. Read the object's box, then give")
    click.echo(f"  --bbox x1,y1,x2,y2 --frame {index}     (left, top, right, bottom)")
