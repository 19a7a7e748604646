"""The command python -m posegen and all its options, each with an example.

Nothing heavy is imported before the options are right; what a run does is in `posegen.stage`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from handoff.command import FORCE, INPUT, PATH, RUN, Option, with_options
from handoff.errors import UsageError
from posegen.choice import (
    BACKENDS,
    DEFAULT_OBJECT,
    DEVICES,
    EVERY,
    METHODS,
    STYLES,
    PoseChoice,
    Where,
    as_another,
)
from posegen.models import DEFAULT_DETECTOR, DEFAULT_MODEL, DETECTORS, MODELS


class _WhereType(click.ParamType[Where]):
    name = "frame:x,y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        return value if isinstance(value, Where) else Where.parse(value)


FOUND_BY: tuple[Option, ...] = (
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
        ("--pose-backend", "--backend", "backend"),
        {"type": click.Choice(BACKENDS), "default": BACKENDS[0], "show_default": True},
        "What finds the skeleton. auto: RTMW where its weights and the detector's are, else MediaPipe, the embedded "
        "one, e.g. --pose-backend rtmw",
    ),
    (
        ("--pose-model", "--model", "model"),
        {"type": click.Choice(list(MODELS))},
        f"Which RTMW, e.g. --pose-model rtmw-m  [default: {DEFAULT_MODEL}]",
    ),
    (
        ("--smooth", "smoothing"),
        {"type": click.Choice(METHODS), "default": METHODS[0], "show_default": True},
        "How the skeleton is smoothed over time; the raw keypoints are kept beside, e.g. --smooth none",
    ),
)
"""How a skeleton is found: what --again-as takes over from another run, and so does not go with it."""

OPTIONS: tuple[Option, ...] = (
    RUN,
    INPUT,
    *FOUND_BY,
    (
        ("--again-as",),
        {"type": PATH, "metavar": "RUN"},
        "Find the skeleton of another clip exactly as that of this run was found: backend, model, smoothing, detector, "
        "who the skater is, e.g. --run /tmp/again -i output.mp4 --again-as runs/demo",
    ),
    (
        ("--device",),
        {"type": click.Choice(DEVICES), "default": DEVICES[0], "show_default": True},
        "Where detector and RTMW run. auto: on the GPU where there is one that works, e.g. --device cpu",
    ),
    (
        ("--draw", "style"),
        {"type": click.Choice(STYLES), "default": STYLES[0], "show_default": True},
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


@click.command("posegen")
@with_options(*OPTIONS)
def command(
    run_dir: Path,
    clip: Path | None,
    again_as: Path | None,
    device: str,
    style: str,
    prompt_only: bool,
    keep_detections: bool,
    force: bool,
    **found_by: Any,
) -> None:
    """Find the object and the skater, and write his skeleton of every frame.

    Writes detections.json, prompts.json, pose.json, pose_json/, pose_skater/ and pose.mp4.

    \b
    python -m posegen --run data/runs/demo -i demo.mp4
    python -m posegen --run data/runs/demo --object snowboard --person 40:310,200
    """
    if again_as is not None:
        _refuse_what_is_taken_over([*found_by, "prompt_only"])
        asked = as_another(again_as, device, style)
    else:
        asked = PoseChoice(device=device, style=style, **found_by)
    from posegen.stage import extract_pose  # here, not above: what is refused is refused before OpenCV is loaded

    extract_pose(run_dir, clip, asked, prompt_only=prompt_only, keep_detections=keep_detections, force=force)


def _refuse_what_is_taken_over(names: list[str]) -> None:
    """Raise UsageError where one of these parameters was given beside --again-as."""
    context = click.get_current_context()
    for each in context.command.params:
        if each.name in names and context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{each.opts[0]} does not go with --again-as, which takes that run's own; leave one out.")
