"""Which of the people is the skater, and his box in every frame of the clip.

Read `find_skater` first; `choose_skater` is the choice, `skater_boxes` what comes of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from handoff.detections.samples import Sample
from handoff.errors import InputError
from handoff.places import Box
from handoff.video import ClipInfo
from posegen.choice import Where
from posegen.detect.appearance import alike
from posegen.detect.tracklets import Tracklet, follow

BRIDGE_S = 0.5
"""The longest gap between two detections over which a box is interpolated (or --every, where that is longer)."""

_REACH = 0.35  # heights: a thing this far from a person counts 1/e
_ENOUGH = 0.5  # evidence that a person has to do with the object at all: one sure detection, near
_SAME = 0.8  # likeness above which a later tracklet is the same person
_MAYBE = 0.6  # the same where the object is with him too
_MEETING = 2  # samples that tracklets of one person may share, where one begins as the other ends

SURE = 0.25
"""Score above which a detection may be the object."""

Things = dict[int, list[tuple[float, Box]]]
"""The object's detections by frame: score and box."""


class NobodyThere(InputError):
    """Nobody is where the skater is said to be."""


@dataclass(frozen=True)
class Skater:
    """Where the skater is. boxes: his box (px) in every frame, None where he was not seen.

    people: how many tracklets of people there are. chosen: how many of them are his.
    """

    boxes: list[Box | None]
    people: int
    chosen: int


def find_skater(
    samples: Iterable[Sample], things: Things, info: ClipInfo, every: int, where: Where | None = None
) -> Skater:
    """Return where the skater is in every frame of a clip, of which every `every`-th frame was looked at.

    samples: in order, with their people. things, where: what says who of them he is, see `choose_skater`.
    Raises NobodyThere when nobody is at `where`.
    """
    tracklets = follow(samples, info.fps, every)
    chosen = choose_skater(tracklets, things, where)
    return Skater(skater_boxes(chosen, info.frames, Fraction(info.fps), every), len(tracklets), len(chosen))


def sure_things(samples: Iterable[Sample], label: int) -> Things:
    """Return the detections of class `label` that are SURE, by frame."""
    return {
        sample.frame: [
            (each.score, each.box) for each in sample.detections if each.label == label and each.score > SURE
        ]
        for sample in samples
        if any(each.label == label for each in sample.detections)
    }


def nearness(thing: Box, person: Box) -> float:
    """Return how near a thing is to a person, 0..1: by the gap between its centre and the person's box, and in part
    by how far it is from the feet, in heights of the person.
    """
    height = max(1.0, person.height)
    x, y = (thing.x1 + thing.x2) / 2, (thing.y1 + thing.y2) / 2
    gap = math.hypot(max(person.x1 - x, 0, x - person.x2), max(person.y1 - y, 0, y - person.y2))
    feet = math.hypot(x - (person.x1 + person.x2) / 2, y - person.y2)
    return math.exp(-(gap + 0.3 * feet) / (_REACH * height))


def choose_skater(tracklets: Sequence[Tracklet], things: Things, where: Where | None = None) -> list[Tracklet]:
    """Return the tracklets of one person, the skater: empty where nobody is.

    He is who stands at `where`; else who is nearest the object over time; else who is largest for longest. Tracklets
    of other times are his where they look like him (and the object is with them, where they look so only roughly).
    Raises NobodyThere, with who there is, when nobody is at `where`.
    """
    if where is None and not tracklets:
        return []
    evidence = {id(each): _evidence(each, tracklets, things) for each in tracklets}
    if where is not None:
        seed = _at(tracklets, where)
    elif max(evidence.values()) >= _ENOUGH:
        seed = max(tracklets, key=lambda each: evidence[id(each)])
    else:
        seed = max(tracklets, key=_presence)
    chosen = [seed]
    rest = [(alike(seed.look, each.look), each) for each in tracklets if each is not seed]
    for likeness, each in sorted(rest, key=lambda pair: -pair[0]):
        with_object = evidence[id(each)] >= 0.2 * len(each.frames)
        if likeness >= (_MAYBE if with_object else _SAME) and all(_apart(each, other) for other in chosen):
            chosen.append(each)
    return sorted(chosen, key=lambda each: each.frames[0])


def skater_boxes(chosen: Sequence[Tracklet], frames: int, fps: Fraction, every: int) -> list[Box | None]:
    """Return the skater's box for every frame of the clip; None where he was not seen, never a guess.

    Between two detections at most BRIDGE_S seconds (or `every` frames) apart the box is interpolated.
    """
    bridge = max(BRIDGE_S * fps, every)
    boxes: list[Box | None] = []
    for frame in range(frames):
        found = (each.box_at(frame, float(bridge)) for each in chosen if each.frames[0] <= frame <= each.frames[-1])
        boxes.append(next((box for box in found if box is not None), None))
    return boxes


def _evidence(track: Tracklet, all_of_them: Sequence[Tracklet], things: Things) -> float:
    """Return how much the object is this person's: over the frames, the score of what is nearest to him of all."""
    total = 0.0
    for frame, box in zip(track.frames, track.boxes, strict=True):
        person = Box(*(float(side) for side in box))
        others = [each for each in all_of_them if each is not track and each.frames[0] <= frame <= each.frames[-1]]
        for score, thing in things.get(frame, ()):
            near = nearness(thing, person)
            rivals = (other.box_at(frame, math.inf) for other in others)
            nearer = any(rival is not None and nearness(thing, rival) > near for rival in rivals)
            total += 0.0 if nearer else score * near
    return total


def _presence(track: Tracklet) -> float:
    """Return how large a person is, for how long: his heights (px), by score, added up."""
    return sum(float(box[3] - box[1]) * score for box, score in zip(track.boxes, track.scores, strict=True))


def _apart(one: Tracklet, other: Tracklet) -> bool:
    """Say whether two tracklets can be one person: they are not seen at the same time."""
    shared = set(one.frames) & set(other.frames)
    return len(shared) <= min(_MEETING, len(one.frames) - 1, len(other.frames) - 1)


def _at(tracklets: Sequence[Tracklet], where: Where) -> Tracklet:
    here = [(each, box) for each in tracklets if (box := each.box_at(where.frame, math.inf)) is not None]
    fits = [(_fit(box, where), each) for each, box in here]
    best = max(fits, key=lambda pair: pair[0], default=None)
    if best is None or best[0] <= 0:
        there = "; ".join(f"{where.frame}:{box.rounded()}" for _, box in here)
        raise NobodyThere(
            f"nobody was detected at {where}" + (f"; people on that frame: {there}." if there else " or on that frame.")
        )
    return best[1]


def _fit(box: Box, where: Where) -> float:
    """Return how well a box fits a place: of several around a point the one whose middle is nearest."""
    if where.box is not None:
        return box.iou(where.box)
    x, y = where.point or (math.nan, math.nan)
    across, down = box.centre
    return 1 / (1 + math.hypot(x - across, y - down)) if box.contains(x, y) else 0.0
