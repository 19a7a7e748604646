"""pose.json: the people of every frame, 133 COCO-WholeBody keypoints each.

In reading order: a JSON file of frames, whatever they hold (a header, then "frames", one record a line: written and
read as a stream, one frame in memory at a time, and still open to any JSON tool), then the people in it.

Keypoint order: body 0-16, feet 17-22, face 23-90, left hand 91-111, right hand 112-132 (COCO-WholeBody). "left" is the
person's own left.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import ijson
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError
from handoff.files import atomic_file
from handoff.places import Box

T = TypeVar("T")

SCHEMA = 1
N_KEYPOINTS = 133


class FrameJsonWriter(ABC, Generic[T]):
    """Write such a file record by record; it gets its name only when it is complete. A context manager.

    header: what stands before "frames". `record` says what is written of an item.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self._atomic = atomic_file(path)
        self._header = header
        self._stack = contextlib.ExitStack()
        self._count = 0

    @abstractmethod
    def record(self, index: int, item: T) -> dict[str, Any]:
        """Return the item's JSON; index: how many were written before it."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(self._atomic)
            self._file = stack.enter_context(partial.open("w", encoding="utf-8"))
            self._file.write(json.dumps(self._header, indent=1).removesuffix("\n}") + ',\n "frames": [\n')
            self._stack = stack.pop_all()
        return self

    def write(self, item: T) -> None:
        """Add the next record; raises what `record` raises."""
        line = json.dumps(self.record(self._count, item), separators=(",", ":"))
        self._file.write((",\n" if self._count else "") + line)
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        if kind is None:
            self._file.write("\n ]\n}\n")
        return self._stack.__exit__(kind, error, None)


def read_header(path: Path) -> dict[str, Any]:
    """Return what stands before "frames"; {} where the file holds no object.

    Raises FileNotFoundError, and ijson.JSONError or UnicodeDecodeError for a file that is not JSON up to there.
    """
    header: dict[str, Any] = {}
    with path.open("rb") as file:
        builder = ijson.ObjectBuilder()
        for prefix, event, value in ijson.parse(file, use_float=True):
            if prefix == "frames":
                break
            builder.event(event, value)
            header = builder.value if isinstance(builder.value, dict) else {}
    return header


def read_records(path: Path) -> Iterator[Any]:
    """Yield what stands in "frames", in order; raises as `read_header` does."""
    with path.open("rb") as file:
        yield from ijson.items(file, "frames.item", use_float=True)


@dataclass(frozen=True)
class Person:
    """One person in one frame.

    box: around the person, px. keypoints: (133, 2) float32, px; a keypoint with score 0 was not seen, and its place
    means nothing. scores: (133,) float32, 0..1. raw: (133, 2) float32, px, the keypoints as the model gave them, where
    `keypoints` has been smoothed; else None.
    """

    box: Box
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    raw: NDArray[np.float32] | None = None


class PoseWriter(FrameJsonWriter[list[Person]]):
    """Write pose.json frame by frame: the frame's people, an empty list where nobody was found.

    header: what stands before "frames"; "schema" is added. Coordinates keep 2 decimals, scores 4.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        super().__init__(path, {"schema": SCHEMA} | header)

    def record(self, index: int, item: list[Person]) -> dict[str, Any]:
        return {"frame": index, "people": [_person_to_json(person) for person in item]}


def _person_to_json(person: Person) -> dict[str, Any]:
    if person.keypoints.shape != (N_KEYPOINTS, 2) or person.scores.shape != (N_KEYPOINTS,):
        raise UsageError(
            f"a person has keypoints {person.keypoints.shape} and scores {person.scores.shape}; "
            f"({N_KEYPOINTS}, 2) and ({N_KEYPOINTS},) are needed."
        )
    raw = person.keypoints if person.raw is None else person.raw
    if raw.shape != (N_KEYPOINTS, 2):
        raise UsageError(f"a person has raw keypoints {raw.shape}; ({N_KEYPOINTS}, 2) are needed.")
    if not all(np.isfinite(each).all() for each in (person.keypoints, raw, person.scores, person.box.as_list())):
        raise UsageError("a person has keypoints, scores or a box that are not finite numbers.")
    record: dict[str, Any] = {
        "box": [round(float(value), 2) for value in person.box.as_list()],
        "keypoints": _points_to_json(person.keypoints),
        "scores": [round(float(score), 4) for score in person.scores],
    }
    if person.raw is not None:
        record["raw"] = _points_to_json(raw)
    return record


def _points_to_json(points: NDArray[np.float32]) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]


@contextlib.contextmanager
def _json_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"there is no pose file {path}; make one with extract_physics.py.") from error
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a pose file ({error}); extract the pose again.") from error


def read_poses(path: Path) -> Iterator[list[Person]]:
    """Yield the people of each frame, in order, one frame in memory at a time.

    Raises InputError for a missing or damaged file, or frames that are out of order.
    """
    with _json_errors(path):
        for index, record in enumerate(read_records(path)):
            if not isinstance(record, dict) or record.get("frame") != index:
                raise InputError(f"{path} does not have frame {index} where it should be; extract the pose again.")
            yield [_person_from_json(person, index) for person in record.get("people", [])]


def _person_from_json(record: Any, frame: int) -> Person:
    try:
        box = Box(*(float(value) for value in record["box"]))
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
            keypoints = np.array(record["keypoints"], np.float32)
            scores = np.array(record["scores"], np.float32)
            # a file from before there was smoothing has none, nor has one that was made without
            raw = np.array(record["raw"], np.float32) if "raw" in record else None
        for name, values, shape in (
            ("keypoints", keypoints, (N_KEYPOINTS, 2)),
            ("scores", scores, (N_KEYPOINTS,)),
            ("raw", keypoints if raw is None else raw, (N_KEYPOINTS, 2)),
            ("box", np.array(box.as_list()), (4,)),
        ):
            if values.shape != shape:
                raise ValueError(f"{name} {values.shape} instead of {shape}")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} with a value that is no finite number")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"frame {frame} of the pose file has a person that cannot be used ({error}); extract the pose again."
        ) from error
    return Person(box, keypoints, scores, raw)


def check_poses(path: Path, frames: int) -> None:
    """Raise InputError unless the pose file has the clip's number of frames and every person can be read."""
    count = sum(1 for _ in read_poses(path))
    if count != frames:
        raise InputError(
            f"{path} has {count} frames, the clip has {frames}; give the pose that was made from this clip."
        )
