"""The options of python -m posegen, each with an example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from handoff.options import FORCE, INPUT, RUN, Option, with_options
from posegen.choice import NAMES
from posegen.detect.models import DEFAULT_MODEL as DEFAULT_DETECTOR
from posegen.detect.models import MODELS as DETECTORS
from posegen.detect.skater import Where
from posegen.detect.stage import EVERY
from posegen.draw import STYLES
from posegen.onnx_session import DEVICES
from posegen.rtmw.models import DEFAULT_MODEL, MODELS
from posegen.smooth import METHODS

DEFAULT_OBJECT = "skateboard"


class _WhereType(click.ParamType[Where]):
    name = "frame:x,y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        return value if isinstance(value, Where) else Where.parse(value)


_OPTIONS: tuple[Option, ...] = (
    RUN,
    INPUT,
    (
        ("--object", "thing"),
        {"metavar": "NAME"},
        "What to find, one of COCO's 80 classes; replaces a box given by hand, e.g. --object snowboard  "
        f"[default: that of the last run, at first {DEFAULT_OBJECT}]",
    ),
    (
        ("--person", "where"),
        {"type": _WhereType()},
        "Who the skater is: a point or a box on him in one frame, e.g. --person 40:310,200 or "
        "--person 40:250,90,380,420  [default: who is nearest the object]",
    ),
    (
        ("--every",),
        {"type": click.IntRange(1), "metavar": "N"},
        f"Detect in every Nth frame and interpolate between, e.g. --every 4  [default: {EVERY}]",
    ),
    (
        ("--detector",),
        {"type": click.Choice(list(DETECTORS))},
        f"The size of the YOLOX detector, e.g. --detector s  [default: {DEFAULT_DETECTOR}]",
    ),
    (
        ("--no-detector",),
        {"is_flag": True},
        "Look for the skater in the whole picture, even where a detector's weights are there, e.g. --no-detector",
    ),
    (
        ("--backend",),
        {"type": click.Choice(NAMES), "default": "auto", "show_default": True},
        "What finds the skeleton. auto: RTMW where its weights and the detector's are, else MediaPipe, the embedded "
        "one, e.g. --backend rtmw",
    ),
    (
        ("--model",),
        {"type": click.Choice(list(MODELS))},
        f"Which RTMW, e.g. --model rtmw-m  [default: {DEFAULT_MODEL}]",
    ),
    (
        ("--device",),
        {"type": click.Choice(DEVICES), "default": "auto", "show_default": True},
        "Where detector and RTMW run. auto: on the GPU where there is one that works, e.g. --device cpu",
    ),
    (
        ("--smooth", "smoothing"),
        {"type": click.Choice(METHODS), "default": METHODS[0], "show_default": True},
        "How the skeleton is smoothed over time; the raw keypoints are kept beside, e.g. --smooth one-euro",
    ),
    (
        ("--draw", "style"),
        {"type": click.Choice(list(STYLES)), "default": "vace", "show_default": True},
        "How skeletons are drawn, e.g. --draw openpose",
    ),
    (
        ("--prompt-only",),
        {"is_flag": True},
        "Find the object, write prompts.json and stop, e.g. --object skateboard --prompt-only",
    ),
    (
        ("--keep-detections",),
        {"is_flag": True},
        "With --force: do only the skeleton again, e.g. --run runs/demo --force --keep-detections",
    ),
    FORCE,
)


def posegen_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a click command all options of the pose stage."""
    return with_options(*_OPTIONS)(function)
