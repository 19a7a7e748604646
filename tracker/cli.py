"""python -m tracker: its options, each with an example, and the command.

    python -m tracker --run DIR [--bbox x1,y1,x2,y2 --frame N]

Importing this loads neither cv2 nor torch: what is mistyped, and --help, need neither.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from handoff.command import BOX, FORCE, INPUT, PATH, RUN, Option, with_options
from handoff.errors import UsageError
from handoff.places import Place, Point, parse_box
from tracker.sam2.sizes import MODELS
from tracker.selection import BACKENDS, DEFAULT_MODEL, DEVICES, TrackerChoice, check_choice, identify


class _PointType(click.ParamType[Point]):
    name = "x,y[,0|1]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Point:
        return value if isinstance(value, Point) else parse_point(value)


class _CorrectionType(click.ParamType[Place]):
    name = "frame:x1,y1,x2,y2"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        return value if isinstance(value, Place) else parse_correction(value)


def parse_point(text: str) -> Point:
    """Parse "190,220" (on the object), "190,220,1" (the same) or "190,260,0" (not on it); UsageError otherwise."""
    point = Point.of(re.split(r"[,\s]+", text.strip()))
    if point is None:
        raise UsageError(f"the point '{text}' is not x,y or x,y,0 or x,y,1 in pixels, such as 190,220.")
    return point


def parse_correction(text: str) -> Place:
    """Parse "50:120,200,260,240", the object's box on frame 50; UsageError otherwise."""
    frame, colon, box = text.partition(":")
    if not colon or not frame.strip().isdigit():
        raise UsageError(f"the correction '{text}' is not frame:x1,y1,x2,y2, such as 50:310,190,420,230.")
    return Place(int(frame), parse_box(box))


_OPTIONS: tuple[Option, ...] = (
    RUN,
    INPUT,
    (("-bbox", "--bbox", "box"), {"type": BOX}, "The object's box in pixels, e.g. --bbox 120,200,260,240"),
    (("--frame",), {"type": int}, "The frame of box or points, counted from 0, e.g. --frame 4  [default: 0]"),
    (
        ("--point", "points"),
        {"type": _PointType(), "multiple": True},
        "A point on the object, or with ,0 one beside it; repeatable; SAM 2.1 only, e.g. --point 190,220 "
        "--point 190,260,0",
    ),
    (
        ("--select",),
        {"is_flag": True},
        "Draw the box with the mouse in a window: of extract_physics.py only, where there is a display, e.g. --select "
        "--frame 4",
    ),
    (
        ("--correct", "corrections"),
        {"type": _CorrectionType(), "multiple": True},
        "The object's box on another frame; repeatable, e.g. --correct 50:310,190,420,230",
    ),
    (
        ("--cuts",),
        {"default": "auto", "show_default": True},
        "Where shots begin: auto looks for cuts, none, or frames. Nothing is carried over a cut; a shot without a box "
        "of its own (--bbox or --correct) is black, e.g. --cuts 50,120",
    ),
    (
        ("--backend",),
        {"type": click.Choice(BACKENDS), "default": "auto", "show_default": True},
        "What tracks. auto: SAM 2.1 where its weights are, else the embedded tracker, e.g. --backend sam2",
    ),
    (
        ("--model",),
        {"type": click.Choice(list(MODELS))},
        f"The size of SAM 2.1, e.g. --model tiny  [default: {DEFAULT_MODEL}]",
    ),
    (
        ("--checkpoint",),
        {"type": PATH},
        "A file of SAM 2.1's weights in place of the models folder's, e.g. --checkpoint sam2.1_hiera_large.pt",
    ),
    (
        ("--config",),
        {},
        "The configuration that must fit the checkpoint, e.g. --config configs/sam2.1/sam2.1_hiera_l.yaml",
    ),
    (
        ("--device",),
        {"type": click.Choice(DEVICES), "default": "auto", "show_default": True},
        "Where SAM 2.1 runs. auto: on the GPU where there is one, e.g. --device cpu",
    ),
    (
        ("--compile", "compiled"),
        {"is_flag": True},
        "Compile SAM 2.1 first: minutes, then faster, more GPU memory, e.g. --model tiny --compile",
    ),
    (
        ("--keep",),
        {"type": click.Choice(["all", "largest"]), "default": "all", "show_default": True},
        "Which parts of a mask to keep, e.g. --keep largest",
    ),
    (
        ("--fill-holes", "fill_px"),
        {"type": click.IntRange(0), "default": 0, "show_default": True},
        "Fill holes of at most so many pixels, e.g. --fill-holes 30",
    ),
    (
        ("--verify",),
        {"is_flag": True},
        "Track back from the last good mask and compare, a witness of drift: as long again as tracking. The default of "
        "the embedded tracker, e.g. --run runs/demo --verify",
    ),
    (
        ("--no-verify",),
        {"is_flag": True},
        "Do not track back: the default of SAM 2.1, e.g. --run runs/demo --no-verify",
    ),
    FORCE,
    (
        ("--check",),
        {"is_flag": True},
        "Check prompt, weights and device against the clip, write prompts.json and stop, e.g. --bbox 120,200,260,240 "
        "--check",
    ),
)


@click.command("tracker")
@with_options(*_OPTIONS)
def command(
    backend: str,
    model: str | None,
    device: str,
    compiled: bool,
    checkpoint: Path | None,
    config: str | None,
    verify: bool,
    no_verify: bool,
    **task: Any,
) -> None:
    """Find the object in every frame of the run's clip: mask.mp4, mask_skateboard/, and human_mask.mp4.

    The object's place comes from --bbox, --point or --select, else from the run's prompts.json.

    \b
    python -m tracker --run data/runs/demo --bbox 120,200,260,240 --frame 0
    python -m tracker --run data/runs/demo --correct 50:310,190,420,230
    """
    if task["select"] and task["box"] is not None:
        raise UsageError("--select draws the box that --bbox gives; use one of them.")
    if verify and no_verify:
        raise UsageError("--verify tracks back and --no-verify does not; use one of them.")
    tracker = TrackerChoice(backend, model, device, compiled, checkpoint=checkpoint, config=config)
    check_choice(tracker)
    if checkpoint is not None:
        identify(checkpoint, config)  # refused before the clip is touched
    from tracker.stage import Task, track_object

    track_object(Task(tracker=tracker, verified=verify or (False if no_verify else None), **task))
