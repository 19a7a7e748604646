"""Which backend: the one that is asked for, or with "auto" RTMW where its weights are, else the embedded one.

The pass over the clip: every few frames through the detector, into detections.json. A stage of its own.

From detections.json to the two answers: where the skater is in every frame, and where the object is best seen.

What the stage does before the skeleton: who the skater is, where the object is, in run.json and prompts.json.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import click

from handoff.box import Box
from handoff.command import progress
from handoff.errors import InputError, UsageError
from handoff.prompts import FILE, Place, Prompt, read_prompts, write_prompt
from handoff.run import Run, run_stage, tool_versions
from handoff.threads import Ahead
from handoff.video import Frame, read_frames
from handoff.weights import load_registry, models_dir
from posegen.detect.appearance import look_of
from posegen.detect.detections import DETECTIONS, DetectionWriter, Header, Sample, read_detections_header, read_samples
from posegen.detect.object import SURE, Rated, choose_thing, not_found, thing_prompt
from posegen.detect.skater import Things, Where, choose_skater, skater_boxes
from posegen.detect.tracklets import follow
from posegen.detect.yolox import NMS_IOU, PERSON, SCORE_THR, Detection, YoloxDetector, class_number
from posegen.extractor import BACKENDS, PoseBackend
from posegen.models import DEFAULT_DETECTOR, DEFAULT_MODEL, DETECTORS, MODELS, has_detector, has_weights, open_detector
from posegen.onnx_session import DEVICES

NAMES = ("auto", *BACKENDS)
DEFAULT_OBJECT = "skateboard"


@dataclass(frozen=True)
class PoseChoice:
    """What is asked of the pose stage. model: None where it was not said. device: of the pose network."""

    backend: str = "auto"
    model: str | None = None
    device: str = "auto"

    @property
    def rtmw_only(self) -> str | None:
        """The first of its options that only RTMW knows, as a user writes it."""
        if self.model is not None:
            return f"--model {self.model}"
        return "--device cuda" if self.device == "cuda" else None


def make_backend(wanted: PoseChoice, *, detector: bool, quiet: bool = False) -> PoseBackend:
    """The backend that is asked for; says in one line when "auto" takes the embedded one, unless `quiet`.

    detector: whether the detector's weights are there, which RTMW needs: it must be told where the person is.
    "auto" means RTMW where both are there or where an option is given that only it knows. What is asked for by name
    never falls back: MissingError for weights, packages or a GPU that are not there, UsageError for a name that does
    not exist. An RtmwBackend gets its `boxes` afterwards, from the detections.
    """
    if wanted.backend not in NAMES or wanted.device not in DEVICES:
        raise UsageError(
            f"there is no pose backend '{wanted.backend}' on device '{wanted.device}'; "
            f"choose one of: {', '.join(NAMES)}, on {', '.join(DEVICES)}."
        )
    if wanted.backend == "embedded" and wanted.rtmw_only:
        raise UsageError(f"{wanted.rtmw_only} is for RTMW; leave it out, or use --backend rtmw.")
    model = wanted.model or DEFAULT_MODEL
    named = wanted.backend == "rtmw" or wanted.rtmw_only is not None
    if named or (wanted.backend == "auto" and detector and has_weights(model)):
        from posegen.rtmw_backend import RtmwBackend  # here, not above: the embedded backend needs no rtmlib

        return RtmwBackend(model, wanted.device)
    if wanted.backend == "auto" and not quiet:
        what = _missing(model) if detector else "the detector's weights are not there"
        click.echo(
            f"posegen: {what}, so MediaPipe, the embedded backend, does the work; "
            'make weights PROFILE="pose detect" gets RTMW'
        )
    return BACKENDS["embedded"]()


def _missing(model: str) -> str:
    return f"{load_registry().weight(MODELS[model]).file} is not in {models_dir()}"


DETECT = "detect"
EVERY = 2
"""Frames from one detection to the next, unless --every says otherwise."""

_AHEAD = 4  # decoded frames that may wait for the detector
_TOGETHER = 8  # frames a call, where the file's batch axis is free


def detect_clip(
    run: Run, model: str, detector: YoloxDetector, every: int = EVERY, force: bool = False
) -> tuple[Path, bool]:
    """Write detections.json of the run's clip, or find that it is still right; return its path, and whether it is new.

    model: the weight's name. Frames 0, every, 2 * every ... and the last one are looked at; the next ones are decoded
    meanwhile.
    """
    info, path = run.info, run.path(DETECTIONS)
    params = {"every": every, "threshold": SCORE_THR, "nms_iou": NMS_IOU}
    tools = {"detector": model, "weights": detector.sha256, "device": detector.device}
    tools |= tool_versions("numpy", "opencv-python-headless", "av")
    fps = f"{info.fps.numerator}/{info.fps.denominator}"
    header = Header(model, detector.sha256, SCORE_THR, every, info.width, info.height, fps, info.frames)
    with run_stage(
        run, DETECT, params=params, inputs=[run.source], tools=tools, code=("posegen.detect",), force=force
    ) as stage:
        if stage.unchanged:
            return path, False
        click.echo(f"{DETECT}: {model} on {detector.device}, every {every} of {info.frames} frames")
        seen = with_person = 0
        with DetectionWriter(path, header) as writer:
            for sample in _samples(run, detector, every):
                writer.write(sample)
                seen += 1
                with_person += any(each.label == PERSON for each in sample.detections)
        stage.add_output(path)
        stage.note("frames_looked_at", seen)
        stage.note("frames_with_person", with_person)
    return path, True


def _samples(run: Run, detector: YoloxDetector, every: int) -> Iterator[Sample]:
    frames = run.info.frames
    chosen = (
        (index, frame)
        for index, frame in enumerate(progress(read_frames(run.source), total=frames, desc=DETECT))
        if index % every == 0 or index == frames - 1
    )
    with contextlib.closing(Ahead(chosen, _AHEAD)) as clip:
        batch: list[tuple[int, Frame]] = []
        last = -1
        for item in clip:
            batch.append(item)
            last = item[0]
            if len(batch) == (detector.batch or _TOGETHER):
                yield from _look_at(batch, detector)
                batch = []
        yield from _look_at(batch, detector)
    if last != frames - 1:
        raise InputError(f"{run.source} ends before frame {frames - 1}; extract it again with --force.")


def _look_at(batch: list[tuple[int, Frame]], detector: YoloxDetector) -> Iterator[Sample]:
    found = detector.detect([frame for _, frame in batch]) if batch else []
    for (index, frame), detections in zip(batch, found, strict=True):
        yield Sample(index, [_with_look(each, frame) for each in detections])


def _with_look(detection: Detection, frame: Frame) -> Detection:
    return detection._replace(look=look_of(frame, detection.box)) if detection.label == PERSON else detection


BY_HAND = 100.0
"""What a box given by hand counts against a detection's score of at most 1: whoever has that object is the skater."""


@dataclass(frozen=True)
class Findings:
    """What the detections say.

    boxes: the skater's box (px) in every frame, None where he was not seen. things: the object's detections, the best
    beginning for the tracker first. people: how many tracklets of people there are, and how many are the skater's.
    """

    name: str
    model: str
    boxes: list[Box | None]
    things: list[Rated]
    people: int
    chosen: int

    @property
    def summary(self) -> str:
        """One sentence for the log."""
        seen = sum(box is not None for box in self.boxes)
        return f"the skater in {seen} of {len(self.boxes)} frames ({self.people} tracks of people, {self.chosen} his)"


def find(run: Run, path: Path, name: str, where: Where | None = None, by_hand: Place | None = None) -> Findings:
    """Read detections.json at `path` and return who and where.

    name: the object's class. where: who the skater is, if the user says so. by_hand: the object's place, if the user
    gave it. Raises UsageError for a class that there is not, InputError for a file of another clip or where nobody is.
    """
    info, label, header = run.info, class_number(name), read_detections_header(path)
    if (header.width, header.height, header.frame_count) != (info.width, info.height, info.frames):
        raise InputError(f"{path} is of another clip; run the pose stage again with --force.")
    if where is not None and not 0 <= where.frame < info.frames:
        raise InputError(
            f"--person {where}: frame {where.frame} is not in the clip: it has {info.frames} frames, "
            f"0 to {info.frames - 1}."
        )
    tracklets = follow(read_samples(path, [PERSON]), info.fps, header.every)
    samples = list(read_samples(path, [label]))
    things: Things = {
        frame: [(each.score, each.box) for each in seen if each.score > SURE] for frame, seen in samples if seen
    }
    frame, box = (by_hand.frame, _box(by_hand)) if by_hand else (0, None)
    if box is not None:
        nearest = min((sample.frame for sample in samples), key=lambda each: abs(each - frame))
        things.setdefault(nearest, []).append((BY_HAND, box))
    chosen = choose_skater(tracklets, things, where)
    boxes = skater_boxes(chosen, info.frames, Fraction(info.fps), header.every)
    rated = choose_thing(samples, label, info, boxes, header.every)
    return Findings(name, header.model, boxes, rated, len(tracklets), len(chosen))


def object_prompt(run: Run, path: Path, found: Findings) -> Prompt:
    """Return the object's prompt; raise InputError, with the nearest misses, where it was not found."""
    if not found.things:
        raise not_found(found.name, read_samples(path), run.info, PERSON)
    return thing_prompt(found.name, found.things, run.info, found.model)


def _box(place: Place) -> Box | None:
    """Return a place's box, or a small one around its first point on the thing."""
    if place.box is not None:
        return place.box
    return next((Box(each.x - 1, each.y - 1, each.x + 1, each.y + 1) for each in place.points if each.label), None)


@dataclass(frozen=True)
class DetectorChoice:
    """What the user asks of the detector; None: not said.

    thing: the object's class. where: who the skater is. needed: the skeleton's backend, or an option, needs it.
    unwanted: it is not to be used although it is there.
    """

    thing: str | None = None
    where: Where | None = None
    every: int | None = None
    detector: str | None = None
    device: str = "auto"
    needed: bool = False
    unwanted: bool = False

    def __post_init__(self) -> None:
        if self.thing is not None:
            class_number(self.thing)  # a typo is refused before any work
        if self.unwanted and self.asked_for:
            raise UsageError("--no-detector leaves nothing that could answer the other options; leave it out, or them.")

    @property
    def possible(self) -> bool:
        """Whether the detector's weights are there."""
        return not self.unwanted and has_detector(self.detector or DEFAULT_DETECTOR)

    @property
    def asked_for(self) -> bool:
        """Whether an option is given that only a detector can answer."""
        return self.needed or any(each is not None for each in (self.thing, self.where, self.every, self.detector))


def look(run: Run, wanted: DetectorChoice, prompt_only: bool, force: bool) -> Findings | None:
    """Detect, say who the skater is, and set the object's prompt; None where there is no detector and no need of one.

    The object's prompt is set where `thing` is named or no box was given by hand. Not finding it is an InputError
    where it was named or is all that is wanted (`prompt_only`), else a warning: a skeleton needs no object.
    Raises MissingError where a detector is needed and its weights are not there.
    """
    stored = read_prompts(run).get("object")
    by_hand = stored is not None and stored.origin != "detector"
    if prompt_only and by_hand and not wanted.asked_for:
        return None
    if not (wanted.asked_for or prompt_only or wanted.possible):
        return None
    name = wanted.thing or (stored.detected.name if stored and stored.detected else DEFAULT_OBJECT)
    size = wanted.detector or DEFAULT_DETECTOR
    detector = open_detector(size, wanted.device)
    path, fresh = detect_clip(run, DETECTORS[size], detector, wanted.every or EVERY, force)
    renew = wanted.thing is not None or not by_hand
    place = None if renew or stored is None else stored.places[0]
    found = find(run, path, name, wanted.where, place)
    if fresh or prompt_only:
        click.echo(f"detect: {found.summary}")
    if renew and (found.things or wanted.thing is not None or prompt_only):
        prompt = object_prompt(run, path, found)
        if stored is not None and stored.places[0] == prompt.places[0]:
            prompt = replace(prompt, corrections=stored.corrections)
        with run.lock():
            write_prompt(run, "object", prompt)
        if prompt == stored:
            return found
        score = prompt.detected.score if prompt.detected else 0.0
        others = len(prompt.detected.runners_up) if prompt.detected else 0
        click.echo(
            f"detect: {found.name} at {prompt.box} on frame {prompt.frame}, score {score:.2f}; "
            f"{others} runners-up are in {FILE}"
        )
    elif renew:
        with run.lock():
            write_prompt(run, "object", None)
        click.echo(f"detect: warning: no {found.name} was found; give its box by hand: --bbox x1,y1,x2,y2", err=True)
    return found
