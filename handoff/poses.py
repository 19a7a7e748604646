"""pose.json: the people of every frame, 133 COCO-WholeBody keypoints each.

In reading order: how a JSON file of frames is written, whatever they hold (a header, then "frames", one record a line:
as a stream, one frame in memory at a time, and still open to any JSON tool), then the people in it, read and checked.

Keypoint order: body 0-16, feet 17-22, face 23-90, left hand 91-111, right hand 112-132 (COCO-WholeBody). "left" is the
person's own left.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, UsageError
from handoff.files import atomic_file
from handoff.jsonfile import BOX, RATE, listing, one_of, read_head, read_list, record, whole
from handoff.places import Box

if TYPE_CHECKING:
    from handoff.video import ClipInfo

T = TypeVar("T")

SCHEMA = 1
N_KEYPOINTS = 133
FARTHEST = 100_000
"""Px from the frame's corner: a keypoint outside the picture can be guessed, one further away is damage."""


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

    info: of the clip, which the file names. header: what else stands before "frames". Coordinates keep 2 decimals,
    scores 4.
    """

    def __init__(self, path: Path, info: ClipInfo, header: dict[str, Any]) -> None:
        fps = f"{info.fps.numerator}/{info.fps.denominator}"
        clip = {"width": info.width, "height": info.height, "fps": fps, "frame_count": info.frames}
        super().__init__(path, {"schema": SCHEMA} | header | clip)

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


_AGAIN = "extract the pose again"
_HEADER = record(
    {"schema": one_of(SCHEMA), "width": whole(1), "height": whole(1), "fps": RATE, "frame_count": whole(0)},
)
_FRAME = record(
    {"frame": whole(0), "people": listing(record({"box": BOX, "keypoints": listing(), "scores": listing()}))}
)


def read_header(path: Path) -> dict[str, Any]:
    """Return what stands before "frames": schema, size, rate, frame count at least; InputError as `read_poses`."""
    _check_there(path)
    return read_head(path, "frames", _HEADER, advice=_AGAIN)


def read_poses(path: Path) -> Iterator[list[Person]]:
    """Yield the people of each frame, in order, one frame in memory at a time.

    Raises InputError for a missing or damaged file, frames that are out of order, and numbers that cannot be a pose's:
    further than FARTHEST from the frame's corner, or a score outside 0..1.
    """
    return (people() for people in poses_at_hand(path))


def poses_at_hand(path: Path) -> Iterator[Callable[[], list[Person]]]:
    """Yield for each frame what gives its people, for who needs few of them: the numbers are looked at then.

    Raises, and what is yielded raises, as `read_poses`.
    """
    _check_there(path)
    for index, frame in enumerate(read_list(path, "frames", _FRAME, advice=_AGAIN)):
        if frame["frame"] != index:
            raise InputError(f"{path} does not have frame {index} where it should be; {_AGAIN}.")
        yield functools.partial(_people_from_json, path, frame["people"], index)


def _check_there(path: Path) -> None:
    if not path.exists():
        raise InputError(f"there is no pose file {path}; make one with extract_physics.py.")


def _people_from_json(path: Path, people: list[dict[str, Any]], frame: int) -> list[Person]:
    return [_person_from_json(path, person, frame) for person in people]


def _person_from_json(path: Path, person: dict[str, Any], frame: int) -> Person:
    try:
        box = Box(*map(float, person["box"]))
        if box.width < 0 or box.height < 0:
            raise ValueError(f"the box {box}, which is reversed")
        keypoints = _numbers(person, "keypoints", (N_KEYPOINTS, 2), -FARTHEST, FARTHEST)
        scores = _numbers(person, "scores", (N_KEYPOINTS,), 0, 1)
        # a file from before there was smoothing has none, nor has one that was made without
        raw = _numbers(person, "raw", (N_KEYPOINTS, 2), -FARTHEST, FARTHEST) if "raw" in person else None
    except ValueError as error:
        raise InputError(f"{path}: frame {frame} has a person that cannot be used ({error}); {_AGAIN}.") from error
    return Person(box, keypoints, scores, raw)


def _numbers(
    person: dict[str, Any], key: str, shape: tuple[int, ...], least: float, most: float
) -> NDArray[np.float32]:
    """Return a list of a person's as an array; ValueError for another shape, or with the value for one out of range."""
    if not _fits(person[key], shape):
        raise ValueError(f"{key} is not a list of {' x '.join(map(str, shape))} numbers")
    values = np.array(person[key])
    outside = ~((values >= least) & (values <= most))
    if outside.any():
        raise ValueError(f"{key} has {values[outside][0]:g}, and must be {least:g} to {most:g}")
    return values.astype(np.float32)


def _fits(values: Any, shape: tuple[int, ...]) -> bool:
    if not isinstance(values, list) or len(values) != shape[0]:
        return False
    if len(shape) > 1:
        return all(_fits(each, shape[1:]) for each in values)
    return all(type(each) in (int, float) for each in values)


def check_poses(path: Path, info: ClipInfo, rate_error: float = 0.0) -> None:
    """Raise InputError unless the pose file is of a clip of that size, rate and frame count, and all of it can be read.

    rate_error: how far the rates may differ, as a share; a clip from elsewhere states its own only roughly.
    """
    header = read_header(path)
    size, rate, frames = (header["width"], header["height"]), Fraction(header["fps"]), header["frame_count"]
    if size != (info.width, info.height) or frames != info.frames or abs(rate - info.fps) > info.fps * rate_error:
        raise InputError(
            f"{path} was made from a clip of {frames} frames of {size[0]}x{size[1]} px at {rate} fps, and this one has "
            f"{info.frames} of {info.width}x{info.height} px at {info.fps}; give the pose that was made from this clip."
        )
    count = sum(1 for _ in itertools.islice(read_poses(path), info.frames + 1))
    if count != info.frames:
        more = "more" if count > info.frames else count
        raise InputError(
            f"{path} has {more} frames, the clip has {info.frames}; give the pose that was made from this clip."
        )
