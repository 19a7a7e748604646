"""Where the object is: of all its detections the one that is the best beginning for the tracker.

Read `choose_thing` (each detection is rated), then `thing_prompt` (the best and the runners-up), `not_found`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from handoff.detections.coco import CLASSES
from handoff.detections.samples import Sample
from handoff.errors import InputError
from handoff.places import Box, Candidate, Detected, Prompt
from handoff.video import ClipInfo
from posegen.detect.skater import SURE

MARGIN = 0.03
"""Added to a box on each side, as a share of its longer one: the detector cuts off ends (a board's nose and tail), and
what lies outside a prompt's box is lost to a tracker."""

RUNNERS_UP = 4
_APART_S = 0.5  # a runner-up lies at least so far from the others: the frame next to the best one says nothing new
_NEAR_MISSES = 5
_EDGE = 0.02  # of the frame's longer side: nearer to the frame's edge a box may be cut off there
_REACH = 0.35  # of the skater's height: a thing so far from his box counts 1/e
_NEIGHBOUR_S = 0.26  # how far away in time a detection can confirm another
_BLUR = 0.35  # of its own side a frame: so fast a thing is half lost in its blur
_ALONE = 0.4  # how much a detection without confirmation counts


@dataclass(frozen=True)
class Rated:
    """One detection of the object: how good a beginning it is (0..1), and what makes it so."""

    frame: int
    box: Box
    score: float
    value: float
    why: dict[str, float]


def choose_thing(
    samples: Iterable[Sample], label: int, info: ClipInfo, skater: Sequence[Box | None], bridge: int
) -> list[Rated]:
    """Return the detections of class `label` that are sure, the best beginning first.

    Each is rated by its score, size, distance from the frame's edges, nearness to the skater (`skater`: his box in
    every frame), and by whether the detections just before and after it (within `bridge` frames at least) agree and
    lie near, which a box that holds all of a sharp object has and a chance find has not.
    """
    found = [
        (sample.frame, each.box, each.score)
        for sample in samples
        for each in sample.detections
        if each.label == label and each.score > SURE
    ]
    sides = sorted(_side(box) for _, box, _ in found)
    usual = sides[round(0.9 * (len(sides) - 1))] if sides else 1.0
    reach = max(_NEIGHBOUR_S * info.fps, bridge)
    rated = []
    for at, (frame, box, score) in enumerate(found):
        before = _confirmation(found[max(0, at - 40) : at], frame, box, reach)
        after = _confirmation(found[at + 1 : at + 41], frame, box, reach)
        why = {
            "score": score,
            "size": min(1.0, _side(box) / usual) ** 0.5,
            "edge": _clear_of_edges(box, info),
            "skater": _with_skater(box, skater[frame]),
            "steady": (before + after) / 2,
        }
        rated.append(Rated(frame, box, score, math.prod(why.values()), why))
    return sorted(rated, key=lambda each: (-each.value, each.frame))


def thing_prompt(name: str, rated: Sequence[Rated], info: ClipInfo, model: str) -> Prompt:
    """Return the best beginning as the object's prompt, with the runners-up. rated: not empty, the best first."""
    best, *others = rated
    apart = _APART_S * info.fps
    chosen = [best]
    for each in others:
        if len(chosen) <= RUNNERS_UP and all(abs(each.frame - one.frame) >= apart for one in chosen):
            chosen.append(each)
    candidates = tuple(Candidate(each.frame, outward(each.box, info), round(each.score, 4)) for each in chosen)
    detected = Detected(name, candidates[0].score, model, candidates[1:])
    return Prompt(candidates[0].box, best.frame, "detector", detected=detected)


def not_found(name: str, samples: Iterable[Sample], info: ClipInfo, people: int) -> InputError:
    """Return the error for an object that was not found: what came nearest to it, and what to do instead."""
    best: dict[str, tuple[float, int, Box]] = {}
    unsure: list[tuple[float, int, Box]] = []
    for sample in samples:
        for each in sample.detections:
            here = CLASSES[each.label]
            if here == name:
                unsure.append((each.score, sample.frame, each.box))
            elif each.label != people and each.score > best.get(here, (SURE, 0, each.box))[0]:
                best[here] = (each.score, sample.frame, each.box)
    misses = [f"'{name}' {_told(*each, info)}" for each in sorted(unsure, key=lambda each: -each[0])[:_NEAR_MISSES]]
    others = [f"'{here}' {_told(*each, info)}" for here, each in sorted(best.items(), key=lambda item: -item[1][0])]
    seen = "; ".join([*misses, *others[:_NEAR_MISSES]])
    return InputError(
        f"no '{name}' was found in the clip with a score above {SURE:g}; "
        + (f"what came nearest: {seen}. " if seen else "nothing like it was seen. ")
        + "Give its box by hand: make frame VIDEO=clip.mp4 FRAME=n shows a frame with a grid, then "
        "--bbox x1,y1,x2,y2 --frame n. Or name another object with --object, or a larger detector with --detector."
    )


def outward(box: Box, info: ClipInfo) -> Box:
    """Return a box on whole pixels that holds `box` and a margin, in the frame."""
    margin = MARGIN * box.longer_side
    return Box(
        max(0, math.floor(box.x1 - margin)),
        max(0, math.floor(box.y1 - margin)),
        min(info.width, math.ceil(box.x2 + margin)),
        min(info.height, math.ceil(box.y2 + margin)),
    )


def _told(score: float, frame: int, box: Box, info: ClipInfo) -> str:
    return f"{score:.2f} on frame {frame} at {outward(box, info)}"


def _side(box: Box) -> float:
    return math.sqrt(box.area)


def _clear_of_edges(box: Box, info: ClipInfo) -> float:
    room = min(box.x1, box.y1, info.width - box.x2, info.height - box.y2)
    return 0.2 + 0.8 * min(1.0, max(0.0, room) / (_EDGE * max(info.width, info.height)))


def _with_skater(box: Box, skater: Box | None) -> float:
    """Return how near the middle of a box is to the skater; where he was not seen, neither near nor far."""
    if skater is None:
        return 0.5
    x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    gap = math.hypot(max(skater.x1 - x, 0, x - skater.x2), max(skater.y1 - y, 0, y - skater.y2))
    return math.exp(-gap / (_REACH * max(1.0, skater.height)))


def _confirmation(others: Iterable[tuple[int, Box, float]], frame: int, box: Box, reach: Fraction | float) -> float:
    """Return how well the nearest detection in time (at most `reach` frames away) agrees, 0..1: in shape and place."""
    best, nearest = _ALONE, math.inf
    for other, that, _ in others:
        steps = abs(other - frame)
        if not 0 < steps <= reach or steps > nearest:
            continue
        x, y = that.x1 + that.x2 - box.x1 - box.x2, that.y1 + that.y2 - box.y1 - box.y2
        speed = math.hypot(x, y) / 2 / steps / _side(box)
        width = math.log(that.width / box.width)
        height = math.log(that.height / box.height)
        agrees = math.exp(-abs(width) - abs(height)) / (1 + (speed / _BLUR) ** 2)
        best = max(agrees, best if steps == nearest else _ALONE)
        nearest = steps
    return best
