"""What one run of the pose stage does, top to bottom: `extract_pose`, then its steps in their order.

The clip becomes a run folder; the detector, where there is one, says where the object and the skater are
(`look_for_both`, by way of detections.json); a backend is chosen (`choose_backend`); the skeleton goes into the run's
files in one pass.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from handoff.command import progress
from handoff.detections.coco import PERSON, class_number
from handoff.detections.samples import DETECTIONS, read_detections_header, read_samples
from handoff.errors import InputError, MissingError
from handoff.files import DigestError
from handoff.ingest import ingest
from handoff.places import FILE, Box, Place, Prompt, read_prompts, write_prompt
from handoff.run import Run, Stage, run_stage
from handoff.video import read_frames
from handoff.weights import load_registry, models_dir
from posegen.backend import Boxes, PoseBackend
from posegen.choice import DEFAULT_OBJECT, EVERY, FOUND, PoseChoice, Where
from posegen.detect.object import Rated, choose_thing, not_found, thing_prompt
from posegen.detect.sampling import detect_clip
from posegen.detect.skater import NobodyThere, Skater, find_skater, sure_things
from posegen.detect.yolox import YoloxDetector, open_detector
from posegen.extractor import SkaterPoseExtractor, open_backend
from posegen.keypoints import KPT_THR, MIN_VISIBLE
from posegen.models import DEFAULT_DETECTOR, DEFAULT_MODEL, DETECTORS, MODELS, has_weights
from posegen.outputs import PERSON_MASK, PoseOutputs
from posegen.smooth import parameters, smooth

STAGE = "posegen"

BY_HAND = 100.0
"""What a box given by hand counts against a detection's score of at most 1: whoever has that object is the skater."""


def extract_pose(
    run_dir: Path,
    clip: Path | None,
    asked: PoseChoice,
    *,
    prompt_only: bool = False,
    keep_detections: bool = False,
    force: bool = False,
) -> None:
    """Find the object and the skater in a clip, and write his skeleton of every frame into its run folder.

    clip: what the run folder is made of, None where it has been made. prompt_only: stop once prompts.json has the
    object. keep_detections: with `force`, do only the skeleton again. Raises what `handoff.errors` lists.
    """
    run = ingest(clip, run_dir, force) if clip else Run.open(run_dir)
    found = look_for_both(run, asked, prompt_only, force and not keep_detections)
    if prompt_only:
        return
    extractor = SkaterPoseExtractor(backend=choose_backend(asked, detector=found is not None))
    params: dict[str, Any] = {"draw": asked.style, "threshold": KPT_THR, "min_visible": MIN_VISIBLE}
    params |= {"smoothing": parameters(asked.smoothing), "backend": "embedded" if extractor.model.embedded else "rtmw"}
    inputs, boxes = [run.source], None
    if found:
        inputs.append(run.path(DETECTIONS))
        boxes = found.skater.boxes
        params |= {"object": found.name, "person": str(asked.where) if asked.where else None, "boxes": _digest(boxes)}
    tools = {key: str(value) for key, value in asdict(extractor.model).items()}
    with run_stage(run, STAGE, params=params, inputs=inputs, tools=tools, force=force) as stage:
        if not stage.unchanged:
            click.echo(f"{STAGE}: {extractor.model}, {run.info.frames} frames")
            _write_skeleton(run, stage, extractor, boxes, asked)
        else:
            run.recorded(STAGE, FOUND)
        notes = stage.notes
        # prompts.json is shared with the tracker, so it is no output of this stage; it is set right every time
        write_prompt(run, "skater", _skater_prompt(notes))
        if not stage.unchanged:
            _report(notes)


@dataclass(frozen=True)
class Findings:
    """What the detections say of one class of objects and of the skater.

    things: the object's detections, the best beginning for the tracker first.
    """

    name: str
    model: str
    skater: Skater
    things: list[Rated]

    @property
    def summary(self) -> str:
        """One sentence for the log."""
        boxes = self.skater.boxes
        seen = sum(box is not None for box in boxes)
        people, his = self.skater.people, self.skater.chosen
        return f"the skater in {seen} of {len(boxes)} frames ({people} tracks of people, {his} his)"


def look_for_both(run: Run, asked: PoseChoice, prompt_only: bool, force: bool) -> Findings | None:
    """Detect, say who the skater is, and set the object's prompt; None where there is no detector and no need of one.

    The object's prompt is set where its class is named or no box was given by hand. Not finding it is an InputError
    where it was named or is all that is wanted (`prompt_only`), else a warning: a skeleton needs no object. What was
    taken over from another run says who the skater is; the object that was there is not looked for.
    Raises MissingError where a detector is needed and its weights are not there.
    """
    stored = read_prompts(run).get("object")
    by_hand = stored is not None and stored.origin != "detector"
    if prompt_only and by_hand and not asked.needs_detector:
        return None
    if not (asked.needs_detector or prompt_only or asked.has_detector):
        return None
    name = asked.thing or (stored.detected.name if stored and stored.detected else DEFAULT_OBJECT)
    size = asked.detector or DEFAULT_DETECTOR
    path, fresh = detect_clip(run, DETECTORS[size], _detector(size, asked.device), asked.every or EVERY, force)
    if asked.again:
        found = _find_again(run, path, name, asked.where)
        if fresh:
            click.echo(f"detect: {found.summary}")
        return found
    renew = asked.thing is not None or not by_hand
    place = None if renew or stored is None else stored.places[0]
    found = find(run, path, name, asked.where, place)
    if fresh or prompt_only:
        click.echo(f"detect: {found.summary}")
    if renew and (found.things or asked.thing is not None or prompt_only):
        _set_object(run, path, found, stored)
    elif renew:
        with run.lock():
            write_prompt(run, "object", None)
        click.echo(f"detect: warning: no {found.name} was found; give its box by hand: --bbox x1,y1,x2,y2", err=True)
    return found


def _detector(size: str, device: str) -> YoloxDetector:
    try:
        return open_detector(size, device)
    except DigestError:
        raise
    except MissingError as error:
        raise MissingError(
            f"{error} Without a detector the object's box is given by hand: --bbox x1,y1,x2,y2 --frame n."
        ) from error


def find(run: Run, path: Path, name: str, where: Where | None = None, by_hand: Place | None = None) -> Findings:
    """Read detections.json at `path` and return who and where.

    name: the object's class. where: who the skater is, if the user says so. by_hand: the object's place, if the user
    gave it. Raises UsageError for a class that there is not, InputError for a file of another clip, NobodyThere where
    nobody is at `where`.
    """
    info, label, header = run.info, class_number(name), read_detections_header(path)
    if not header.is_of(info) or Fraction(header.fps) != info.fps:
        raise InputError(f"{path} is of another clip; run the pose stage again with --force.")
    if where is not None and not 0 <= where.frame < info.frames:
        raise NobodyThere(
            f"the person {where}: frame {where.frame} is not in the clip: it has {info.frames} frames, "
            f"0 to {info.frames - 1}."
        )
    samples = list(read_samples(path, [label]))
    things = sure_things(samples, label)
    frame, box = (by_hand.frame, _box_of(by_hand)) if by_hand else (0, None)
    if box is not None:
        nearest = min((sample.frame for sample in samples), key=lambda each: abs(each - frame))
        things.setdefault(nearest, []).append((BY_HAND, box))
    skater = find_skater(read_samples(path, [PERSON]), things, info, header.every, where)
    rated = choose_thing(samples, label, info, skater.boxes, header.every)
    return Findings(name, header.model, skater, rated)


def _box_of(place: Place) -> Box | None:
    """Return a place's box, or a small one around its first point on the thing."""
    if place.box is not None:
        return place.box
    return next((Box(each.x - 1, each.y - 1, each.x + 1, each.y + 1) for each in place.points if each.label), None)


def _find_again(run: Run, path: Path, name: str, where: Where | None) -> Findings:
    """Do the same for a clip in which the skater may not stand where he did: then he is whoever there is."""
    try:
        return find(run, path, name, where)
    except NobodyThere as error:
        click.echo(f"detect: warning: {error} The skater is looked for anew.", err=True)
        return find(run, path, name)


def _set_object(run: Run, path: Path, found: Findings, stored: Prompt | None) -> None:
    """Write the object's prompt, with the corrections of a stored one for the same place, and say so if it is new."""
    if not found.things:
        raise not_found(found.name, read_samples(path), run.info, PERSON)
    prompt = thing_prompt(found.name, found.things, run.info, found.model)
    if stored is not None and stored.places[0] == prompt.places[0]:
        prompt = replace(prompt, corrections=stored.corrections)
    with run.lock():
        write_prompt(run, "object", prompt)
    if prompt == stored:
        return
    score = prompt.detected.score if prompt.detected else 0.0
    others = len(prompt.detected.runners_up) if prompt.detected else 0
    click.echo(
        f"detect: {found.name} at {prompt.box} on frame {prompt.frame}, score {score:.2f}; "
        f"{others} runners-up are in {FILE}"
    )


def choose_backend(asked: PoseChoice, *, detector: bool) -> PoseBackend:
    """Return the backend that is asked for; says in one line when "auto" takes the embedded one.

    detector: whether the detector's weights are there, which RTMW needs: it must be told where the person is.
    "auto" means RTMW where both are there or where an option is given that only it knows. What is asked for by name
    never falls back: MissingError for weights, packages or a GPU that are not there.
    """
    model = asked.model or DEFAULT_MODEL
    if asked.needs_rtmw or (asked.backend == "auto" and detector and has_weights(model)):
        return open_backend("rtmw", asked.device, model)
    if asked.backend == "auto":
        what = "the detector's weights are not there"
        if detector:
            what = f"{load_registry().weight(MODELS[model]).file} is not in {models_dir()}"
        click.echo(
            f"posegen: {what}, so MediaPipe, the embedded backend, does the work; "
            'make weights PROFILE="pose detect" gets RTMW'
        )
    return open_backend("embedded")


def _write_skeleton(
    run: Run, stage: Stage, extractor: SkaterPoseExtractor, boxes: Boxes | None, asked: PoseChoice
) -> None:
    """Write the stage's files in one pass over the clip and note what was found."""
    frames = run.info.frames
    with PoseOutputs(run, extractor.model, asked.style, asked.smoothing) as outputs:
        clip = progress(read_frames(run.source), total=frames, desc=STAGE)
        for pose in smooth(extractor.extract(clip, boxes), asked.smoothing):
            outputs.write(pose)
        if outputs.frames != frames:
            raise InputError(
                f"{run.source} has {outputs.frames} frames, run.json says {frames}; extract it again with --force."
            )
    for path in outputs.paths:
        stage.add_output(path)
    if not extractor.model.makes_masks:
        run.path(PERSON_MASK).unlink(missing_ok=True)  # another model's
    stage.note("frames", outputs.frames)
    stage.note("frames_with_person", outputs.found)
    surest = outputs.surest
    stage.note("skater", surest.places[0].as_json() if surest else None)


def _digest(boxes: Boxes) -> str:
    """Return the SHA-256 of the skater's boxes, which is all of the detections that the skeleton depends on."""
    text = json.dumps([box.as_list() if box else None for box in boxes])
    return hashlib.sha256(text.encode()).hexdigest()


def _skater_prompt(notes: dict[str, Any]) -> Prompt | None:
    skater = notes.get("skater")
    return Prompt(Box(*skater["box"]), skater["frame"], "pose") if skater else None


def _report(notes: dict[str, Any]) -> None:
    found, frames = notes["frames_with_person"], notes["frames"]
    click.echo(f"{STAGE}: a person in {found} of {frames} frames: pose.json, pose.mp4")
    if not found:
        click.echo(f"{STAGE}: warning: nobody was found, so every skeleton is empty", err=True)
