"""detections.json: what the detector saw, one sampled frame a line, all classes; written and read as a stream."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import ijson

from handoff.atomic import atomic_file
from handoff.box import Box
from handoff.errors import InputError
from posegen.detect.coco import CLASSES
from posegen.detect.yolox import Detection

FILE = "detections.json"
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


class DetectionWriter:
    """Write detections.json sample by sample; the file gets its name only when it is complete."""

    def __init__(self, path: Path, header: Header) -> None:
        self._atomic = atomic_file(path)
        self._header = {"schema": SCHEMA} | asdict(header)
        self._stack = contextlib.ExitStack()
        self._count = 0

    def __enter__(self) -> DetectionWriter:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(self._atomic)
            self._file = stack.enter_context(partial.open("w", encoding="utf-8"))
            self._file.write(json.dumps(self._header, indent=1).removesuffix("\n}") + ',\n "frames": [\n')
            self._stack = stack.pop_all()
        return self

    def write(self, sample: Sample) -> None:
        """Add the next sample."""
        record = {"frame": sample.frame, "detections": [_to_json(each) for each in sample.detections]}
        self._file.write((",\n" if self._count else "") + json.dumps(record, separators=(",", ":")))
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        if kind is None:
            self._file.write("\n ]\n}\n")
        return self._stack.__exit__(kind, error, None)


def read_header(path: Path) -> Header:
    """Return what stands before the detections; InputError for a missing or foreign file or another schema."""
    found: dict[str, Any] = {}
    with _errors(path), path.open("rb") as file:
        for prefix, event, value in ijson.parse(file, use_float=True):
            if prefix == "frames":
                break
            if event in ("string", "number"):
                found[prefix] = value
    if found.pop("schema", None) != SCHEMA or set(found) != set(Header.__dataclass_fields__):
        raise InputError(f"{path} is not a detections file of schema {SCHEMA}; run the pose stage again with --force.")
    return Header(**found)


def read_samples(path: Path, labels: Sequence[int] | None = None) -> Iterator[Sample]:
    """Yield the samples in order, one in memory at a time; with `labels` only the detections of those classes."""
    with _errors(path), path.open("rb") as file:
        for record in ijson.items(file, "frames.item", use_float=True):
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
