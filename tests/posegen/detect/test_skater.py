"""People over time: who is who when they cross, are hidden, come back; and who of them is the skater."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from handoff.detections.coco import PERSON
from handoff.detections.samples import Detection, Sample
from handoff.errors import InputError, UsageError
from handoff.places import Box
from posegen.choice import Where
from posegen.detect.appearance import SIZE, alike, as_shares, look_of
from posegen.detect.skater import choose_skater, nearness, skater_boxes
from posegen.detect.tracklets import IMPOSSIBLE, Tracklet, assign, follow
from tests.posegen.helpers import scene

FPS = Fraction(24)
RED, BLUE = bytes([255, *[0] * 11] * 2), bytes([0] * 5 + [255] + [0] * 6) * 2
Path = Callable[[int], tuple[float, float] | None]


def body(x: float, y: float, height: float = 100) -> Box:
    return Box(x - 0.2 * height, y - height, x + 0.2 * height, y)


def people(frames: int, *paths: tuple[Path, bytes], every: int = 1, jitter: float = 1.5) -> list[Sample]:
    """Samples of people whose feet are where their paths say, None: not seen; detections are a little off."""
    rng = np.random.default_rng(1)
    samples = []
    for frame in range(0, frames, every):
        here = []
        for path, look in paths:
            place = path(frame)
            if place is not None:
                x, y = np.array(place) + rng.normal(0, jitter, 2)
                here.append(Detection(PERSON, 0.8, body(float(x), float(y)), look))
        samples.append(Sample(frame, [here[index] for index in rng.permutation(len(here))]))
    return samples


def who(track: Tracklet, *paths: Path) -> set[int]:
    """Which of the paths a tracklet follows, over all its frames in which they are clearly apart."""
    seen = set()
    for frame, box in zip(track.frames, track.boxes, strict=True):
        away = [abs((box[0] + box[2]) / 2 - place[0]) if (place := path(frame)) else np.inf for path in paths]
        if sum(each < 20 for each in away) < 2:
            seen.add(int(np.argmin(away)))
    return seen


def to_the_right(frame: int) -> tuple[float, float]:
    return 50 + 6.0 * frame, 300


def to_the_left(frame: int) -> tuple[float, float]:
    return 550 - 6.0 * frame, 302


@pytest.mark.parametrize("every", [1, 2, 4])
@pytest.mark.parametrize("looks", [(RED, BLUE), (RED, RED)], ids=["other clothes", "same clothes"])
def test_two_people_who_pass_each_other_fast_are_not_swapped(every: int, looks: tuple[bytes, bytes]) -> None:
    tracks = follow(people(96, (to_the_right, looks[0]), (to_the_left, looks[1]), every=every), FPS, every)
    assert len(tracks) == 2
    assert [who(track, to_the_right, to_the_left) for track in tracks] in ([{0}, {1}], [{1}, {0}])


@pytest.mark.parametrize("looks", [(RED, BLUE), (RED, RED)], ids=["other clothes", "same clothes"])
def test_who_is_hidden_behind_the_other_for_a_while_is_found_again(looks: tuple[bytes, bytes]) -> None:
    def hidden(frame: int) -> tuple[float, float] | None:
        return None if 36 <= frame <= 47 else to_the_left(frame)

    tracks = follow(people(96, (to_the_right, looks[0]), (hidden, looks[1])), FPS)
    assert sorted(len(track.frames) for track in tracks) == [84, 96]
    for track in tracks:
        assert len(who(track, to_the_right, to_the_left)) == 1


def test_a_meeting_does_not_swap_two_people_who_turn_back() -> None:
    def bounce(sign: int) -> Path:
        return lambda frame: (300 - sign * (20 + 4.0 * abs(48 - frame)), 300)

    left, right = bounce(1), bounce(-1)
    tracks = follow(people(96, (left, RED), (right, BLUE)), FPS)
    assert [len(who(track, left, right)) for track in tracks] == [1, 1]


def test_a_panning_camera_is_followed() -> None:
    def panned(frame: int) -> tuple[float, float]:
        return 600 - 0.25 * frame**2, 300  # up to 24 px a frame

    assert [len(track.frames) for track in follow(people(48, (panned, RED)), FPS)] == [48]


def test_somebody_else_where_the_skater_was_is_somebody_else() -> None:
    def first(frame: int) -> tuple[float, float] | None:
        return (300, 300) if frame < 24 else None

    def second(frame: int) -> tuple[float, float] | None:
        return (305, 300) if frame >= 30 else None

    tracks = follow(people(60, (first, RED), (second, BLUE)), FPS)
    assert [len(track.frames) for track in tracks] == [24, 30]


def board(path: Path, frames: int) -> dict[int, list[tuple[float, Box]]]:
    """A board under the feet of a path."""
    boxes = {}
    for frame in range(frames):
        if (place := path(frame)) is not None:
            x, y = place
            boxes[frame] = [(0.7, Box(x - 25, y - 5, x + 25, y + 10))]
    return boxes


def test_the_skater_is_who_has_the_board_however_large_the_others_are() -> None:
    samples = people(96, (to_the_right, RED), (to_the_left, BLUE))
    giant = [Sample(frame, [*seen, Detection(PERSON, 0.95, Box(600, 10, 800, 400), BLUE)]) for frame, seen in samples]
    chosen = choose_skater(follow(giant, FPS), board(to_the_left, 96))
    assert [who(track, to_the_right, to_the_left) for track in chosen] == [{1}]
    (alone,) = choose_skater(follow(giant, FPS), {})
    assert alone.boxes[0].tolist() == [600, 10, 800, 400]


def test_the_skater_who_comes_back_is_known_by_his_look() -> None:
    def comes_back(frame: int) -> tuple[float, float] | None:
        return to_the_right(frame) if frame < 40 else (500 - 4.0 * (frame - 70), 310) if frame >= 70 else None

    def passer_by(frame: int) -> tuple[float, float] | None:
        return (100 + 5.0 * (frame - 45), 300) if 45 <= frame < 65 else None

    tracks = follow(people(120, (comes_back, RED), (passer_by, BLUE)), FPS)
    chosen = choose_skater(tracks, board(to_the_right, 40))
    boxes = skater_boxes(chosen, 120, FPS, 1)
    assert [frame for frame, box in enumerate(boxes) if box is None] == list(range(40, 70))


def test_nobody_is_no_skater_and_every_frame_is_without_a_box() -> None:
    empty = [Sample(frame, []) for frame in range(10)]
    chosen = choose_skater(follow(empty, FPS), board(to_the_right, 10))
    assert chosen == [] and skater_boxes(chosen, 10, FPS, 1) == [None] * 10


def test_between_detections_the_box_is_interpolated_and_a_long_gap_is_left_open() -> None:
    def seen(frame: int) -> tuple[float, float] | None:
        return to_the_right(frame) if frame <= 20 or frame >= 35 else None

    boxes = skater_boxes(follow(people(60, (seen, RED), every=4, jitter=0), FPS, 4), 60, FPS, 4)
    # the samples are 0, 4 ... 20, then 36 ... 56: a gap of 16 frames, more than half a second
    assert [frame for frame, box in enumerate(boxes) if box is None] == [*range(21, 36), *range(57, 60)]
    for frame, box in enumerate(boxes):
        if box is not None:
            np.testing.assert_allclose(box.as_list(), body(*to_the_right(frame)).as_list(), atol=0.02)


def test_every_longer_than_the_longest_gap_still_gives_boxes_between() -> None:
    boxes = skater_boxes(follow(people(97, (to_the_right, RED), every=24), FPS, 24), 97, FPS, 24)
    assert None not in boxes


def test_a_person_is_named_by_a_point_or_a_box() -> None:
    tracks = follow(people(96, (to_the_right, RED), (to_the_left, BLUE)), FPS)
    things = board(to_the_right, 96)
    for text in ("10:490,250", "10:465,205,515,300"):
        chosen = choose_skater(tracks, things, Where.parse(text))
        assert [who(track, to_the_right, to_the_left) for track in chosen] == [{1}]
    with pytest.raises(InputError, match=r"nobody was detected at 10:300,20; people on that frame: 10:\d+,\d+"):
        choose_skater(tracks, things, Where.parse("10:300,20"))
    with pytest.raises(InputError, match=r"nobody was detected at 3:1,2 or on that frame"):
        choose_skater([], things, Where.parse("3:1,2"))


@pytest.mark.parametrize("text", ["", "10", "10:", "10:1", "10:1,2,3", "x:1,2", "-1:1,2", "10:1,nan", "10:1,2,3,4,5"])
def test_a_person_that_is_no_place_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"not frame:x,y or frame:x1,y1,x2,y2 in pixels, such as 40:310,200"):
        Where.parse(text)


def test_a_board_under_the_feet_is_nearer_than_one_in_the_hand_and_far_nearer_than_one_far_away() -> None:
    person = body(100, 300)
    feet, hand, far = (
        nearness(Box(x - 20, y - 5, x + 20, y + 5), person) for x, y in ((100, 300), (90, 250), (300, 300))
    )
    assert 0.95 < feet <= 1 and hand < feet and far < 0.05


def test_the_pairing_is_the_cheapest_of_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        costs = rng.random((3, 3))
        best = min(sum(costs[row, column] for row, column in enumerate(order)) for order in ORDERS)
        assert sum(costs[pair] for pair in assign(costs)) == pytest.approx(best)
    assert assign(np.array([[1, IMPOSSIBLE], [IMPOSSIBLE, IMPOSSIBLE], [IMPOSSIBLE, 2]])) == [(0, 0), (2, 1)]
    assert assign(np.zeros((0, 3))) == assign(np.zeros((2, 0))) == []


ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def test_looks_tell_colours_apart_and_fit_in_a_few_bytes() -> None:
    frame = scene([("person", 40, 60), ("kite", 110, 60)])
    red, blue = (look_of(frame, Box(x - 18, 42, x + 18, 78)) for x in (40, 110))
    assert len(red) == len(blue) == SIZE == 24
    assert alike(as_shares(red), as_shares(red)) == pytest.approx(1) and alike(as_shares(red), as_shares(blue)) < 0.1
    assert len(look_of(frame, Box(159, 119, 160, 120))) == SIZE  # one pixel has a look too


def test_overlap_is_the_shared_area_over_all_of_it() -> None:
    assert Box(0, 0, 10, 10).iou(Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert Box(0, 0, 10, 10).iou(Box(10, 0, 20, 10)) == 0
