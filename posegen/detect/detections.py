"""detections.json: what the detector saw, one sampled frame a line, all classes; written and read as a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ijson

from handoff.box import Box
from handoff.errors import InputError
from handoff.poses import FrameJsonWriter, read_records
from handoff.poses import read_header as read_header_of
from posegen.detect.yolox import CLASSES, Detection

DETECTIONS = "detections.json"
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


class Sample(NamedTuple):
    """What was seen in one frame, the surest first."""

    frame: int
    detections: list[Detection]


class DetectionWriter(FrameJsonWriter[Sample]):
    """Write detections.json sample by sample."""

    def __init__(self, path: Path, header: Header) -> None:
        super().__init__(path, {"schema": SCHEMA} | asdict(header))

    def record(self, index: int, item: Sample) -> dict[str, Any]:
        return {"frame": item.frame, "detections": [_to_json(each) for each in item.detections]}


def read_detections_header(path: Path) -> Header:
    """Return what stands before the detections; InputError for a missing or foreign file or another schema."""
    with _errors(path):
        found = read_header_of(path)
    plain = all(type(value) in (str, int, float) for value in found.values())
    if found.pop("schema", None) != SCHEMA or set(found) != set(Header.__dataclass_fields__) or not plain:
        raise InputError(f"{path} is not a detections file of schema {SCHEMA}; run the pose stage again with --force.")
    return Header(**found)


def read_samples(path: Path, labels: Sequence[int] | None = None) -> Iterator[Sample]:
    """Yield the samples in order, one in memory at a time; with `labels` only the detections of those classes."""
    with _errors(path):
        for record in read_records(path):
            seen = [_from_json(each) for each in record["detections"]]
            yield Sample(int(record["frame"]), [each for each in seen if labels is None or each.label in labels])


def _to_json(detection: Detection) -> dict[str, Any]:
    box = [round(side, 2) for side in detection.box.as_list()]
    look = {"look": detection.look.hex()} if detection.look else {}
    return {"class": CLASSES[detection.label], "score": round(detection.score, 4), "box": box} | look


def _from_json(record: Any) -> Detection:
    box = Box(*(float(side) for side in record["box"]))
    return Detection(CLASSES.index(record["class"]), float(record["score"]), box, bytes.fromhex(record.get("look", "")))


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; run the pose stage again.") from error
    except (ijson.JSONError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); run the pose stage again with --force.") from error
