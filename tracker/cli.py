"""The command: python -m tracker --run DIR [--bbox x1,y1,x2,y2 --frame N]."""

from __future__ import annotations

from pathlib import Path

import click

from handoff.box import Box
from handoff.errors import UsageError
from handoff.ingest import ingest
from handoff.prompts import Place, Point, read_prompts, write_prompt
from handoff.run import Run
from handoff.stage import run_stage, tool_versions
from tracker.choice import Wanted, make_backend
from tracker.cleanup import Keep
from tracker.grid import frame_at
from tracker.human import PERSON_VIDEO
from tracker.options import tracker_options
from tracker.places import choose_prompt
from tracker.select import select_box, selector_python
from tracker.skater import POSES
from tracker.work import Task, track


@click.command("tracker")
@tracker_options
def command(
    run_dir: Path,
    clip: Path | None,
    box: Box | None,
    frame: int | None,
    points: tuple[Point, ...],
    select: bool,
    corrections: tuple[Place, ...],
    cuts: str,
    backend: str,
    model: str | None,
    device: str,
    compiled: bool,
    keep: Keep,
    fill_px: int,
    verified: bool,
    force: bool,
    prompt_only: bool,
) -> None:
    """Find the object in every frame of the run's clip: mask.mp4, mask_skateboard/, and human_mask.mp4.

    The object's place comes from --bbox, --point or --select, else from the run's prompts.json.

    \b
    python -m tracker --run data/runs/demo --bbox 120,200,260,240 --frame 0
    python -m tracker --run data/runs/demo --correct 50:310,190,420,230
    """
    if select:
        if box is not None:
            raise UsageError("--select draws the box that --bbox gives; use one of them.")
        selector_python()  # said before any work
    run = ingest(clip, run_dir, force) if clip else Run.open(run_dir)
    if select:
        click.echo("tracker: drag a box around the object in the window; Enter takes it, Esc or c gives up")
        box = select_box(frame_at(run.source, frame or 0)[0])
    prompt = choose_prompt(run, box, points, frame, corrections, "drawn" if select else "flag")
    tracker = make_backend(Wanted(backend, model, device, compiled), quiet=prompt_only)
    tracker.check(prompt.places)
    if prompt_only:
        with run.lock():
            write_prompt(run, "object", prompt)
        return
    task = Task(prompt, cuts, keep, fill_px, verified)
    skater = read_prompts(run).get("skater") if tracker.tracks_skater else None
    params = tracker.params | prompt.places_as_json() | task.params
    if skater is not None:
        params["skater"] = skater.places[0].as_json()
    inputs = [run.source, *(path for path in [run.path(POSES if skater else PERSON_VIDEO)] if path.exists())]
    tools = {"tracker": tracker.description}
    tools |= tool_versions("numpy", "opencv-python-headless", "av", *tracker.versions)
    with run_stage(run, "tracker", params=params, inputs=inputs, tools=tools, force=force) as stage:
        if not stage.unchanged:
            write_prompt(run, "object", prompt)
            stage.add_output(run.path("prompts.json"))
            track(run, tracker, task, stage)
