"""The command: python -m posegen --run DIR [--object NAME]."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import click

from handoff.box import Box
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.progress import progress
from handoff.prompts import Prompt, write_prompt
from handoff.run import Run
from handoff.stage import Stage, run_stage
from handoff.video import read_frames
from posegen.choice import Wanted, make_backend
from posegen.detect.record import FILE as DETECTIONS
from posegen.detect.skater import Where
from posegen.extractor import SkaterPoseExtractor
from posegen.looking import Look, look
from posegen.options import posegen_options
from posegen.outputs import PoseOutputs
from posegen.people import KPT_THR, MIN_VISIBLE
from posegen.smooth import parameters, smooth

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
    asked = Wanted(backend, model, device)
    needed = backend == "rtmw" or asked.rtmw_only is not None
    wanted = Look(thing, where, every, detector, device, needed, no_detector)
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
