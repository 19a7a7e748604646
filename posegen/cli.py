"""python -m posegen: the skater's skeleton in every frame of a run's clip."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from handoff.box import Box
from handoff.errors import InputError
from handoff.ingest import ingest
from handoff.progress import progress
from handoff.prompts import Prompt, write_prompt
from handoff.run import Run
from handoff.stage import Stage, run_stage
from handoff.video import read_frames
from posegen.draw import STYLES
from posegen.extractor import BACKENDS, SkaterPoseExtractor
from posegen.outputs import PoseOutputs
from posegen.people import KPT_THR, MIN_VISIBLE

STAGE = "posegen"


def _extract(run: Run, stage: Stage, extractor: SkaterPoseExtractor, style: str) -> None:
    """Write the stage's files in one pass over the clip and note what was found."""
    frames = run.info.frames
    with PoseOutputs(run, extractor.model, style) as outputs:
        clip = progress(read_frames(run.source), total=frames, desc=STAGE)
        for pose in extractor.extract(clip):
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


def _prompt(notes: dict[str, Any]) -> Prompt | None:
    skater = notes.get("skater")
    return Prompt(Box(*skater["box"]), skater["frame"], "pose") if skater else None


def _report(run: Run, notes: dict[str, Any]) -> None:
    found, frames = notes["frames_with_person"], notes["frames"]
    click.echo(f"{STAGE}: a person in {found} of {frames} frames; pose.json and pose.mp4 are in {run.dir}")
    if not found:
        click.echo(f"{STAGE}: warning: nobody was found, so every skeleton is empty", err=True)


@click.command(context_settings={"show_default": True})
@click.option("--run", "run_dir", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option("-i", "--input", "clip", type=click.Path(path_type=Path), help="A clip to make the run folder of.")
@click.option("--backend", type=click.Choice(list(BACKENDS)), default="embedded", help="What finds the skeleton.")
@click.option("--draw", "style", type=click.Choice(list(STYLES)), default="vace", help="How skeletons are drawn.")
@click.option("--force", is_flag=True, help="Do the work again even if nothing has changed.")
def command(run_dir: Path, clip: Path | None, backend: str, style: str, force: bool) -> None:
    """Write the skater's skeleton of every frame: pose.json, pose_json/, pose_skater/, pose.mp4, person_mask.mp4."""
    run = ingest(clip, run_dir, force) if clip else Run.open(run_dir)
    extractor = SkaterPoseExtractor(backend)
    params = {"draw": style, "threshold": KPT_THR, "min_visible": MIN_VISIBLE}
    tools = {key: str(value) for key, value in asdict(extractor.model).items()}
    with run_stage(run, STAGE, params=params, inputs=[run.source], tools=tools, force=force) as stage:
        if not stage.unchanged:
            click.echo(f"{STAGE}: {extractor.model}, {run.info.frames} frames")
            _extract(run, stage, extractor, style)
        notes = stage.notes
        # prompts.json is shared with the tracker, so it is no output of this stage; it is set right every time
        write_prompt(run, "skater", _prompt(notes))
        if not stage.unchanged:
            _report(run, notes)
