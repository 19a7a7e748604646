"""The pass over the clip: every few frames through the detector, into detections.json. A stage of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from handoff.errors import InputError
from handoff.progress import progress
from handoff.run import Run
from handoff.stage import run_stage, tool_versions
from handoff.threads import Ahead
from handoff.video import Frame, read_frames
from posegen.detect.coco import PERSON
from posegen.detect.look import look_of
from posegen.detect.record import FILE, DetectionWriter, Header, Sample
from posegen.detect.yolox import NMS_IOU, SCORE_THR, Detection, YoloxDetector

STAGE = "detect"
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
    info, path = run.info, run.path(FILE)
    params = {"every": every, "threshold": SCORE_THR, "nms_iou": NMS_IOU}
    tools = {"detector": model, "weights": detector.sha256, "device": detector.device}
    tools |= tool_versions("numpy", "opencv-python-headless", "av")
    fps = f"{info.fps.numerator}/{info.fps.denominator}"
    header = Header(model, detector.sha256, SCORE_THR, every, info.width, info.height, fps, info.frames)
    with run_stage(
        run, STAGE, params=params, inputs=[run.source], tools=tools, code=("posegen.detect",), force=force
    ) as stage:
        if stage.unchanged:
            return path, False
        click.echo(f"{STAGE}: {model} on {detector.device}, every {every} of {info.frames} frames")
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
        for index, frame in enumerate(progress(read_frames(run.source), total=frames, desc=STAGE))
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
