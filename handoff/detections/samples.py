"""detections.json: what a detector saw in the frames that it looked at, one sampled frame a line, all classes.

In reading order: a detection and a sample, then the file, which is written and read as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from handoff.detections.coco import CLASSES
from handoff.errors import InputError
from handoff.jsonfile import BOX, RATE, listing, number, one_of, read_head, read_list, record, text, whole
from handoff.places import Box
from handoff.poses import FrameJsonWriter

if TYPE_CHECKING:
    from handoff.video import ClipInfo

DETECTIONS = "detections.json"


class Detection(NamedTuple):
    """One thing in one frame.

    label: its number in CLASSES. score: 0..1. box: px of the frame, cut at its edges. look: a person's colours, see
    posegen.detect.appearance; empty where they were not looked at.
    """

    label: int
    score: float
    box: Box
    look: bytes = b""


class Sample(NamedTuple):
    """What was seen in one frame, the surest first."""

    frame: int
    detections: list[Detection]


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

    def is_of(self, info: ClipInfo) -> bool:
        """Say whether a clip has the size and the number of frames that the detector saw."""
        return (self.width, self.height, self.frame_count) == (info.width, info.height, info.frames)


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
