"""The stage's work once it is known that there is some: masks written, what came of it said and noted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from handoff.progress import progress
from handoff.prompts import Prompt
from handoff.run import Run
from handoff.spans import span_text, spans_of
from handoff.stage import Stage
from handoff.video import read_frames
from tracker.backends import Backend, Mask
from tracker.cleanup import Keep, clean
from tracker.cuts import parse_cuts, shots_of
from tracker.human import HUMAN_FOLDER, HUMAN_VIDEO, PERSON_VIDEO, write_human_mask
from tracker.skater import skater_places
from tracker.tracker import SkateboardTracker
from tracker.verify import verify


@dataclass(frozen=True)
class Task:
    """What is asked for, beside the tracker. cuts: "auto", "none" or frames; fill_px: largest hole that is filled."""

    prompt: Prompt
    cuts: str = "auto"
    keep: Keep = "all"
    fill_px: int = 0
    verified: bool = False

    @property
    def params(self) -> dict[str, Any]:
        """For run.json, beside the prompt."""
        return {"cuts": self.cuts, "keep": self.keep, "fill_holes": self.fill_px, "verify": self.verified}


def track(run: Run, backend: Backend, task: Task, stage: Stage) -> None:
    """Track, write the masks, say what came of it."""
    info, places = run.info, task.prompt.places
    first, more = places[0], len(places) - 1
    where = f"box {first.box}" if first.box else f"{len(first.points)} point(s)"
    corrected = f", {more} correction(s)" if more else ""
    click.echo(f"tracker: {backend.description}; {where} on frame {first.frame} of {info.frames}{corrected}")
    shots = find_shots(run, task)
    skater = skater_places(run, shots) if backend.tracks_skater else ()
    tracker = SkateboardTracker(backend)
    tracker.init_video(run.source)
    tracker.set_places(places)
    tracker.set_skater(skater)
    tracker.set_shots(shots)
    tracker.set_cleanup(task.keep, task.fill_px)
    video, pngs = tracker.propagate_and_save(run.dir)
    stage.add_output(video)
    stage.add_output(pngs)
    stage.note("cuts", [shot.start for shot in shots[1:]])
    stage.note("skater", [place.as_json() for place in skater])
    lost = tracker.lost_frames
    stage.note("frames_tracked", info.frames - len(lost))
    stage.note("frames_lost", ranges(lost))
    stage.note("status", tracker.status.to_json())
    click.echo(
        f"tracker: object found in {info.frames - len(lost)} of {info.frames} frames"
        + (f"; lost in {', '.join(ranges(lost))}" if lost else "")
    )
    click.echo(f"tracker: {tracker.status.summary()}")
    if len(lost) == info.frames:
        click.echo("tracker: the object was not found in any frame; give a box that fits it more closely.")
    add_human_mask(run, tracker, stage)
    if task.verified:
        stage.note("verify", verify_shots(run, backend, task, shots))


def find_shots(run: Run, task: Task) -> list[range]:
    """The shots of the clip; says where the cuts are and which shots will be black for want of a place."""
    info = run.info
    frames = progress(read_frames(run.source), total=info.frames, desc="cuts")
    shots = shots_of(parse_cuts(task.cuts, frames, info.frames), info.frames)
    if len(shots) > 1:
        click.echo(f"tracker: {len(shots)} shots, beginning at frames {', '.join(str(shot.start) for shot in shots)}")
    for shot in shots:
        if not any(place.frame in shot for place in task.prompt.places):
            click.echo(
                f"tracker: warning: no box in the shot of frames {shot.start} to {shot.stop - 1}, so the object is "
                f"black there; give one with --correct FRAME:x1,y1,x2,y2, or --cuts none if that is no cut",
                err=True,
            )
    return shots


def verify_shots(run: Run, backend: Backend, task: Task, shots: Sequence[range]) -> list[dict[str, Any]]:
    """Track each shot that has a place a second time, toward that place; what came of it, a record a shot."""

    def retrack(start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        for index, again in backend.retrack(run.source, run.info, start, mask, frames):
            yield index, clean(again, task.keep, task.fill_px)  # as the first track's masks were

    records = []
    for shot in shots:
        here = [place.frame for place in task.prompt.places if place.frame in shot]
        if here:
            log = verify(run.path("mask.mp4"), here[0], shot, retrack)
            click.echo(f"tracker: {log.summary()}")
            records.append({"shot": [shot.start, shot.stop - 1], **log.to_json()})
    return records


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
    return [span_text(*span) for span in spans_of(frames)]
