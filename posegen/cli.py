"""The options of python -m posegen, each with an example.

The command: python -m posegen --run DIR [--object NAME].
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import click

from handoff.box import Box
from handoff.command import FORCE, INPUT, RUN, Option, progress, with_options
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.prompts import Prompt, write_prompt
from handoff.run import Run, Stage, run_stage
from handoff.video import read_frames
from posegen.detect.detections import DETECTIONS
from posegen.detect.skater import Where
from posegen.draw import STYLES
from posegen.extractor import SkaterPoseExtractor
from posegen.keypoints import KPT_THR, MIN_VISIBLE
from posegen.models import DEFAULT_DETECTOR, DEFAULT_MODEL, DETECTORS, MODELS
from posegen.onnx_session import DEVICES
from posegen.outputs import PoseOutputs
from posegen.smooth import METHODS, parameters, smooth
from posegen.stage import DEFAULT_OBJECT, EVERY, NAMES, DetectorChoice, PoseChoice, look, make_backend


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


STAGE = "posegen"
Boxes = Sequence[Box | None]


@runtime_checkable
class TakesBoxes(Protocol):
    """A backend that looks for the skater in his box only."""

    boxes: Boxes | None


@click.command("posegen")
@posegen_options
def command(
    run_dir: Path,
    clip: Path | None,
    thing: str | None,
    where: Where | None,
    every: int | None,
    detector: str | None,
    no_detector: bool,
    backend: str,
    model: str | None,
    device: str,
    smoothing: str,
    style: str,
    prompt_only: bool,
    keep_detections: bool,
    force: bool,
) -> None:
    """Find the object and the skater, and write his skeleton of every frame.

    Writes detections.json, prompts.json, pose.json, pose_json/, pose_skater/ and pose.mp4.

    \b
    python -m posegen --run data/runs/demo -i demo.mp4
    python -m posegen --run data/runs/demo --object snowboard --person 40:310,200
    """
    asked = PoseChoice(backend, model, device)
    needed = backend == "rtmw" or asked.rtmw_only is not None
    wanted = DetectorChoice(thing, where, every, detector, device, needed, no_detector)
    run = ingest(clip, run_dir, force) if clip else Run.open(run_dir)
    found = look(run, wanted, prompt_only, force and not keep_detections)
    if prompt_only:
        return
    boxes = found.boxes if found else None
    behind = make_backend(asked, detector=boxes is not None)
    if isinstance(behind, TakesBoxes):
        behind.boxes = boxes
    extractor = SkaterPoseExtractor(behind)
    params = {"draw": style, "threshold": KPT_THR, "min_visible": MIN_VISIBLE, "smoothing": parameters(smoothing)}
    params["backend"] = "embedded" if extractor.model.embedded else "rtmw"
    inputs = [run.source]
    if found:
        inputs.append(run.path(DETECTIONS))
        params |= {"object": found.name, "person": str(where) if where else None, "boxes": _digest(found.boxes)}
    tools = {key: str(value) for key, value in asdict(extractor.model).items()}
    with run_stage(run, STAGE, params=params, inputs=inputs, tools=tools, force=force) as stage:
        if not stage.unchanged:
            click.echo(f"{STAGE}: {extractor.model}, {run.info.frames} frames")
            _extract(run, stage, extractor, style, smoothing)
        notes = stage.notes
        # prompts.json is shared with the tracker, so it is no output of this stage; it is set right every time
        write_prompt(run, "skater", _prompt(notes))
        if not stage.unchanged:
            _report(run, notes)


def _extract(run: Run, stage: Stage, extractor: SkaterPoseExtractor, style: str, smoothing: str) -> None:
    """Write the stage's files in one pass over the clip and note what was found."""
    frames = run.info.frames
    with PoseOutputs(run, extractor.model, style, smoothing) as outputs:
        clip = progress(read_frames(run.source), total=frames, desc=STAGE)
        for pose in smooth(extractor.extract(clip), smoothing, run.info.fps):
            outputs.write(pose)
        if outputs.frames != frames:
            raise InputError(
                f"{run.source} has {outputs.frames} frames, run.json says {frames}; extract it again with --force."
            )
    for path in outputs.paths:
        stage.add_output(path)
    stage.note("frames", outputs.frames)
    stage.note("frames_with_person", outputs.found)
    surest = outputs.surest
    stage.note("skater", surest.places[0].as_json() if surest else None)


def _digest(boxes: Boxes) -> str:
    """Return the SHA-256 of the skater's boxes, which is all of the detections that the skeleton depends on."""
    text = json.dumps([box.as_list() if box else None for box in boxes])
    return hashlib.sha256(text.encode()).hexdigest()


def _prompt(notes: dict[str, Any]) -> Prompt | None:
    skater = notes.get("skater")
    return Prompt(Box(*skater["box"]), skater["frame"], "pose") if skater else None


def _report(run: Run, notes: dict[str, Any]) -> None:
    found, frames = notes["frames_with_person"], notes["frames"]
    click.echo(f"{STAGE}: a person in {found} of {frames} frames: pose.json, pose.mp4")
    if not found:
        click.echo(f"{STAGE}: warning: nobody was found, so every skeleton is empty", err=True)
