"""The detector as a witness: which class the object has, and where it was seen in each frame, whatever the mask says.

Not every detection of the class is the object: there may be a second board, and a detector also sees boards where there
are none. So of all detections one path through the clip is chosen, at most one a sample: through the places that were
given for the object, with the highest scores and the least haste (Viterbi's algorithm). Where the detector sees two
things of the class together often, the path may not jump; and once another comes near, either may be the object.

Read `object_class`, `find_sightings` and what it calls, then `compare`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from handoff.detections.coco import CLASSES, PERSON
from handoff.detections.samples import Sample
from handoff.masks import Mask, bounds, count
from handoff.places import Box, Place, Prompt

SURE = 0.25
"""Score from which a detection counts by itself; a weaker one only goes on with others."""
AGREES = 0.5
"""IoU with a box that was given from which a detection is of the same thing."""
LOOK_BACK_S = 1.0
"""After so long a silence the path can only jump: what was seen before says nothing any more."""

_BASE = 0.15  # a detection of this score is worth nothing on the path
_JUMP = 1.0  # what it costs to go on anywhere else
_FREE, _FREE_S = 0.3, 4.0  # longer sides that the centre may move for nothing: at once, and more each second
_HASTE, _GROWTH = 0.5, 0.3  # what a longer side more costs, and the logarithm of the longer sides' ratio
_GIVEN = 1000.0  # what a detection at a place that was given is worth: it is on the path
_RIVAL_SCORE, _RIVALS, _RIVAL_SHARE = 0.4, 5, 0.15  # score, number and share of samples with two things of the class
_APART = 0.2  # IoU of two boxes under which they are of two things
_NEAR = 1.0  # longer sides between two centres under which it is not sure any more which is which
_WITH = 0.35  # of a person's longer side: how far from him the object may be where the path jumps to it
_BRIDGE_S = 0.1  # between two detections so far apart (or one sample) the box is interpolated


class Sighting(NamedTuple):
    """The object in one frame: its box, px, and the detector's score, 0..1.

    others: boxes of the same class in that frame. sure: whether the object is none of them; where it may be one, a mask
    that agrees with one of them is neither right nor wrong.
    """

    frame: int
    box: Box
    score: float
    others: tuple[Box, ...] = ()
    sure: bool = False


def object_class(prompt: Prompt | None, samples: Iterable[Sample], every: int) -> int | None:
    """Return the object's class, a number in CLASSES; None where nothing says it.

    prompt: the object's. Where the detector found the object, its class is the one that was looked for. Else it is the
    class of the surest detections that agree with the boxes that were given (a box IoU of AGREES), on their own frames
    or the nearest sample. A person is never the object then: who holds it is often in the same box.
    """
    if prompt is None:
        return None
    if prompt.detected is not None:
        return CLASSES.index(prompt.detected.name) if prompt.detected.name in CLASSES else None
    votes: dict[int, float] = {}
    boxes = [place for place in prompt.places if place.box is not None]
    for sample in samples:
        for place in boxes:
            if abs(sample.frame - place.frame) <= every // 2:
                for each in sample.detections:
                    agreement = each.box.iou(place.box) if place.box else 0.0
                    if each.label != PERSON and each.score > SURE and agreement >= AGREES:
                        votes[each.label] = votes.get(each.label, 0.0) + each.score * agreement
    return max(votes, key=lambda label: votes[label], default=None)


def find_sightings(
    samples: Iterable[Sample], label: int, places: Sequence[Place], fps: Fraction, every: int
) -> dict[int, Sighting]:
    """Return where the detector saw the object, by frame; between two samples in a row the box is interpolated.

    samples: in order, with people. label: the object's class. places: where the object was said to be; without a
    detection there nothing is known of it, and the answer is empty. A few numbers a detection are kept.
    """
    seen: list[Sample] = []
    people: list[list[Box]] = []
    for sample in samples:
        things = [each for each in sample.detections if each.label == label]
        if things:
            seen.append(Sample(sample.frame, things))
            people.append([each.box for each in sample.detections if each.label == PERSON])
    given = _given(seen, places, every)
    if not given:
        return {}
    rivals = _has_rivals(seen)
    path = _best_path(seen, given, fps, rivals)
    sure = _sure_of_itself(path, seen, given) if rivals else frozenset()
    found: dict[int, Sighting] = {}
    bridge = max(every, int(_BRIDGE_S * fps))
    for stretch in _stretches(path, seen, fps):
        if not any(given.get(index) == number for index, number in stretch) and not _with_people(stretch, seen, people):
            continue
        before: Sighting | None = None
        for index, number in stretch:
            here = seen[index]
            own = here.detections[number]
            others = tuple(each.box for each in here.detections if each is not own and each.score > SURE)
            after = Sighting(here.frame, own.box, own.score, others, here.frame in sure)
            if before is not None and after.frame - before.frame <= bridge:
                found |= {frame: _between(before, after, frame) for frame in range(before.frame + 1, after.frame)}
            found[here.frame] = before = after
    return found


_Node = tuple[int, int]
"""A detection: the number of its sample, and its own in that sample."""


def _given(seen: Sequence[Sample], places: Sequence[Place], every: int) -> dict[int, int]:
    """Return the detections at the places that were given: the number of the sample, and the detection's in it."""
    given: dict[int, int] = {}
    for place in places:
        near = [
            (each.box.iou(place.box), -abs(sample.frame - place.frame), index, number)
            for index, sample in enumerate(seen)
            if place.box is not None and abs(sample.frame - place.frame) <= every // 2
            for number, each in enumerate(sample.detections)
        ]
        agreement, _, index, number = max(near, default=(0.0, 0, 0, 0))
        if agreement >= AGREES:
            given[index] = number
    return given


def _has_rivals(seen: Sequence[Sample]) -> bool:
    """Say whether the detector often sees two things of the class in one frame."""
    sure = [[each.box for each in sample.detections if each.score > _RIVAL_SCORE] for sample in seen]
    two = sum(any(box.iou(boxes[0]) < _APART for box in boxes[1:]) for boxes in sure)
    return two >= max(_RIVALS, _RIVAL_SHARE * sum(bool(boxes) for boxes in sure))


def _best_path(seen: Sequence[Sample], given: Mapping[int, int], fps: Fraction, rivals: bool) -> list[_Node]:
    """Return the path with the highest scores less what its steps cost, in order.

    rivals: whether there are two things of the class; then it may jump only to a place that was given, and goes on
    from no other detection than the nearest.
    """
    worth: list[list[float]] = []
    came_from: dict[_Node, _Node | None] = {}
    best: tuple[float, _Node | None] = (0.0, None)  # of all that ends so far
    look_back = float(LOOK_BACK_S * fps)
    for index, sample in enumerate(seen):
        values = []
        for number, each in enumerate(sample.detections):
            is_given = given.get(index) == number
            value: float = 0.0
            source: _Node | None = None
            if best[1] is not None and (is_given or not rivals) and best[0] - _JUMP > value:
                value, source = best[0] - _JUMP, best[1]
            for earlier in range(index - 1, -1, -1):
                steps = sample.frame - seen[earlier].frame
                if steps > look_back:
                    break
                ends = list(enumerate(seen[earlier].detections))
                if rivals:
                    ends = [min(ends, key=lambda end: math.dist(end[1].box.centre, each.box.centre))]
                for other, before in ends:
                    after = worth[earlier][other] - _cost(before.box, each.box, steps / float(fps))
                    if after > value:
                        value, source = after, (earlier, other)
            excluded = index in given and not is_given
            values.append(-math.inf if excluded else value + each.score - _BASE + _GIVEN * is_given)
            came_from[index, number] = source
        worth.append(values)
        top = max(range(len(values)), key=lambda one: values[one])
        if values[top] > best[0]:
            best = values[top], (index, top)
    path: list[_Node] = []
    node = best[1]
    while node is not None:
        path.append(node)
        node = came_from[node]
    return path[::-1]


def _cost(before: Box, after: Box, seconds: float) -> float:
    """Return what a step of the path costs, at most about a jump; inf beyond."""
    side = (_side(before) + _side(after)) / 2
    away = math.dist(before.centre, after.centre) / side - _FREE - _FREE_S * seconds
    cost = _HASTE * max(0.0, away) + _GROWTH * abs(math.log(_side(after) / _side(before)))
    return cost if cost < _JUMP else math.inf


def _stretches(path: Sequence[_Node], seen: Sequence[Sample], fps: Fraction) -> list[list[_Node]]:
    """Return the parts of the path between its jumps."""
    parts: list[list[_Node]] = []
    for index, number in path:
        if parts:
            last, at = parts[-1][-1]
            seconds = (seen[index].frame - seen[last].frame) / float(fps)
            before, after = seen[last].detections[at].box, seen[index].detections[number].box
            if seconds <= LOOK_BACK_S and _cost(before, after, seconds) < math.inf:
                parts[-1].append((index, number))
                continue
        parts.append([(index, number)])
    return parts


def _with_people(stretch: Sequence[_Node], seen: Sequence[Sample], people: Sequence[Sequence[Box]]) -> bool:
    """Say whether a part of the path that was jumped to is near somebody: a bench that is taken for a board is not."""
    gaps = []
    for index, number in stretch:
        x, y = seen[index].detections[number].box.centre
        gaps += [
            min(
                math.hypot(max(each.x1 - x, 0, x - each.x2), max(each.y1 - y, 0, y - each.y2)) / _side(each)
                for each in here
            )
            for here in [people[index]]
            if here
        ]
    return bool(gaps) and statistics.median(gaps) <= _WITH


def _sure_of_itself(path: Sequence[_Node], seen: Sequence[Sample], given: Mapping[int, int]) -> frozenset[int]:
    """Return the frames to which the path comes from a place that was given with no other thing near on the way."""
    sure: set[int] = set()
    starts = [at for at, (index, number) in enumerate(path) if given.get(index) == number]
    for start in starts:
        for way in (path[start:], path[start::-1]):
            for index, number in way:
                own = seen[index].detections[number]
                if any(
                    each is not own and math.dist(each.box.centre, own.box.centre) < _NEAR * _side(own.box)
                    for each in seen[index].detections
                ):
                    break
                sure.add(seen[index].frame)
    return frozenset(sure)


def _side(box: Box) -> float:
    return max(1.0, box.longer_side)


def _between(before: Sighting, after: Sighting, frame: int) -> Sighting:
    share = (frame - before.frame) / (after.frame - before.frame)
    sides = zip(before.box.as_list(), after.box.as_list(), strict=True)
    box, score = Box(*((1 - share) * a + share * b for a, b in sides)), min(before.score, after.score)
    return Sighting(frame, box, score, (*before.others, *after.others), before.sure and after.sure)


Side = Literal["left", "right", "up", "down"]


class Comparison(NamedTuple):
    """A mask held against where the detector saw the object.

    box_iou: of the mask's bounds and the detection. inside: the share of the mask in the detection's box. slid: to
    which side both opposite edges of the bounds lie beside the detection's, by SLID of its side at least. All None
    where the mask is empty; seen_where_empty says then whether the object is surely in sight.
    """

    box_iou: float | None
    inside: float | None
    slid: Side | None
    seen_where_empty: bool | None


SLID = 0.08
"""A detection that is too large or too small moves opposite edges apart; a mask that slid moves both one way."""
_SURELY = 0.4  # score from which a detection says that an empty mask is wrong
_EDGE = 0.01  # of the frame's longer side: nearer to the frame's edge the object may be all but out of sight


def compare(mask: Mask, sighting: Sighting) -> Comparison | None:
    """Hold a mask (H, W) bool against the object's box in the same frame.

    None where it agrees with another thing of the class that may be the object.
    """
    box, height, width = bounds(mask), *mask.shape
    if box is None:
        room = min(sighting.box.x1, sighting.box.y1, width - sighting.box.x2, height - sighting.box.y2)
        return Comparison(None, None, None, sighting.score > _SURELY and room > _EDGE * max(width, height))
    agreement = box.iou(sighting.box)
    if not sighting.sure and any(box.iou(other) > max(AGREES, agreement) for other in sighting.others):
        return None
    x1, y1, x2, y2 = (max(0, each) for each in sighting.box.rounded_out())
    inside = count(mask[y1:y2, x1:x2]) / count(mask)
    return Comparison(agreement, inside, _slid(box, sighting.box), None)


def _slid(box: Box, seen: Box) -> Side | None:
    """Return to which side a box lies of another, the way that it lies furthest; None where to none."""
    across, down = max(1.0, seen.width), max(1.0, seen.height)
    ways: dict[Side, float] = {
        "left": min(seen.x1 - box.x1, seen.x2 - box.x2) / across,
        "right": min(box.x1 - seen.x1, box.x2 - seen.x2) / across,
        "up": min(seen.y1 - box.y1, seen.y2 - box.y2) / down,
        "down": min(box.y1 - seen.y1, box.y2 - seen.y2) / down,
    }
    side = max(ways, key=lambda each: ways[each])
    return side if ways[side] >= SLID else None
