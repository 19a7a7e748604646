"""Where a thing is: boxes and points on frames, prompts made of them, and prompts.json.

In reading order: `Box` (x1, y1, x2, y2 in pixels of the source frame, the right and lower edges not included), `Point`,
`Place` (both on one frame), `Prompt` (a place, corrections on other frames, and who said so), the checks that a clip
has such places, and the file.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from handoff.errors import InputError, UsageError
from handoff.files import write_text
from handoff.jsonfile import BOX, LINE, Unfit, listing, number, one_of, read_json, record, text, whole

if TYPE_CHECKING:  # a command's options need no video library
    from handoff.run import Run
    from handoff.video import ClipInfo

SCHEMA = 1
FILE = "prompts.json"


@dataclass(frozen=True)
class Box:
    """A box in pixels; x grows to the right, y downwards."""

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def of(cls, values: Any) -> Box | None:
        """Return the box of four finite numbers x1, y1, x2, y2, as text or not; None for anything else."""
        try:
            numbers = [] if isinstance(values, str | bytes) else [float(each) for each in values]
        except (TypeError, ValueError):
            return None
        return cls(*numbers) if len(numbers) == 4 and all(map(math.isfinite, numbers)) else None

    def as_list(self) -> list[float]:
        """Return [x1, y1, x2, y2], whole numbers as int (for JSON)."""
        return [int(v) if float(v).is_integer() else float(v) for v in (self.x1, self.y1, self.x2, self.y2)]

    @property
    def width(self) -> float:
        """x2 - x1, px."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """y2 - y1, px."""
        return self.y2 - self.y1

    @property
    def area(self) -> float:
        """Width times height, px."""
        return self.width * self.height

    @property
    def longer_side(self) -> float:
        """The larger of width and height, px."""
        return max(self.width, self.height)

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the middle, px."""
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def contains(self, x: float, y: float) -> bool:
        """Say whether a point lies in the box; the right and lower edges are outside."""
        return self.x1 <= x < self.x2 and self.y1 <= y < self.y2

    def iou(self, other: Box) -> float:
        """Return the intersection over the union of two boxes, 0..1."""
        width = min(self.x2, other.x2) - max(self.x1, other.x1)
        height = min(self.y2, other.y2) - max(self.y1, other.y1)
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / (self.area + other.area - width * height)

    def clipped(self, width: int, height: int) -> Box | None:
        """Return the part inside a frame of width x height px; None where less than a pixel either way is left."""
        cut = Box(max(0.0, self.x1), max(0.0, self.y1), min(float(width), self.x2), min(float(height), self.y2))
        return cut if cut.width >= 1 and cut.height >= 1 else None

    def grown(self, px: float) -> Box:
        """Return the box with `px` more on every side."""
        return Box(self.x1 - px, self.y1 - px, self.x2 + px, self.y2 + px)

    def rounded(self) -> Box:
        """Return the box on the nearest whole pixels, as a person would write it down."""
        return Box(*(round(value) for value in (self.x1, self.y1, self.x2, self.y2)))

    def rounded_out(self) -> tuple[int, int, int, int]:
        """Return x1, y1, x2, y2 of the smallest box of whole pixels around this one."""
        return math.floor(self.x1), math.floor(self.y1), math.ceil(self.x2), math.ceil(self.y2)

    def __str__(self) -> str:
        return ",".join(f"{v:g}" for v in (self.x1, self.y1, self.x2, self.y2))


def parse_box(text: str) -> Box:
    """Parse "x1,y1,x2,y2", "[x1, y1, x2, y2]" or the same with spaces.

    Raises UsageError when it is not four finite numbers.
    """
    box = Box.of(re.split(r"[,\s]+", text.strip().removeprefix("[").removesuffix("]").strip()))
    if box is None:
        raise UsageError(f"the box '{text}' is not four numbers; write x1,y1,x2,y2 in pixels, such as 120,200,260,240.")
    return box


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


def check_box(box: Box, width: int, height: int) -> Box:
    """Return `box` when it lies in a frame of width x height pixels; raise InputError when it does not."""
    if box.x2 < box.x1 or box.y2 < box.y1:
        mended = Box(min(box.x1, box.x2), min(box.y1, box.y2), max(box.x1, box.x2), max(box.y1, box.y2))
        raise InputError(
            f"the box {box} is reversed: x2 must be right of x1 and y2 below y1; perhaps you meant {mended}."
        )
    if box.width < 1 or box.height < 1:
        raise InputError(f"the box {box} has no area: it must be at least 1 px wide and 1 px high.")
    if box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        raise InputError(
            f"the box {box} does not lie inside the frame of {width}x{height} px: "
            f"give x from 0 to {width} and y from 0 to {height}."
        )
    return box


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
