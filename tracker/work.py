"""The stage's work once it is known that there is some: masks written, what came of it said and noted."""

from __future__ import annotations

import shutil

import click

from handoff.prompts import Prompt
from handoff.run import Run
from handoff.stage import Stage
from tracker.human import HUMAN_FOLDER, HUMAN_VIDEO, PERSON_VIDEO, write_human_mask
from tracker.tracker import SkateboardTracker

_SCORE_DIGITS = 3


def track(run: Run, tracker: SkateboardTracker, prompt: Prompt, stage: Stage) -> None:
    """Track, write the masks, say what came of it."""
    info = run.info
    first, more = prompt.places[0], len(prompt.corrections)
    where = f"box {first.box}" if first.box else f"{len(first.points)} point(s)"
    corrected = f", {more} correction(s)" if more else ""
    click.echo(f"tracker: {tracker.description}; {where} on frame {first.frame} of {info.frames}{corrected}")
    video, pngs = tracker.propagate_and_save(run.dir)
    stage.add_output(video)
    stage.add_output(pngs)
    lost = tracker.lost_frames
    stage.note("frames_tracked", info.frames - len(lost))
    stage.note("frames_lost", ranges(lost))
    if tracker.scores:
        stage.note("object_scores", [round(score, _SCORE_DIGITS) for score in tracker.scores])
    click.echo(
        f"tracker: object found in {info.frames - len(lost)} of {info.frames} frames"
        + (f"; lost in {', '.join(ranges(lost))}" if lost else "")
    )
    if len(lost) == info.frames:
        click.echo("tracker: the object was not found in any frame; give a box that fits it more closely.")
    add_human_mask(run, tracker, stage)


def add_human_mask(run: Run, tracker: SkateboardTracker, stage: Stage) -> None:
    """List the skater's mask that the tracker wrote, else make one of the pose stage's, else leave none."""
    video, pngs = run.path(HUMAN_VIDEO), run.path(HUMAN_FOLDER)
    if tracker.makes_human_mask:
        stage.note("human_mask", f"tracked by {tracker.backend.name}")
    elif write_human_mask(run.dir, run.path("mask.mp4"), run.info):
        stage.note("human_mask", f"{PERSON_VIDEO} minus the object")
    else:
        stage.note("human_mask", f"none: there is no {PERSON_VIDEO}")
        video.unlink(missing_ok=True)  # one of an earlier run would not fit this object mask
        shutil.rmtree(pngs, ignore_errors=True)
        click.echo(f"tracker: no {PERSON_VIDEO} in the run, so no skater mask is written; run the pose stage for one.")
        return
    stage.add_output(video)
    stage.add_output(pngs)


def ranges(frames: list[int]) -> list[str]:
    """Rising frame numbers as text: [3, 4, 5, 9] becomes ["3-5", "9"]."""
    spans: list[list[int]] = []
    for frame in frames:
        if spans and frame == spans[-1][1] + 1:
            spans[-1][1] = frame
        else:
            spans.append([frame, frame])
    return [str(a) if a == b else f"{a}-{b}" for a, b in spans]
