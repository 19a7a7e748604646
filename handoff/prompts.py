"""prompts.json: what each tracked thing is, where it is on one frame or on several, and who said so.

In reading order: places and prompts, the checks that a clip has such places, and the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from handoff.box import Box, check_box
from handoff.errors import InputError, UsageError
from handoff.files import write_text
from handoff.jsonfile import BOX, LINE, Unfit, listing, number, one_of, read_json, record, text, whole

if TYPE_CHECKING:  # a command's options need no video library
    from handoff.run import Run
    from handoff.video import ClipInfo

SCHEMA = 1
FILE = "prompts.json"


class Point(NamedTuple):
    """A point (px of the source frame); label 1: it is on the thing, 0: it is not."""

    x: float
    y: float
    label: int = 1

    @classmethod
    def of(cls, values: Any) -> Point | None:
        """Return the point of two finite numbers and perhaps a label, as text or not; None for anything else."""
        try:
            x, y, *label = [] if isinstance(values, str | bytes) else [float(each) for each in values]
        except (TypeError, ValueError):
            return None
        good = math.isfinite(x) and math.isfinite(y) and len(label) <= 1 and set(label) <= {0.0, 1.0}
        return cls(x, y, int(label[0]) if label else 1) if good else None


@dataclass(frozen=True)
class Place:
    """Where a thing is on frame `frame`: a box (px of the source frame), points, or both."""

    frame: int
    box: Box | None = None
    points: tuple[Point, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it for prompts.json and run.json: only what is given."""
        points = [[_number(point.x), _number(point.y), point.label] for point in self.points]
        box = {"box": self.box.as_list()} if self.box else {}
        return box | {"frame": self.frame} | ({"points": points} if points else {})

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Place:
        """The opposite of `as_json`, for a record of the shape `place_shape`."""
        box = Box(*map(float, record["box"])) if "box" in record else None
        points = tuple(Point(float(x), float(y), label) for x, y, label in record.get("points", ()))
        return cls(record["frame"], box, points)


class Candidate(NamedTuple):
    """A box (px of the source frame) on a frame, and how sure the detector was, 0..1."""

    frame: int
    box: Box
    score: float


@dataclass(frozen=True)
class Detected:
    """What a detector says of the box that it found.

    name: the class, such as "skateboard". score: 0..1. model: which detector. runners_up: the next best beginnings.
    """

    name: str
    score: float
    model: str
    runners_up: tuple[Candidate, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it for prompts.json."""
        others = [{"box": each.box.as_list(), "frame": each.frame, "score": each.score} for each in self.runners_up]
        return {"class": self.name, "score": self.score, "model": self.model, "runners_up": others}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Detected | None:
        """The opposite of `as_json`, for a record in prompts.json; None for one without a class."""
        if "class" not in record:
            return None
        others = (
            Candidate(each["frame"], Box(*map(float, each["box"])), each["score"]) for each in record["runners_up"]
        )
        return cls(record["class"], float(record["score"]), record["model"], tuple(others))


@dataclass(frozen=True)
class Prompt:
    """A first place, and corrections on other frames; origin: "flag", "detector", "drawn" or "pose".

    detected: what the detector says of the first place, where it is the detector's.
    """

    box: Box | None
    frame: int
    origin: str
    points: tuple[Point, ...] = ()
    corrections: tuple[Place, ...] = ()
    detected: Detected | None = None

    @property
    def places(self) -> tuple[Place, ...]:
        """All places, the first one first."""
        return (Place(self.frame, self.box, self.points), *self.corrections)

    def places_as_json(self) -> dict[str, Any]:
        """Return where the thing is and nothing else: what a tracker's result depends on."""
        corrections = [place.as_json() for place in self.corrections]
        return self.places[0].as_json() | ({"corrections": corrections} if corrections else {})

    def as_json(self) -> dict[str, Any]:
        """Return it for prompts.json."""
        return self.places_as_json() | {"from": self.origin} | (self.detected.as_json() if self.detected else {})


def check_place(place: Place, info: ClipInfo) -> None:
    """Raise InputError, with the values seen, for a frame, box or point that the clip does not have."""
    if not 0 <= place.frame < info.frames:
        raise InputError(
            f"frame {place.frame} is not in the clip: it has {info.frames} frames, 0 to {info.frames - 1}."
        )
    if place.box is None and not place.points:
        raise UsageError(f"where is the object on frame {place.frame}? Give a box or a point.")
    if place.box is not None:
        check_box(place.box, info.width, info.height)
    for point in place.points:
        if not (0 <= point.x < info.width and 0 <= point.y < info.height):
            raise InputError(
                f"the point {point.x:g},{point.y:g} does not lie inside the frame of {info.width}x{info.height} px."
            )


def check_places(places: Sequence[Place], info: ClipInfo) -> None:
    """The same for all places of one thing; UsageError for two on one frame."""
    for place in places:
        check_place(place, info)
    frames = [place.frame for place in places]
    for frame in frames:
        if frames.count(frame) > 1:
            raise UsageError(f"frame {frame} is given twice; a correction goes on a frame of its own.")


def _point(value: Any, place: str) -> None:
    listing(number(-1e6, 1e6), 3, 3)(value, place)
    one_of(0, 1)(value[2], f"{place}[2]")


_PLACE = record({"frame": whole(0)}, {"box": BOX, "points": listing(_point, 1)})


def place_shape(value: Any, place: str) -> None:
    """Check that a record at `place` of a document is a `Place`'s; Unfit otherwise."""
    _PLACE(value, place)
    if not value.keys() & {"box", "points"}:
        raise Unfit(place, "has neither a box nor points")


_NOUN = text(r"[^\x00-\x1f\x7f]+", "a name of at most 200 characters", most=200)
_CANDIDATE = record({"frame": whole(0), "box": BOX, "score": number(0, 1)})
_DETECTED = record({"class": _NOUN, "score": number(0, 1), "model": LINE, "runners_up": listing(_CANDIDATE)})


def _prompt(value: Any, place: str) -> None:
    place_shape(value, place)
    record({"from": one_of("flag", "detector", "drawn", "pose")}, {"corrections": listing(place_shape)})(value, place)
    if "class" in value:
        _DETECTED(value, place)


_THINGS = ("object", "skater")
_FILE = record({"schema": one_of(SCHEMA)}, dict.fromkeys(_THINGS, _prompt))


def read_prompts(run: Run) -> dict[str, Prompt]:
    """Return the prompts by what they are of: "object", "skater". Empty when there are none."""
    prompts = {}
    for key, found in _read(run).items():
        if key in _THINGS:
            first = Place.from_json(found)
            corrections = tuple(map(Place.from_json, found.get("corrections", ())))
            detected = Detected.from_json(found)
            prompts[key] = Prompt(first.box, first.frame, found["from"], first.points, corrections, detected)
    return prompts


def write_prompt(run: Run, key: str, prompt: Prompt | None) -> None:
    """Set (or with None remove) one prompt and keep the others. A file that already says so is not touched."""
    data = _read(run)
    before = dict(data)
    if prompt is None:
        data.pop(key, None)
    else:
        data[key] = prompt.as_json()
    if data != before or not run.path(FILE).exists():
        write_text(run.path(FILE), json.dumps(data, indent=1) + "\n")


def _read(run: Run) -> dict[str, Any]:
    path = run.path(FILE)
    if not path.exists():
        return {"schema": SCHEMA}
    found: dict[str, Any] = read_json(path, _FILE, advice="delete it and give the box again")
    return found


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else float(value)
