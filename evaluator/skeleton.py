"""The skater kept: how near the skeleton found in the generated clip is to the one found in the source.

OKS is COCO's object keypoint similarity, cocodataset.org/#keypoints-eval: the mean over keypoints of exp(-d^2 / (2
s^2 k^2)) with k = 2 sigma, here over the 17 body keypoints, with s^2 the area of the person's box. PCK@0.2 is the
share of them that lie within 0.2 of the box's longer side (Yang and Ramanan, 2013). Only keypoints that the source
shows count; one that the generated clip does not show is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handoff.poses import Person

N_BODY = 17
SIGMAS = np.array(
    [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89], np.float64
) / 1000  # fmt: skip
"""Per-keypoint spread of human annotators: COCO's, which COCO-WholeBody takes over for the body."""
SEEN = 0.3
"""A keypoint of the source with a score above this counts: the threshold that DWPose and VACE draw by."""
PCK_SHARE = 0.2

Floats = NDArray[np.float64]


def surest(people: Sequence[Person]) -> Person | None:
    """Return the person with the highest mean body score, or None where nobody was found."""
    return max(people, key=lambda person: float(person.scores[:N_BODY].mean()), default=None)


def _distances(source: Person, generated: Person) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how far each body keypoint moved, px, inf where it is gone; and which of them count."""
    counts = source.scores[:N_BODY] > SEEN
    moved = np.linalg.norm(source.keypoints[:N_BODY].astype(np.float64) - generated.keypoints[:N_BODY], axis=1)
    return np.where(generated.scores[:N_BODY] > 0, moved, np.inf), counts


def _size(person: Person) -> tuple[float, float]:
    return max(person.box.x2 - person.box.x1, 1.0), max(person.box.y2 - person.box.y1, 1.0)


def oks(source: Person, generated: Person) -> float:
    """Return the object keypoint similarity of two skeletons, 0..1; `source` must show a keypoint."""
    distances, counts = _distances(source, generated)
    width, height = _size(source)
    similarity = np.exp(-(distances**2) / (2 * width * height * (2 * SIGMAS) ** 2))
    return float(similarity[counts].mean())


def pck(source: Person, generated: Person) -> float:
    """Return the share of keypoints within 0.2 of the box's longer side, 0..1; `source` must show a keypoint."""
    distances, counts = _distances(source, generated)
    return float((distances <= PCK_SHARE * max(_size(source)))[counts].mean())


def compare(source: Sequence[Person], generated: Sequence[Person]) -> tuple[float | None, float | None]:
    """Return OKS and PCK@0.2 of a frame's skater; both None where the source shows no skater.

    The skater is the source's surest person, and of the generated clip's people the one that is nearest to him by OKS;
    0.0 where there is nobody.
    """
    skater = surest(source)
    if skater is None or not (skater.scores[:N_BODY] > SEEN).any():
        return None, None
    if not generated:
        return 0.0, 0.0
    nearest = max(generated, key=lambda person: oks(skater, person))
    return oks(skater, nearest), pck(skater, nearest)
