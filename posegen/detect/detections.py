"""The detector's pass over the clip, and what it saw: detections.json, one sampled frame a line, all classes.

First the pass: `detect_clip` is a stage of its own, `look_through` the loop. Then the file, which is written and read
as a stream.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click

from handoff.command import progress
from handoff.errors import InputError
from handoff.jsonfile import BOX, RATE, listing, number, one_of, read_head, read_list, record, text, whole
from handoff.places import Box
from handoff.poses import FrameJsonWriter
from handoff.run import Run, run_stage, tool_versions
from handoff.threads import Ahead
from handoff.video import Frame, read_frames
from posegen.detect.appearance import look_of
from posegen.detect.coco import CLASSES, PERSON
from posegen.detect.yolox import NMS_IOU, SCORE_THR, Detection, YoloxDetector

DETECTIONS = "detections.json"
DETECT = "detect"
_AHEAD = 4  # decoded frames that may wait for the detector
_TOGETHER = 8  # frames a call, where the file's batch axis is free


class Sample(NamedTuple):
    """What was seen in one frame, the surest first."""

    frame: int
    detections: list[Detection]


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


SCHEMA = 1


@dataclass(frozen=True)
class Header:
    """What stands before the detections.

    model: the weight's name. sha256: of the file that was used. threshold: scores above it were kept. every: frames
    from one sample to the next; the last frame is a sample too. frame_count: of the clip.
    """

    model: str
    sha256: str
    threshold: float
    every: int
    width: int
    height: int
    fps: str
    frame_count: int


class DetectionWriter(FrameJsonWriter[Sample]):
    """Write detections.json sample by sample."""

    def __init__(self, path: Path, header: Header) -> None:
        super().__init__(path, {"schema": SCHEMA} | asdict(header))

    def record(self, index: int, item: Sample) -> dict[str, Any]:
        return {"frame": item.frame, "detections": [_to_json(each) for each in item.detections]}


_AGAIN = "run the pose stage again with --force"
_HEADER = record(
    {
        "schema": one_of(SCHEMA),
        "model": text(),
        "sha256": text(),
        "threshold": number(0, 1),
        "every": whole(1),
        "width": whole(1),
        "height": whole(1),
        "fps": RATE,
        "frame_count": whole(1),
    }
)
_SAMPLE = record(
    {
        "frame": whole(0),
        "detections": listing(
            record(
                {"class": one_of(*CLASSES), "score": number(0, 1), "box": BOX},
                {"look": text(r"([0-9a-f]{2})*", "hexadecimal digits")},
            )
        ),
    }
)


def read_detections_header(path: Path) -> Header:
    """Return what stands before the detections; InputError for a missing or foreign file or another schema."""
    found = read_head(path, "frames", _HEADER, advice=_AGAIN)
    return Header(**{name: found[name] for name in Header.__dataclass_fields__})


def read_samples(path: Path, labels: Sequence[int] | None = None) -> Iterator[Sample]:
    """Yield the samples in order, one in memory at a time; with `labels` only the detections of those classes.

    Raises InputError for a missing or damaged file, for frames out of order or that the clip does not have, and for
    none at all.
    """
    frames, last = read_detections_header(path).frame_count, -1
    for sample in read_list(path, "frames", _SAMPLE, advice=_AGAIN):
        if not last < sample["frame"] < frames:
            raise InputError(f"{path} has frame {sample['frame']} after {last}, of {frames} frames; {_AGAIN}.")
        last = sample["frame"]
        seen = [_from_json(each) for each in sample["detections"]]
        yield Sample(sample["frame"], [each for each in seen if labels is None or each.label in labels])
    if last < 0:
        raise InputError(f"{path} has no frames; {_AGAIN}.")


def _to_json(detection: Detection) -> dict[str, Any]:
    box = [round(side, 2) for side in detection.box.as_list()]
    look = {"look": detection.look.hex()} if detection.look else {}
    return {"class": CLASSES[detection.label], "score": round(detection.score, 4), "box": box} | look


def _from_json(record: Any) -> Detection:
    box = Box(*(float(side) for side in record["box"]))
    return Detection(CLASSES.index(record["class"]), float(record["score"]), box, bytes.fromhex(record.get("look", "")))
