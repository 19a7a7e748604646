"""The command: python -m tracker --run DIR [--bbox x1,y1,x2,y2 --frame N]."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from handoff.box import BOX, Box, check_box
from handoff.errors import InputError, UsageError
from handoff.ingest import ingest
from handoff.prompts import Prompt, read_prompts, write_prompt
from handoff.run import Run
from handoff.stage import Stage, run_stage, tool_versions
from tracker.backends import BACKENDS
from tracker.human import HUMAN_FOLDER, HUMAN_VIDEO, PERSON_VIDEO, write_human_mask
from tracker.tracker import SkateboardTracker


@click.command("tracker")
@click.option("--run", "run_dir", required=True, type=click.Path(path_type=Path), help="The run folder.")
@click.option("-i", "--input", "clip", type=click.Path(path_type=Path), help="A clip to make the run folder of.")
@click.option("-bbox", "--bbox", "box", type=BOX, help="The object's box in pixels, e.g. 120,200,260,240.")
@click.option("--frame", type=int, help="The frame the box is on, counted from 0.  [default: 0]")
@click.option("--backend", type=click.Choice(sorted(BACKENDS)), default="embedded", show_default=True)
@click.option("--force", is_flag=True, help="Do it again even if nothing has changed.")
@click.option("--prompt-only", is_flag=True, help="Check the box against the clip, write prompts.json and stop.")
def command(
    run_dir: Path, clip: Path | None, box: Box | None, frame: int | None, backend: str, force: bool, prompt_only: bool
) -> None:
    """Find the object in every frame of the run's clip: mask.mp4, mask_skateboard/, and human_mask.mp4.

    The box comes from --bbox, else from the run's prompts.json.

    Example: python -m tracker --run data/runs/demo --bbox 120,200,260,240 --frame 0
    """
    run = ingest(clip, run_dir, force) if clip else Run.open(run_dir)
    prompt = choose_prompt(run, box, frame)
    if prompt_only:
        with run.lock():
            write_prompt(run, "object", prompt)
        return
    tracker = SkateboardTracker(backend)
    params = {"backend": backend, "box": prompt.box.as_list(), "frame": prompt.frame}
    inputs = [run.source]
    if run.path(PERSON_VIDEO).exists():
        inputs.append(run.path(PERSON_VIDEO))
    tools = {"tracker": tracker.description} | tool_versions("numpy", "opencv-python-headless", "av")
    with run_stage(run, "tracker", params=params, inputs=inputs, tools=tools, force=force) as stage:
        if not stage.unchanged:
            write_prompt(run, "object", prompt)
            stage.add_output(run.path("prompts.json"))
            track(run, tracker, prompt, stage)


def choose_prompt(run: Run, box: Box | None, frame: int | None) -> Prompt:
    """The prompt from the flags, else from prompts.json; raises before anything is written when it cannot be used."""
    info = run.info
    if box is None:
        stored = read_prompts(run).get("object")
        if stored is None or (frame is not None and frame != stored.frame):
            raise UsageError(
                f"where is the object{'' if frame is None else f' on frame {frame}'}? Give its box in pixels: "
                "--bbox x1,y1,x2,y2, and --frame N for the frame it is on."
            )
        prompt = stored
    else:
        prompt = Prompt(box, 0 if frame is None else frame, "flag")
    if not 0 <= prompt.frame < info.frames:
        raise InputError(
            f"frame {prompt.frame} is not in the clip: it has {info.frames} frames, 0 to {info.frames - 1}."
        )
    check_box(prompt.box, info.width, info.height)
    return prompt


def track(run: Run, tracker: SkateboardTracker, prompt: Prompt, stage: Stage) -> None:
    """Track, write the masks, say what came of it."""
    info = run.info
    click.echo(f"tracker: {tracker.description}; box {prompt.box} on frame {prompt.frame} of {info.frames}")
    tracker.init_video(run.source)
    tracker.add_initial_prompt(prompt.frame, prompt.box)
    video, pngs = tracker.propagate_and_save(run.dir)
    stage.add_output(video)
    stage.add_output(pngs)
    lost = tracker.lost_frames
    stage.note("frames_tracked", info.frames - len(lost))
    stage.note("frames_lost", ranges(lost))
    click.echo(
        f"tracker: object found in {info.frames - len(lost)} of {info.frames} frames"
        + (f"; lost in {', '.join(ranges(lost))}" if lost else "")
    )
    if len(lost) == info.frames:
        click.echo("tracker: the object was not found in any frame; give a box that fits it more closely.")
    human = write_human_mask(run.dir, video, info)
    stage.note("human_mask", "person_mask.mp4 minus the object" if human else "none: there is no person_mask.mp4")
    if human is None:
        run.path(HUMAN_VIDEO).unlink(missing_ok=True)  # one of an earlier run would not fit this object mask
        shutil.rmtree(run.path(HUMAN_FOLDER), ignore_errors=True)
        click.echo(f"tracker: no {PERSON_VIDEO} in the run, so no skater mask is written; run the pose stage for one.")
        return
    for path in human:
        stage.add_output(path)


def ranges(frames: list[int]) -> list[str]:
    """Rising frame numbers as text: [3, 4, 5, 9] becomes ["3-5", "9"]."""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return [str(a) if a == b else f"{a}-{b}" for a, b in spans]
