"""One run of the stage: the clip, the object's place on it, the tracker, the masks, and what is said and noted of them.

`track_object` is all of it, top to bottom. Below it are its parts: where the object is (flags, else prompts.json), the
shots, where the skater is for a tracker that follows the skater too, and the skater's mask.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from handoff.command import progress, span_text, spans_of
from handoff.errors import InputError, UsageError
from handoff.ingest import ingest
from handoff.masks import Mask, MaskSequenceWriter, check_mask_sequence, read_masks
from handoff.places import Box, Place, Point, Prompt, check_places, read_prompts, write_prompt
from handoff.poses import Person, check_poses, read_poses
from handoff.run import Run, Stage, run_stage, tool_versions
from handoff.video import ClipInfo, read_frames
from tracker.cleanup import clean
from tracker.cuts import parse_cuts, shots_of
from tracker.grid.drawing import frame_of
from tracker.grid.mouse import select_box, selector_python
from tracker.interface import Keep, TrackerBackend
from tracker.quality import CycleLog, verify
from tracker.selection import TrackerChoice, make_backend
from tracker.tracker import HUMAN_FOLDER, HUMAN_VIDEO, MASK_VIDEO, Request, SkateboardTracker
from tracker.witness.body import N_BODY, PERSON_VIDEO, POSES, sureness, surest
from tracker.witness.doubt import write_doubt
from tracker.witness.ruling import Witnesses

_SURE = 0.5
_MOST = 5  # points that go to the model
_APART = 0.1  # of the box's longer side: closer points say nothing new


@dataclass(frozen=True)
class Task:
    """What the command was asked for: its options, see `cli`.

    clip: to make the run of, None for one that is there. verified: whether to track back, None: as the tracker has it.
    """

    run_dir: Path
    tracker: TrackerChoice
    clip: Path | None = None
    box: Box | None = None
    frame: int | None = None
    points: tuple[Point, ...] = ()
    select: bool = False
    corrections: tuple[Place, ...] = ()
    cuts: str = "auto"
    keep: Keep = "all"
    fill_px: int = 0
    verified: bool | None = None
    force: bool = False
    check: bool = False


def track_object(task: Task) -> None:
    """Find the object in every frame of the clip, or with `check` only see whether that can be begun.

    Writes prompts.json, the masks of object and skater, each as MP4 and as a folder of PNGs, and run.json.
    What cannot be used (InputError, UsageError) or is not there (MissingError) is refused before anything is written.
    """
    if task.select:
        selector_python()  # refused before any work
    run = ingest(task.clip, task.run_dir, task.force) if task.clip else Run.open(task.run_dir)
    prompt = choose_prompt(run, draw_box(run, task) if task.select else task)
    backend = make_backend(task.tracker, quiet=task.check)
    backend.check(prompt.places)
    if task.check:
        with run.lock():
            write_prompt(run, "object", prompt)
        return

    params = backend.params | prompt.places_as_json() | {"cuts": task.cuts, "keep": task.keep}
    verified = backend.tracks_back if task.verified is None else task.verified
    params |= {
        "fill_holes": task.fill_px,
        "verify": verified,
        "object": prompt.detected.name if prompt.detected else None,
    }
    seen = read_prompts(run).get("skater") if backend.tracks_skater else None
    if seen is not None:
        params["skater"] = seen.places[0].as_json()
    inputs = [run.source, *Witnesses.files(run)]
    tools = {"tracker": backend.description}
    tools |= tool_versions("numpy", "opencv-python-headless", "av", *backend.versions)
    with run_stage(run, "tracker", params=params, inputs=inputs, tools=tools, force=task.force) as stage:
        if stage.unchanged:
            return
        write_prompt(run, "object", prompt)
        stage.add_output(run.path("prompts.json"))
        click.echo(f"tracker: {backend.description}; {in_words(prompt, run.info)}")
        shots = find_shots(run, task.cuts, prompt.places)
        skater = skater_places(run, shots) if backend.tracks_skater else ()
        request = Request(prompt.places, skater, tuple(shots), task.keep, task.fill_px)

        tracker = SkateboardTracker(backend)
        tracker.init_video(run.source)
        tracker.request = request
        for path in tracker.save_masks(run.dir):
            stage.add_output(path)

        stage.note("cuts", [shot.start for shot in shots[1:]])
        stage.note("skater", [place.as_json() for place in skater])
        remark = add_human_mask(run, tracker, stage)
        cycles = verify_shots(run, backend, request) if verified else []
        hear_witnesses(run, prompt, [log for _, log in cycles], stage)
        say_what_was_found(tracker, stage)
        if remark:
            click.echo(f"tracker: {remark}")
        if verified:
            for _, log in cycles:
                click.echo(f"tracker: {log.summary()}")
            stage.note("verify", [{"shot": [shot.start, shot.stop - 1], **log.to_json()} for shot, log in cycles])


def draw_box(run: Run, task: Task) -> Task:
    """The task with the box that is drawn by mouse on its frame."""
    click.echo("tracker: drag a box around the object in the window; Enter takes it, Esc or c gives up")
    return replace(task, box=select_box(frame_of(run.source, task.frame or 0, read_frames)))


def choose_prompt(run: Run, task: Task) -> Prompt:
    """The prompt from the flags, else from prompts.json; raises before anything is written when it cannot be used.

    A box or points from the flags replace all that prompts.json says; corrections alone replace its corrections.
    """
    if task.box is None and not task.points:
        stored = read_prompts(run).get("object")
        if stored is None or (task.frame is not None and task.frame != stored.frame):
            raise UsageError(
                f"where is the object{'' if task.frame is None else f' on frame {task.frame}'}? Give its box in "
                "pixels: --bbox x1,y1,x2,y2, and --frame N for the frame it is on."
            )
        prompt = replace(stored, corrections=task.corrections or stored.corrections)
    else:
        prompt = Prompt(task.box, task.frame or 0, "drawn" if task.select else "flag", task.points, task.corrections)
    check_places(prompt.places, run.info)
    return prompt


def in_words(prompt: Prompt, info: ClipInfo) -> str:
    """Say where the object is, for the log line."""
    where = f"box {prompt.box}" if prompt.box else f"{len(prompt.points)} point(s)"
    more = f", {len(prompt.corrections)} correction(s)" if prompt.corrections else ""
    return f"{where} on frame {prompt.frame} of {info.frames}{more}"


def say_what_was_found(tracker: SkateboardTracker, stage: Stage) -> None:
    """Say and note in how many frames the object was found, where it was lost, and what to think of each mask."""
    count, lost = tracker.video_info.frames, [span_text(*span) for span in spans_of(tracker.lost_frames)]
    found = count - len(tracker.lost_frames)
    stage.note("frames_tracked", found)
    stage.note("frames_lost", lost)
    stage.note("status", tracker.status.to_json())
    click.echo(f"tracker: object found in {found} of {count} frames" + (f"; lost in {', '.join(lost)}" if lost else ""))
    click.echo(f"tracker: {tracker.status.summary()}")
    if not found:
        click.echo("tracker: the object was not found in any frame; give a box that fits it more closely.")


def find_shots(run: Run, cuts: str, places: Sequence[Place]) -> list[range]:
    """The shots of the clip; says where the cuts are and which shots will be black for want of a place."""
    info = run.info
    frames = progress(read_frames(run.source), total=info.frames, desc="cuts")
    shots = shots_of(parse_cuts(cuts, frames, info.frames), info.frames)
    if len(shots) > 1:
        click.echo(f"tracker: {len(shots)} shots, beginning at frames {', '.join(str(shot.start) for shot in shots)}")
    for shot in shots:
        if not any(place.frame in shot for place in places):
            click.echo(
                f"tracker: warning: no box in the shot of frames {shot.start} to {shot.stop - 1}, so the object is "
                f"black there; give one with --correct FRAME:x1,y1,x2,y2, or --cuts none if that is no cut",
                err=True,
            )
    return shots


def skater_places(run: Run, shots: Sequence[range]) -> tuple[Place, ...]:
    """The skater's place in each shot where he was found: on the frame of prompts.json, else on the shot's surest.

    Empty when prompts.json has no skater.
    """
    prompt = read_prompts(run).get("skater")
    if prompt is None or prompt.box is None or not 0 <= prompt.frame < run.info.frames:
        return ()
    if not run.path(POSES).exists():
        return (Place(prompt.frame, prompt.box),)
    check_poses(run.path(POSES), run.info)
    best: dict[int, tuple[float, Place]] = {}
    for frame, people in enumerate(read_poses(run.path(POSES))):
        named = frame == prompt.frame
        person = closest(people, prompt.box) if named else surest(people)
        number = next((each for each, shot in enumerate(shots) if frame in shot), None)
        if number is None or (person is None and not named):
            continue
        box = prompt.box if named or person is None else person.box.clipped(run.info.width, run.info.height)
        points = sure_points(person, box) if person else ()
        score = float("inf") if named else sureness(person) if person else 0.0
        if box is not None and (number not in best or score > best[number][0]):
            best[number] = (score, Place(frame, box, points))
    return tuple(best[number][1] for number in sorted(best))


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
    for index in sorted(range(N_BODY), key=lambda each: -float(person.scores[each])):
        x, y = (round(float(value), 2) for value in person.keypoints[index])
        within = box.contains(x, y)
        near = any((x - point.x) ** 2 + (y - point.y) ** 2 < apart**2 for point in chosen)
        if float(person.scores[index]) >= _SURE and within and not near:
            chosen.append(Point(x, y))
    return tuple(chosen[:_MOST])


def add_human_mask(run: Run, tracker: SkateboardTracker, stage: Stage) -> str | None:
    """List the skater's mask that the tracker wrote, else make one of the pose stage's, else leave none and say so."""
    video, pngs = run.path(HUMAN_VIDEO), run.path(HUMAN_FOLDER)
    if tracker.makes_human_mask:
        stage.note("human_mask", f"tracked by {tracker.backend.name}")
    elif write_human_mask(run.dir, run.path("mask.mp4"), run.info):
        stage.note("human_mask", f"{PERSON_VIDEO} minus the object")
    else:
        stage.note("human_mask", f"none: there is no {PERSON_VIDEO}")
        video.unlink(missing_ok=True)  # one of an earlier run would not fit this object mask
        shutil.rmtree(pngs, ignore_errors=True)
        return f"no {PERSON_VIDEO} in the run, so no skater mask is written; run the pose stage for one."
    stage.add_output(video)
    stage.add_output(pngs)
    return None


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


def verify_shots(run: Run, backend: TrackerBackend, request: Request) -> list[tuple[range, CycleLog]]:
    """Track each shot that has a place a second time, toward that place; what came of it, shot by shot."""

    def retrack(start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        for index, again in backend.retrack(run.source, run.info, start, mask, frames):
            yield index, clean(again, request.keep, request.fill_px)  # as the first track's masks were

    logs = []
    for shot in request.shots:
        here = [place.frame for place in request.places if place.frame in shot]
        if here:
            logs.append((shot, verify(run.path(MASK_VIDEO), here[0], shot, retrack)))
    return logs


def hear_witnesses(run: Run, prompt: Prompt, cycles: Sequence[CycleLog], stage: Stage) -> None:
    """Hear the witnesses about the mask, say and note what comes of it, and draw what is in doubt.

    Where it is contradicted, that is said with where to look and how to correct it.
    """
    cycle = {frame: iou for log in cycles for frame, iou in log.ious.items()}
    witnesses = Witnesses(run, run.info, cycle, prompt)
    masks = run.path(MASK_VIDEO)
    for frame, mask in enumerate(read_masks(masks)):
        witnesses.feed(frame, mask)
    standing = witnesses.conclude()
    picture = write_doubt(run, masks, standing, witnesses)
    said = standing.sentence
    if picture is not None:
        stage.add_output(picture)
        said += f"; look at {picture}"
        if standing.correction is not None:
            said += f", or correct it: {correct_options(prompt, standing.correction)}"
    click.echo(f"tracker: {said}")
    spans = [list(each) for each in spans_of(standing.contradicted)]
    stage.note("standing", {"word": standing.word, "sentence": standing.sentence, "contradicted": spans})


def correct_options(prompt: Prompt, place: Place) -> str:
    """Return the --correct options that add a place to a prompt's corrections: those that are given replace all."""
    return " ".join(f"--correct {each.frame}:{each.box}" for each in (*prompt.corrections, place) if each.box)
