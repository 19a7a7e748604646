"""Faults put into right masks: what trackers do when they are wrong, and what only an adversary would do.

A fault takes a `Scene` and yields a mask for every frame. Whether a faulty frame is wrong is not for the fault to say:
that is measured against the truth (bench/witness.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from handoff.masks import Mask, bounds, count
from handoff.poses import Person
from handoff.video import read_frames

FaultyMasks = Callable[["Scene"], Iterator[Mask]]
_LEGS = ((11, 13, 15), (12, 14, 16))
_SHOES = ((15, 17, 18, 19), (16, 20, 21, 22))
_DARK = 0.78  # of the ground's own brightness: shadow


@dataclass(frozen=True)
class Scene:
    """A clip and what is right of it: the object's masks, the person's, his keypoints, the frame of the prompt.

    another: masks of another thing that the object could be taken for, where the clip has one.
    """

    clip: Path
    masks: list[Mask]
    bodies: list[Mask]
    people: list[Person | None]
    prompt_frame: int
    another: list[Mask] | None = None

    @property
    def typical_px(self) -> float:
        """The median area of the object where it is seen."""
        return float(np.median([count(mask) for mask in self.masks if mask.any()]))


def moved(mask: Mask, dx: int, dy: int) -> Mask:
    """Return a mask moved by whole px; what leaves the frame is gone."""
    height, width = mask.shape
    result = np.zeros_like(mask)
    result[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = mask[
        max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)
    ]
    return result


def _grown(mask: Mask, px: int) -> Mask:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


def _each(change: Callable[[Mask], Mask]) -> FaultyMasks:
    """A fault of every mask that is not empty."""
    return lambda scene: (change(mask) if mask.any() else mask for mask in scene.masks)


def _ten_px(mask: Mask) -> Mask:
    return moved(mask, 10, 0)


def _ten_px_down(mask: Mask) -> Mask:
    return moved(mask, 0, 10)


def _own_width(mask: Mask) -> Mask:
    box = bounds(mask)
    return moved(mask, round(box.width / 2), 0) if box else mask


def _own_size_up(mask: Mask) -> Mask:
    box = bounds(mask)
    return moved(mask, 0, -round(box.height)) if box else mask


def _half(mask: Mask) -> Mask:
    box = bounds(mask)
    result = mask.copy()
    if box and box.width >= box.height:
        result[:, round(box.centre[0]) :] = False
    elif box:
        result[round(box.centre[1]) :] = False
    return result


def _third(mask: Mask) -> Mask:
    return _half(_half(mask))


def _scaled(factor: float) -> Callable[[Mask], Mask]:
    def change(mask: Mask) -> Mask:
        box = bounds(mask)
        if box is None:
            return mask
        (x, y), (height, width) = box.centre, mask.shape
        matrix = np.array([[factor, 0, (1 - factor) * x], [0, factor, (1 - factor) * y]], np.float32)
        return cv2.warpAffine(mask.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST).astype(bool)

    return change


def _fattened(mask: Mask) -> Mask:
    """Grow a mask evenly to at least twice its area."""
    goal, result, px = 2 * count(mask), mask, 0
    while count(result) < goal and px < 60:
        px += 2
        result = _grown(mask, px)
    return result


def _box(mask: Mask) -> Mask:
    box, result = bounds(mask), np.zeros_like(mask)
    if box:
        x1, y1, x2, y2 = box.rounded_out()
        result[y1:y2, x1:x2] = True
    return result


def _upside_down(mask: Mask) -> Mask:
    box, result = bounds(mask), np.zeros_like(mask)
    if box:
        x1, y1, x2, y2 = box.rounded_out()
        result[y1:y2, x1:x2] = mask[y1:y2, x1:x2][::-1]
    return result


def _frame_of_it(mask: Mask) -> Mask:
    """The box's own edge, 3 px thick."""
    whole = _box(mask)
    return whole & ~cv2.erode(whole.astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)


def _speck(mask: Mask) -> Mask:
    rows, columns = np.nonzero(mask)
    middle, result = len(rows) // 2, np.zeros_like(mask)
    result[rows[middle] - 2 : rows[middle] + 3, columns[middle] - 2 : columns[middle] + 3] = True
    return result


def _porous(mask: Mask) -> Mask:
    return mask & (np.random.default_rng(0).random(mask.shape) < 0.3)


def limb(person: Person | None, chain: Sequence[int], thick: float, shape: tuple[int, int]) -> Mask:
    """Return a limb through keypoints as a mask; thick: its width as a share of its length. Empty of nobody."""
    canvas = np.zeros(shape, np.uint8)
    if person is not None:
        points = np.rint(person.keypoints[list(chain)]).astype(np.int32)
        length = float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
        width = min(400, max(3, round(thick * length)))
        cv2.polylines(canvas, [points], False, (1,), width)
    return canvas.astype(bool)


def _leg(scene: Scene, side: int) -> Iterator[Mask]:
    for person, mask in zip(scene.people, scene.masks, strict=True):
        yield limb(person, _LEGS[side], 0.22, mask.shape)


def _shin(scene: Scene) -> Iterator[Mask]:
    for person, mask in zip(scene.people, scene.masks, strict=True):
        yield limb(person, _LEGS[0][1:], 0.4, mask.shape)


def _shoe(scene: Scene, side: int) -> Iterator[Mask]:
    for person, mask in zip(scene.people, scene.masks, strict=True):
        shoe = np.zeros(mask.shape, np.uint8)
        if person is not None:
            hull = cv2.convexHull(np.rint(person.keypoints[list(_SHOES[side])]).astype(np.int32))
            cv2.fillPoly(shoe, [hull], (1,))
            shoe = cv2.dilate(shoe, np.ones((9, 9), np.uint8))
        yield shoe.astype(bool)


def _with_shoes(scene: Scene) -> Iterator[Mask]:
    for mask, left, right in zip(scene.masks, _shoe(scene, 0), _shoe(scene, 1), strict=True):
        yield mask | left | right


def _head(scene: Scene) -> Iterator[Mask]:
    radius = round((scene.typical_px / np.pi) ** 0.5)
    for person, mask in zip(scene.people, scene.masks, strict=True):
        canvas = np.zeros(mask.shape, np.uint8)
        if person is not None:
            cv2.circle(canvas, np.rint(person.keypoints[0]).astype(int).tolist(), radius, (1,), -1)
        yield canvas.astype(bool)


def _with_legs(scene: Scene) -> Iterator[Mask]:
    for mask, left, right in zip(scene.masks, _leg(scene, 0), _leg(scene, 1), strict=True):
        yield mask | left | right


def _body(scene: Scene) -> Iterator[Mask]:
    yield from scene.bodies


def _legs_and_shadow(scene: Scene) -> Iterator[Mask]:
    for left, right, shadow in zip(_leg(scene, 0), _leg(scene, 1), _shadow(scene), strict=True):
        yield left | right | shadow


def _shadow(scene: Scene) -> Iterator[Mask]:
    """What is dark on the ground around the object; where nothing is, the object's own shape, below it."""
    for frame, mask, body in zip(read_frames(scene.clip), scene.masks, scene.bodies, strict=True):
        box = bounds(mask)
        if box is None:
            yield mask
            continue
        height, width = mask.shape
        reach = round(box.longer_side)
        x1, y1, x2, y2 = box.rounded_out()
        top, bottom, left, right = y1, min(height, y2 + reach), max(0, x1 - reach), min(width, x2 + reach)
        here = np.zeros_like(mask)
        here[top:bottom, left:right] = True
        here &= ~_grown(mask, 3) & ~_grown(body, 5)
        gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        dark = here & (gray < _DARK * np.median(gray[here])) if here.any() else here
        _, parts, stats, _ = cv2.connectedComponentsWithStats(dark.astype(np.uint8))
        if len(stats) > 1 and stats[1:, cv2.CC_STAT_AREA].max() > 0.2 * count(mask):
            yield parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        else:
            yield moved(mask, -round(box.width / 4), round(box.height))


def _with_shadow(scene: Scene) -> Iterator[Mask]:
    for mask, shadow in zip(scene.masks, _shadow(scene), strict=True):
        yield mask | shadow


def _late(frames: int) -> FaultyMasks:
    return lambda scene: (scene.masks[max(0, index - frames)] for index in range(len(scene.masks)))


def _frozen(scene: Scene) -> Iterator[Mask]:
    return (scene.masks[scene.prompt_frame] for _ in scene.masks)


def _opposite(scene: Scene) -> Iterator[Mask]:
    """The object's shape on the other side of the frame."""
    return (mask[:, ::-1] for mask in scene.masks)


def _beside_the_person(scene: Scene) -> Iterator[Mask]:
    """The object mirrored about the person's middle."""
    for mask, body in zip(scene.masks, scene.bodies, strict=True):
        around = bounds(body)
        middle = around.centre[0] if around else mask.shape[1] / 2
        flipped = mask[:, ::-1]
        yield moved(flipped, round(2 * middle) - mask.shape[1], 0)


def _lost(scene: Scene) -> Iterator[Mask]:
    """Lost for the middle third."""
    third = len(scene.masks) // 3
    for index, mask in enumerate(scene.masks):
        yield np.zeros_like(mask) if third <= index < 2 * third else mask


def _never_found(scene: Scene) -> Iterator[Mask]:
    return (np.zeros_like(mask) for mask in scene.masks)


def _swapped(scene: Scene) -> Iterator[Mask]:
    """From the middle on it follows another thing: that of the scene, else the right shoe."""
    middle = len(scene.masks) // 2
    others = iter(scene.another) if scene.another is not None else _shoe(scene, 1)
    for index, (mask, other) in enumerate(zip(scene.masks, others, strict=True)):
        yield other if index >= middle else mask


def _jumping(scene: Scene) -> Iterator[Mask]:
    """Off by up to its own size, another way in every frame."""
    rng = np.random.default_rng(0)
    for mask in scene.masks:
        box = bounds(mask)
        side = round(box.longer_side) if box else 0
        dx, dy = (rng.uniform(-1, 1, 2) * side).round().astype(int).tolist()
        yield moved(mask, dx, dy)


def _everything(scene: Scene) -> Iterator[Mask]:
    return (np.ones_like(mask) for mask in scene.masks)


def _nothing_wrong(scene: Scene) -> Iterator[Mask]:
    yield from scene.masks


RIGHT = "right"
FAULTS: dict[str, FaultyMasks] = {
    RIGHT: _nothing_wrong,
    "10 px to the right": _each(_ten_px),
    "10 px down": _each(_ten_px_down),
    "half its width off": _each(_own_width),
    "on a leg": lambda scene: _leg(scene, 0),
    "on the shadow": _shadow,
    "lost for a third": _lost,
    "swapped": _swapped,
    "half of it": _each(_half),
    "twice as wide and high": _each(_scaled(2)),
}
"""What the issue of this witness names."""
MORE_FAULTS: dict[str, FaultyMasks] = {
    "on a shin": _shin,
    "on the left shoe": lambda scene: _shoe(scene, 0),
    "on the right shoe": lambda scene: _shoe(scene, 1),
    "on the head": _head,
    "the whole person": _body,
    "object and both legs": _with_legs,
    "object and both shoes": _with_shoes,
    "both legs and the shadow": _legs_and_shadow,
    "object and shadow": _with_shadow,
    "3 frames late": _late(3),
    "6 frames late": _late(6),
    "12 frames late": _late(12),
    "frozen": _frozen,
    "other side of the frame": _opposite,
    "other side of the person": _beside_the_person,
    "its own height up": _each(_own_size_up),
    "jumping": _jumping,
    "never found": _never_found,
    "everything": _everything,
    "a quarter of it": _each(_third),
    "twice the area, evenly": _each(_fattened),
    "half as wide and high": _each(_scaled(0.5)),
    "its box, filled": _each(_box),
    "its box's edge": _each(_frame_of_it),
    "upside down in its box": _each(_upside_down),
    "porous": _each(_porous),
    "a speck of it": _each(_speck),
}
"""What an adversary adds; the last ones keep the object's own box."""
