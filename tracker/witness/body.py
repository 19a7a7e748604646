"""The skater as a witness: how much of a mask lies on him, how much of it above his feet, and whether it is his leg.

He is where the pose model's own mask says (person_mask.mp4, from which the object was not taken out); where there is
none, on the limbs of his skeleton, drawn with widths from his body's size. A foot on the deck is no fault, and a
person's mask takes the board between the feet for a shoe: so what counts is what lies above them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.masks import Mask, count, read_masks
from handoff.poses import Person, poses_at_hand
from handoff.run import Run

T = TypeVar("T")
_Bone = tuple[tuple[int, int], tuple[int, int], float]

PERSON_VIDEO, POSES = "person_mask.mp4", "pose.json"
N_BODY = 17
"""The first keypoints of COCO-WholeBody: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles."""
ENOUGH = 0.25
"""Less of a mask on the person is nothing against it, wherever on him it is."""
SEEN = 0.3
"""A keypoint with a score above this counts: the threshold that DWPose and VACE draw by."""
LIMBS: tuple[_Bone, ...] = (
    ((5, 7), (6, 8), 0.16),  # upper arms
    ((7, 9), (8, 10), 0.14),  # forearms
    ((11, 13), (12, 14), 0.19),  # thighs
    ((13, 15), (14, 16), 0.13),  # shins
)
_FEET: tuple[_Bone, ...] = (
    ((15, 17), (16, 20), 0.25),  # ankle to big toe
    ((15, 19), (16, 22), 0.5),  # ankle to heel
)
"""Both: COCO-WholeBody keypoints at a limb's ends, left and right, and its radius as a share of its length.

An adult's, in round figures. The longer of the two sides is the length of both: a limb that points at the camera is
short in the picture, but as thick as ever.
"""
_TRUNK = (5, 6, 12, 11)  # shoulders and hips, in a ring
_THICKEST = 32767  # px: OpenCV draws no thicker line
_LEGS = ((11, 13, 15), (12, 14, 16))  # hip, knee, ankle
_BELOW = (15, 16, 17, 18, 19, 20, 21, 22)  # ankles, toes, heels
_STEPS = 12  # points a bone at which it is asked whether the mask is there
_SHORTEST = 0.3  # of the box's longer side: a leg that points at the camera, or is bent, says nothing
_AROUND_FEET = 0.4  # of the longest thigh or shin: the person's mask takes so much of a board for shoe


def sureness(person: Person) -> float:
    """Return the mean score of the body's keypoints."""
    return float(person.scores[:N_BODY].mean())


def surest(people: Sequence[Person]) -> Person | None:
    """Return the person with the highest mean body score, or None where nobody was found."""
    return max(people, key=sureness, default=None)


def body_mask(people: Sequence[Person], height: int, width: int, *, feet: bool = True) -> Mask:
    """Return the mask (H, W) bool of the surest person: limbs as capsules, the trunk filled.

    All False where nobody was found.
    """
    canvas = np.zeros((height, width), np.uint8)
    person = surest(people)
    if person is not None:
        _draw_body(canvas, person, _FEET if feet else (), 1)
        _draw_body(canvas, person, LIMBS, 1, trunk=True)
    return canvas.view(bool)


def _draw_body(
    canvas: NDArray[np.uint8], person: Person, bones: Sequence[_Bone], value: int, trunk: bool = False
) -> None:
    """Draw bones of a person, each as thick as its pair is long, and the trunk, into a canvas (H, W)."""
    points, seen = np.rint(person.keypoints).astype(int), person.scores > SEEN
    for left, right, share in bones:
        there = [ends for ends in (left, right) if seen[list(ends)].all()]
        length = max((float(np.linalg.norm(points[a] - points[b])) for a, b in there), default=0.0)
        for a, b in there:
            thick = min(_THICKEST, max(1, round(2 * share * length)))
            cv2.line(canvas, points[a].tolist(), points[b].tolist(), (value,), thick)  # with round ends
    if trunk and seen[list(_TRUNK)].all():
        cv2.fillPoly(canvas, [points[list(_TRUNK)].astype(np.int32)], (value,))


def leg_followed(mask: Mask, people: Sequence[Person]) -> float | None:
    """Return the larger share of a leg's middle line, hip to ankle, that lies in a mask (H, W) bool.

    None where no whole leg is seen. A thing in front of the body covers a part of a leg; what holds nearly all of one
    is the leg.
    """
    person = surest(people)
    if person is None:
        return None
    height, width = mask.shape
    shares = []
    for chain in _LEGS:
        ends = person.keypoints[list(chain)].astype(np.float64)
        length = float(np.linalg.norm(np.diff(ends, axis=0), axis=1).sum())
        if not (person.scores[list(chain)] > SEEN).all() or length < _SHORTEST * person.box.longer_side:
            continue
        steps = (np.arange(_STEPS) + 0.5)[:, None] / _STEPS
        line = np.concatenate([a + steps * (b - a) for a, b in itertools.pairwise(ends)])
        x, y = np.floor(line).astype(int).T
        there = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        shares.append(float(mask[y[there], x[there]].sum()) / len(line))
    return max(shares, default=None)


def feet_zone(people: Sequence[Person], height: int, width: int) -> Mask | None:
    """Return where feet and the board between them are, (H, W) bool; None where no foot or no leg is seen."""
    person = surest(people)
    if person is None:
        return None
    points, seen = person.keypoints, person.scores > SEEN
    bones = [(a, b) for chain in _LEGS for a, b in itertools.pairwise(chain) if seen[a] and seen[b]]
    length = max((float(np.linalg.norm(points[a] - points[b])) for a, b in bones), default=0.0)
    feet = [index for index in _BELOW if seen[index]]
    if not feet or not length:
        return None
    hull = cv2.convexHull(np.rint(points[feet]).astype(np.int32))
    canvas = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(canvas, hull, (1,))
    cv2.polylines(canvas, [hull], True, (1,), min(_THICKEST, max(1, round(2 * _AROUND_FEET * length))))
    return canvas.view(bool)


def shoes_held(mask: Mask, people: Sequence[Person]) -> float | None:
    """Return the share of the surest person's shoes, as `body_mask` draws them, that lies in a mask (H, W) bool.

    None where no foot is seen.
    """
    person = surest(people)
    if person is None:
        return None
    canvas = np.zeros(mask.shape, np.uint8)
    _draw_body(canvas, person, _FEET, 1)
    _draw_body(canvas, person, LIMBS, 0, trunk=True)
    shoes = canvas.view(bool)
    area = count(shoes)
    return count(shoes & mask) / area if area else None


class OnPerson(NamedTuple):
    """share: of the mask on the person. above_feet: of the mask on him, above his feet. leg: `leg_followed`. shoes:
    `shoes_held`.

    None where it is not known, or the mask is empty. `above_feet` and `leg` are asked for where more than ENOUGH is on
    him.
    """

    share: float | None = None
    above_feet: float | None = None
    leg: float | None = None
    shoes: float | None = None


class PersonWitness:
    """Holds masks against the skater of the run's clip, frame by frame from the first on."""

    def __init__(self, run: Run) -> None:
        self._masks = _stream(run.path(PERSON_VIDEO), read_masks)
        self._poses = _stream(run.path(POSES), poses_at_hand)

    @staticmethod
    def files(run: Run) -> list[Path]:
        """Return the files of the run that are read."""
        return [path for path in (run.path(PERSON_VIDEO), run.path(POSES)) if path.exists()]

    def feed(self, mask: Mask) -> OnPerson:
        """Hold the next frame's mask (H, W) bool against the skater; InputError where his files have no such frame."""
        pose = _next(self._poses, POSES)
        body = _next(self._masks, PERSON_VIDEO)
        area = count(mask)
        if body is None and pose is not None and area:
            body = body_mask(pose(), *mask.shape, feet=False)
        if not area or body is None or not body.any():
            return OnPerson()
        both = mask & body
        share = count(both) / area
        if pose is None:
            return OnPerson(share)
        people = pose()
        shoes = shoes_held(mask, people)
        if share < ENOUGH:
            return OnPerson(share, shoes=shoes)
        zone = feet_zone(people, *mask.shape)
        above = count(both & ~zone) / area if zone is not None else None
        return OnPerson(share, above, leg_followed(mask, people), shoes)


def _stream(path: Path, read: Callable[[Path], Iterator[T]]) -> Iterator[T] | None:
    return read(path) if path.exists() else None


def _next(stream: Iterator[T] | None, name: str) -> T | None:
    if stream is None:
        return None
    found = next(stream, None)
    if found is None:
        raise InputError(f"{name} has fewer frames than the clip; extract the clip again with --force.")
    return found
