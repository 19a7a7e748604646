"""The command: python -m tracker --run DIR [--bbox x1,y1,x2,y2 --frame N]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from handoff.box import BOX, Box
from handoff.ingest import ingest
from handoff.prompts import Place, Point, Prompt, write_prompt
from handoff.run import Run
from handoff.stage import run_stage, tool_versions
from tracker.choice import BACKENDS, DEFAULT_MODEL, Wanted, make_backend
from tracker.human import PERSON_VIDEO
from tracker.options import CORRECTION, POINT
from tracker.places import choose_prompt
from tracker.sam2.backend import DEVICES, MODELS
from tracker.skater import skater_places
from tracker.tracker import SkateboardTracker
from tracker.work import track


@click.command("tracker")
@click.option(
    "--run", "run_dir", required=True, type=click.Path(path_type=Path), help="The run folder, e.g. --run data/runs/demo"
)
@click.option(
    "-i", "--input", "clip", type=click.Path(path_type=Path), help="A clip to make the run folder of, e.g. -i ollie.mp4"
)
@click.option("-bbox", "--bbox", "box", type=BOX, help="The object's box in pixels, e.g. --bbox 120,200,260,240")
@click.option(
    "--frame", type=int, help="The frame of the box or the points, counted from 0, e.g. --frame 4  [default: 0]"
)
@click.option(
    "--point",
    "points",
    type=POINT,
    multiple=True,
    help="A point on the object, or with ,0 one beside it; repeatable; SAM 2.1 only, "
    "e.g. --point 190,220 --point 190,260,0",
)
@click.option(
    "--correct",
    "corrections",
    type=CORRECTION,
    multiple=True,
    help="The object's box on another frame; repeatable, e.g. --correct 50:310,190,420,230",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="auto",
    show_default=True,
    help="What tracks. auto: SAM 2.1 where its weights are, else the embedded tracker, e.g. --backend sam2",
)
@click.option(
    "--model",
    type=click.Choice(list(MODELS)),
    help=f"The size of SAM 2.1, e.g. --model tiny  [default: {DEFAULT_MODEL}]",
)
@click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    help="Where SAM 2.1 runs. auto: on the GPU where there is one, e.g. --device cpu",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Compile SAM 2.1 first: minutes, then faster, more GPU memory, e.g. --model tiny --compile",
)
@click.option("--force", is_flag=True, help="Do it again even if nothing has changed, e.g. --run demo --force")
@click.option(
    "--prompt-only",
    is_flag=True,
    help="Check the prompt against the clip, write prompts.json and stop, e.g. --bbox 120,200,260,240 --prompt-only",
)
def command(
    run_dir: Path,
    clip: Path | None,
    box: Box | None,
    frame: int | None,
    points: tuple[Point, ...],
    corrections: tuple[Place, ...],
    force: bool,
    prompt_only: bool,
    **wanted: Any,
) -> None:
    """Find the object in every frame of the run's clip: mask.mp4, mask_skateboard/, and human_mask.mp4.

    The object's place comes from --bbox or --point, else from the run's prompts.json.

    \b
    python -m tracker --run data/runs/demo --bbox 120,200,260,240 --frame 0
    python -m tracker --run data/runs/demo --correct 50:310,190,420,230
    """
    run = ingest(clip, run_dir, force) if clip else Run.open(run_dir)
    prompt = choose_prompt(run, box, points, frame, corrections)
    backend = make_backend(Wanted(**wanted), quiet=prompt_only)
    backend.check(prompt.places)
    if prompt_only:
        with run.lock():
            write_prompt(run, "object", prompt)
        return
    shots = [range(run.info.frames)]
    skater = skater_places(run, shots) if backend.tracks_skater else ()
    inputs = [run.source]
    if not skater and run.path(PERSON_VIDEO).exists():
        inputs.append(run.path(PERSON_VIDEO))
    tools = {"tracker": backend.description}
    tools |= tool_versions("numpy", "opencv-python-headless", "av", *backend.versions)
    params = backend.params | describe(prompt, skater)
    with run_stage(run, "tracker", params=params, inputs=inputs, tools=tools, force=force) as stage:
        if not stage.unchanged:
            write_prompt(run, "object", prompt)
            stage.add_output(run.path("prompts.json"))
            tracker = SkateboardTracker(backend)
            tracker.init_video(run.source)
            tracker.set_places(prompt.places)
            tracker.set_skater(skater)
            tracker.set_shots(shots)
            track(run, tracker, prompt, stage)


def describe(prompt: Prompt, skater: tuple[Place, ...]) -> dict[str, Any]:
    """The prompts as run.json keeps them: what the evaluator needs to track again from the same places."""
    places = prompt.as_json()
    places.pop("from")
    return places | ({"skater": [place.as_json() for place in skater]} if skater else {})
