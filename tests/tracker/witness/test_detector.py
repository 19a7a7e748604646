"""Which of the detections are the object, and what they say of a mask."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from handoff.detections.coco import CLASSES, PERSON
from handoff.detections.samples import Detection, Sample
from handoff.places import Box, Detected, Place, Prompt
from tests.tracker.witness.helpers import BOARD, FRAMES, board, board_box, filled, moved, seen
from tracker.witness.detector import Sighting, compare, find_sightings, object_class

FPS = Fraction(30)
GIVEN = [Place(4, board_box(4))]


def sightings(*frames: list[Detection], places: list[Place] = GIVEN, every: int = 2) -> dict[int, Sighting]:
    samples = [Sample(every * index, found) for index, found in enumerate(frames)]
    return find_sightings(samples, BOARD, places, FPS, every)


def test_the_class_is_the_one_that_was_looked_for() -> None:
    found = Prompt(board_box(4), 4, "detector", detected=Detected("snowboard", 0.8, "yolox-nano"))
    assert object_class(found, [], 2) == CLASSES.index("snowboard")
    assert object_class(Prompt(board_box(4), 4, "detector", detected=Detected("hoverboard", 0.8, "m")), [], 2) is None
    assert object_class(None, [], 2) is None


def test_the_class_of_a_box_by_hand_is_that_of_the_detection_that_agrees_with_it() -> None:
    prompt = Prompt(board_box(4).grown(3), 4, "flag")
    frisbee = CLASSES.index("frisbee")
    beside = moved(board_box(4), 60, 0)
    sample = Sample(4, [*seen([beside], frisbee), *seen([(board_box(4), 0.4)]), *seen([board_box(4)], PERSON)])
    assert object_class(prompt, [sample], 2) == BOARD
    assert object_class(prompt, [sample._replace(frame=5)], 2) == BOARD, "the nearest sample"
    assert object_class(prompt, [sample._replace(frame=7)], 2) is None
    assert object_class(prompt, [Sample(4, seen([beside], frisbee))], 2) is None
    assert object_class(prompt, [Sample(4, seen([(board_box(4), 0.2)]))], 2) is None, "an unsure one"
    assert object_class(Prompt(None, 4, "flag"), [sample], 2) is None, "points alone"


def test_between_two_samples_the_box_is_interpolated_and_over_a_long_gap_it_is_not() -> None:
    frames = [seen([board_box(2 * index)]) if index not in (8, 9, 10) else [] for index in range(20)]
    found = sightings(*frames)
    assert sorted(found) == [*range(15), *range(22, 39)]
    assert found[7].box == board_box(7) and found[7].score == 0.8
    assert sightings(*frames, places=[Place(4, moved(board_box(4), 0, 60))]) == {}, "nothing at the object's place"


def test_a_thing_that_is_taken_for_a_board_for_a_moment_is_not_the_object() -> None:
    far = Box(250, 20, 310, 50)
    frames = [seen([board_box(2 * index), (far, 0.75)] if index % 5 else [(far, 0.75)]) for index in range(20)]
    found = sightings(*frames[:1], *frames[1:])
    assert {frame for frame, each in found.items() if each.box == far} == set()
    alone = [seen([board_box(2 * index)]) if index not in (9, 10) else seen([(far, 0.6)]) for index in range(20)]
    assert far not in [each.box for each in sightings(*alone).values()]


def test_an_object_that_comes_back_elsewhere_is_found_again_with_the_skater_and_not_without_him() -> None:
    def there(index: int, skater: float | None) -> list[Detection]:
        box = moved(board_box(2 * index), 100, -120)
        body = [] if skater is None else seen([Box(box.x1 + 10 + skater, 0, box.x1 + 60 + skater, 40)], PERSON)
        return [*seen([box]), *body]

    for skater, seen_again in ((0.0, True), (-150.0, False), (None, False)):
        back = [there(index, skater) for index in range(40, 50)]
        frames = [*(seen([board_box(2 * index)]) for index in range(10)), *[[] for _ in range(30)], *back]
        found = sightings(*frames)
        assert ({40 * 2, 49 * 2} <= found.keys()) == seen_again, skater
        assert set(range(19)) <= found.keys()


def test_where_two_boards_are_often_seen_only_the_one_at_the_place_is_followed() -> None:
    other = moved(board_box(0), 0, -100)
    frames = [seen([board_box(2 * index), other]) for index in range(10)] + [seen([other]) for _ in range(10)]
    found = sightings(*frames)
    assert sorted(found) == list(range(19)) and all(each.box != other for each in found.values())
    assert all(each.sure for each in found.values())


def test_once_another_board_comes_near_either_may_be_the_object() -> None:
    def other(index: int) -> Box:
        return moved(board_box(0), 200 - 20 * index, -40)

    found = sightings(*[seen([board_box(2 * index), other(index)]) for index in range(14)])
    assert found[4].sure and not found[26].sure
    near = compare(filled(other(13)), found[26])
    assert near is None, "neither right nor wrong"
    held = compare(filled(other(2)), found[4])
    assert held is not None and held.box_iou == 0.0 and held.inside == 0.0


def test_a_mask_is_held_against_the_box() -> None:
    sighting = Sighting(4, board_box(4), 0.8)
    assert compare(board(4), sighting) == (1.0, 1.0, None, None)
    low = compare(filled(moved(board_box(4), 0, 6)), sighting)
    assert low == (pytest.approx(18 / 30), pytest.approx(18 / 24), "down", None)
    tall = compare(filled(Box(48, 126, 128, 174)), sighting)
    assert tall == (pytest.approx(0.5), pytest.approx(0.5), None, None), "longer upwards alone"
    part = compare(filled(Box(48, 150, 88, 174)), sighting)
    assert part == (pytest.approx(0.5), 1.0, None, None)


def test_an_empty_mask_is_wrong_where_the_object_is_surely_in_sight() -> None:
    empty = np.zeros_like(board(4))
    assert compare(empty, Sighting(4, board_box(4), 0.8)) == (None, None, None, True)
    assert compare(empty, Sighting(4, board_box(4), 0.3)) == (None, None, None, False)
    edge = compare(empty, Sighting(4, Box(0, 150, 40, 174), 0.8))
    assert edge == (None, None, None, False), "about to leave the picture"


def test_boxes_of_no_size_do_no_harm() -> None:
    flat = Box(40, 150, 40, 150)
    found = sightings(seen([board_box(0), flat]), seen([board_box(2)]), seen([board_box(4)]), seen([flat]))
    assert sorted(found) == [0, 1, 2, 3, 4]
    assert len(find_sightings([], BOARD, GIVEN, FPS, FRAMES)) == 0
