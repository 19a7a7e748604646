"""From detections.json to the two answers: where the skater is in every frame, and where the object is best seen."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from handoff.box import Box
from handoff.errors import InputError
from handoff.prompts import Place, Prompt
from handoff.run import Run
from posegen.detect.coco import PERSON, class_number
from posegen.detect.follow import follow
from posegen.detect.record import read_header, read_samples
from posegen.detect.skater import Things, Where, choose_skater, skater_boxes
from posegen.detect.thing import SURE, Rated, choose_thing, not_found, thing_prompt

BY_HAND = 100.0
"""What a box given by hand counts against a detection's score of at most 1: whoever has that object is the skater."""


@dataclass(frozen=True)
class Found:
    """What the detections say.

    boxes: the skater's box (px) in every frame, None where he was not seen. things: the object's detections, the best
    beginning for the tracker first. people: how many tracklets of people there are, and how many are the skater's.
    """

    name: str
    model: str
    boxes: list[Box | None]
    things: list[Rated]
    people: int
    chosen: int

    @property
    def summary(self) -> str:
        """One sentence for the log."""
        seen = sum(box is not None for box in self.boxes)
        return f"the skater in {seen} of {len(self.boxes)} frames ({self.people} tracks of people, {self.chosen} his)"


def find(run: Run, path: Path, name: str, where: Where | None = None, by_hand: Place | None = None) -> Found:
    """Read detections.json at `path` and return who and where.

    name: the object's class. where: who the skater is, if the user says so. by_hand: the object's place, if the user
    gave it. Raises UsageError for a class that there is not, InputError for a file of another clip or where nobody is.
    """
    info, label, header = run.info, class_number(name), read_header(path)
    if (header.width, header.height, header.frame_count) != (info.width, info.height, info.frames):
        raise InputError(f"{path} is of another clip; run the pose stage again with --force.")
    if where is not None and not 0 <= where.frame < info.frames:
        raise InputError(
            f"--person {where}: frame {where.frame} is not in the clip: it has {info.frames} frames, "
            f"0 to {info.frames - 1}."
        )
    tracklets = follow(read_samples(path, [PERSON]), info.fps, header.every)
    samples = list(read_samples(path, [label]))
    things: Things = {
        frame: [(each.score, each.box) for each in seen if each.score > SURE] for frame, seen in samples if seen
    }
    frame, box = (by_hand.frame, _box(by_hand)) if by_hand else (0, None)
    if box is not None:
        nearest = min((sample.frame for sample in samples), key=lambda each: abs(each - frame))
        things.setdefault(nearest, []).append((BY_HAND, box))
    chosen = choose_skater(tracklets, things, where)
    boxes = skater_boxes(chosen, info.frames, Fraction(info.fps), header.every)
    rated = choose_thing(samples, label, info, boxes, header.every)
    return Found(name, header.model, boxes, rated, len(tracklets), len(chosen))


def object_prompt(run: Run, path: Path, found: Found) -> Prompt:
    """Return the object's prompt; raise InputError, with the nearest misses, where it was not found."""
    if not found.things:
        raise not_found(found.name, read_samples(path), run.info, PERSON)
    return thing_prompt(found.name, found.things, run.info, found.model)


def _box(place: Place) -> Box | None:
    """Return a place's box, or a small one around its first point on the thing."""
    if place.box is not None:
        return place.box
    return next((Box(each.x - 1, each.y - 1, each.x + 1, each.y + 1) for each in place.points if each.label), None)
