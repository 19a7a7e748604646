"""Where the skater is, for a tracker that follows him too: his box, and the surest keypoints of the pose model."""

from __future__ import annotations

from collections.abc import Sequence

from handoff.box import Box
from handoff.poses import Person, read_poses
from handoff.prompts import Place, Point, read_prompts
from handoff.run import Run

POSES = "pose.json"
_BODY = 17  # the first keypoints of COCO-WholeBody: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
_SURE = 0.5
_MOST = 5  # points that go to the model
_APART = 0.1  # of the box's longer side: closer points say nothing new


def skater_places(run: Run, shots: Sequence[range]) -> tuple[Place, ...]:
    """The skater's place in each shot where he was found: on the frame of prompts.json, else on the shot's surest.

    Empty when prompts.json has no skater.
    """
    prompt = read_prompts(run).get("skater")
    if prompt is None or prompt.box is None or not 0 <= prompt.frame < run.info.frames:
        return ()
    if not run.path(POSES).exists():
        return (Place(prompt.frame, prompt.box),)
    best: dict[int, tuple[float, Place]] = {}
    for frame, people in enumerate(read_poses(run.path(POSES))):
        named = frame == prompt.frame
        person = closest(people, prompt.box) if named else max(people, key=sureness, default=None)
        number = next((each for each, shot in enumerate(shots) if frame in shot), None)
        if number is None or (person is None and not named):
            continue
        box = prompt.box if named or person is None else inside(person.box, run)
        points = sure_points(person, box) if person else ()
        score = float("inf") if named else sureness(person) if person else 0.0
        if box is not None and (number not in best or score > best[number][0]):
            best[number] = (score, Place(frame, box, points))
    return tuple(best[number][1] for number in sorted(best))


def sureness(person: Person) -> float:
    """Mean score of the body's keypoints."""
    return float(person.scores[:_BODY].mean())


def closest(people: Sequence[Person], box: Box) -> Person | None:
    """The person whose box lies nearest to `box`, by the sum of their four sides' distances."""

    def distance(person: Person) -> float:
        return sum(abs(a - b) for a, b in zip(person.box.as_list(), box.as_list(), strict=True))

    return min(people, key=distance, default=None)


def inside(box: Box, run: Run) -> Box | None:
    """The part of a box that lies in the frame, None when that is less than a pixel."""
    width, height = run.info.width, run.info.height
    cut = Box(max(0.0, box.x1), max(0.0, box.y1), min(float(width), box.x2), min(float(height), box.y2))
    return cut if cut.x2 - cut.x1 >= 1 and cut.y2 - cut.y1 >= 1 else None


def sure_points(person: Person, box: Box | None) -> tuple[Point, ...]:
    """At most five body keypoints with a score of at least 0.5, the surest first, in the box and apart."""
    if box is None:
        return ()
    apart = _APART * max(box.x2 - box.x1, box.y2 - box.y1)
    chosen: list[Point] = []
    for index in sorted(range(_BODY), key=lambda each: -float(person.scores[each])):
        x, y = (round(float(value), 2) for value in person.keypoints[index])
        within = box.x1 <= x < box.x2 and box.y1 <= y < box.y2
        near = any((x - point.x) ** 2 + (y - point.y) ** 2 < apart**2 for point in chosen)
        if float(person.scores[index]) >= _SURE and within and not near:
            chosen.append(Point(x, y))
    return tuple(chosen[:_MOST])
