"""Checking and choosing where the object is: flags, else prompts.json.

Where the skater is, for a tracker that follows him too: his box, and the surest keypoints of the pose model.

The skater's mask from the pose stage's own segmentation.

The stage's work once it is known that there is some: masks written, what came of it said and noted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from handoff.box import Box
from handoff.command import progress, span_text, spans_of
from handoff.errors import InputError, UsageError
from handoff.masks import Mask, MaskSequenceWriter, check_mask_sequence, read_masks
from handoff.poses import Person, read_poses
from handoff.prompts import Place, Point, Prompt, check_places, read_prompts
from handoff.run import Run, Stage
from handoff.video import ClipInfo, read_frames
from tracker.cleanup import Keep, clean
from tracker.cuts import parse_cuts, shots_of
from tracker.interface import TrackerBackend
from tracker.quality import verify
from tracker.tracker import HUMAN_FOLDER, HUMAN_VIDEO, SkateboardTracker


def choose_prompt(
    run: Run,
    box: Box | None,
    points: Sequence[Point],
    frame: int | None,
    corrections: Sequence[Place],
    origin: str = "flag",
) -> Prompt:
    """The prompt from the flags, else from prompts.json; raises before anything is written when it cannot be used.

    A box or points from the flags replace all that prompts.json says; corrections alone replace its corrections.
    """
    if box is None and not points:
        stored = read_prompts(run).get("object")
        if stored is None or (frame is not None and frame != stored.frame):
            raise UsageError(
                f"where is the object{'' if frame is None else f' on frame {frame}'}? Give its box in pixels: "
                "--bbox x1,y1,x2,y2, and --frame N for the frame it is on."
            )
        kept = tuple(corrections) or stored.corrections
        prompt = replace(stored, corrections=kept)
    else:
        prompt = Prompt(box, 0 if frame is None else frame, origin, tuple(points), tuple(corrections))
    check_places(prompt.places, run.info)
    return prompt


POSES = "pose.json"
_BODY = 17  # the first keypoints of COCO-WholeBody: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
_SURE = 0.5
_MOST = 5  # points that go to the model
_APART = 0.1  # of the box's longer side: closer points say nothing new


def skater_places(run: Run, shots: Sequence[range]) -> tuple[Place, ...]:
    """The skater's place in each shot where he was found: on the frame of prompts.json, else on the shot's surest.

    Empty when prompts.json has no skater.
    """
    prompt = read_prompts(run).get("skater")
    if prompt is None or prompt.box is None or not 0 <= prompt.frame < run.info.frames:
        return ()
    if not run.path(POSES).exists():
        return (Place(prompt.frame, prompt.box),)
    best: dict[int, tuple[float, Place]] = {}
    for frame, people in enumerate(read_poses(run.path(POSES))):
        named = frame == prompt.frame
        person = closest(people, prompt.box) if named else max(people, key=sureness, default=None)
        number = next((each for each, shot in enumerate(shots) if frame in shot), None)
        if number is None or (person is None and not named):
            continue
        box = prompt.box if named or person is None else person.box.clipped(run.info.width, run.info.height)
        points = sure_points(person, box) if person else ()
        score = float("inf") if named else sureness(person) if person else 0.0
        if box is not None and (number not in best or score > best[number][0]):
            best[number] = (score, Place(frame, box, points))
    return tuple(best[number][1] for number in sorted(best))


def sureness(person: Person) -> float:
    """Mean score of the body's keypoints."""
    return float(person.scores[:_BODY].mean())


def closest(people: Sequence[Person], box: Box) -> Person | None:
    """The person whose box lies nearest to `box`, by the sum of their four sides' distances."""

    def distance(person: Person) -> float:
        return sum(abs(a - b) for a, b in zip(person.box.as_list(), box.as_list(), strict=True))

    return min(people, key=distance, default=None)


def sure_points(person: Person, box: Box | None) -> tuple[Point, ...]:
    """At most five body keypoints with a score of at least 0.5, the surest first, in the box and apart."""
    if box is None:
        return ()
    apart = _APART * box.longer_side
    chosen: list[Point] = []
    for index in sorted(range(_BODY), key=lambda each: -float(person.scores[each])):
        x, y = (round(float(value), 2) for value in person.keypoints[index])
        within = box.contains(x, y)
        near = any((x - point.x) ** 2 + (y - point.y) ** 2 < apart**2 for point in chosen)
        if float(person.scores[index]) >= _SURE and within and not near:
            chosen.append(Point(x, y))
    return tuple(chosen[:_MOST])


PERSON_VIDEO = "person_mask.mp4"


def write_human_mask(run_dir: Path, object_video: Path, info: ClipInfo) -> tuple[Path, Path] | None:
    """Write human_mask.mp4 and mask_human/ = person_mask.mp4 minus the object; None when there is no person_mask.mp4.

    A pixel is the object's or the skater's, never both. InputError when person_mask.mp4 is of another clip.
    """
    person_video = run_dir / PERSON_VIDEO
    if not person_video.exists():
        return None
    check_mask_sequence(person_video, info)
    video, pngs = run_dir / HUMAN_VIDEO, run_dir / HUMAN_FOLDER
    with MaskSequenceWriter(video, pngs, info.fps, info.width, info.height) as writer:
        try:
            for person, thing in zip(read_masks(person_video), read_masks(object_video), strict=True):
                writer.write(person & ~thing)
        except ValueError as error:
            raise InputError(f"{person_video.name} and {object_video.name} differ in length; extract again.") from error
    return video, pngs


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


def track(run: Run, backend: TrackerBackend, task: Task, stage: Stage) -> None:
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


def verify_shots(run: Run, backend: TrackerBackend, task: Task, shots: Sequence[range]) -> list[dict[str, Any]]:
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
