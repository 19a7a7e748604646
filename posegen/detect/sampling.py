"""The detector's pass over the clip, which writes detections.json: `detect_clip`, a stage of its own, and its loop."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from handoff.command import progress
from handoff.detections.coco import PERSON
from handoff.detections.samples import DETECTIONS, Detection, DetectionWriter, Header, Sample
from handoff.errors import InputError
from handoff.run import Run, run_stage, tool_versions
from handoff.threads import Ahead
from handoff.video import Frame, read_frames
from posegen.detect.appearance import look_of
from posegen.detect.yolox import NMS_IOU, SCORE_THR, YoloxDetector

DETECT = "detect"
_AHEAD = 4  # decoded frames that may wait for the detector
_TOGETHER = 8  # frames a call, where the file's batch axis is free


def detect_clip(run: Run, model: str, detector: YoloxDetector, every: int, force: bool = False) -> tuple[Path, bool]:
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
            clip = progress(read_frames(run.source), total=info.frames, desc=DETECT)
            for sample in look_through(clip, info.frames, detector, every):
                writer.write(sample)
                seen += 1
                with_person += any(each.label == PERSON for each in sample.detections)
        stage.add_output(path)
        stage.note("frames_looked_at", seen)
        stage.note("frames_with_person", with_person)
    return path, True


def look_through(clip: Iterable[Frame], frames: int, detector: YoloxDetector, every: int) -> Iterator[Sample]:
    """Yield what the detector sees in frames 0, every, 2 * every ... and the last one of a clip of that many frames.

    Decoding goes on beside the detector, on a thread. Raises InputError for a clip that ends earlier.
    """
    chosen = ((index, frame) for index, frame in enumerate(clip) if index % every == 0 or index == frames - 1)
    with contextlib.closing(Ahead(chosen, _AHEAD)) as ahead:
        batch: list[tuple[int, Frame]] = []
        last = -1
        for item in ahead:
            batch.append(item)
            last = item[0]
            if len(batch) == (detector.batch or _TOGETHER):
                yield from _look_at(batch, detector)
                batch = []
        yield from _look_at(batch, detector)
    if last != frames - 1:
        raise InputError(f"the clip ends before its last frame, {frames - 1}; extract it again with --force.")


def _look_at(batch: list[tuple[int, Frame]], detector: YoloxDetector) -> Iterator[Sample]:
    found = detector.detect([frame for _, frame in batch]) if batch else []
    for (index, frame), detections in zip(batch, found, strict=True):
        yield Sample(index, [_with_look(each, frame) for each in detections])


def _with_look(detection: Detection, frame: Frame) -> Detection:
    return detection._replace(look=look_of(frame, detection.box)) if detection.label == PERSON else detection
