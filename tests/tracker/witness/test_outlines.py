"""Outlines that were drawn by hand, and faults that are put into right masks: what the calibration stands on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.maskfaults import FAULTS, MORE_FAULTS, RIGHT, Scene, moved
from bench.outlines import carried, filled, read_outlines
from bench.witness import OUTLINES, Score, half
from handoff.errors import InputError
from handoff.masks import Mask, bounds, mask_iou
from handoff.places import Box
from handoff.poses import Person
from tests.helpers import moving_square, square_position, write_clip
from tests.tracker.helpers import HEIGHT, WIDTH, bouncing_board, make_scene

DRAWN = json.loads(OUTLINES.read_text())["clips"]
SEEN = {"skateboarder.mp4": 25, "juggle.mp4": 30}


@pytest.mark.parametrize("name", DRAWN)
def test_an_outline_lies_in_its_clip_on_frames_all_over_it(name: str) -> None:
    clip = DRAWN[name]
    frames = [each["frame"] for each in clip["outlines"]]
    assert frames == sorted(set(frames)) and frames[-1] < clip["frames"]
    assert sum(bool(each["polygons"]) for each in clip["outlines"]) == SEEN[name]
    assert max(np.diff([0, *frames, clip["frames"]])) <= 18, "no stretch of a second without one"
    points = np.array([point for each in clip["outlines"] for ring in each["polygons"] for point in ring])
    assert points.min() >= 0 and (points <= (clip["width"], clip["height"])).all()


@pytest.mark.parametrize("name", DRAWN)
def test_an_outline_is_of_the_clip_that_it_was_drawn_on(name: str, shared: Path, tmp_path: Path) -> None:
    outlines = read_outlines(OUTLINES, shared / "clips" / name)
    assert outlines.label == DRAWN[name]["object"] and len(outlines.masks) == len(DRAWN[name]["outlines"])
    other = next(each for each in DRAWN if each != name)
    shutil.copy(shared / "clips" / other, tmp_path / name)
    with pytest.raises(InputError, match="none of the clips"):
        read_outlines(OUTLINES, tmp_path / name)


def test_a_polygon_is_filled_to_the_pixel_and_its_holes_are_taken_out() -> None:
    square = [[[10, 20], [30, 20], [30, 40], [10, 40]]]
    mask = filled(square, [[[15, 25], [20, 25], [20, 30], [15, 30]]], 64, 48)
    expected = np.zeros((48, 64), bool)
    expected[20:40, 10:30] = True
    expected[25:30, 15:20] = False
    assert mask_iou(mask, expected) > 0.9
    assert bounds(filled(square, [], 64, 48)) == Box(10, 20, 30, 40)
    assert not filled([], [], 64, 48).any()


def test_between_two_outlines_the_nearest_is_carried_along(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_square(16))
    truth = []
    for x, y in map(square_position, range(16)):
        truth.append(np.zeros((120, 160), bool))
        truth[-1][y : y + 32, x : x + 32] = True
    masks = carried(clip, {0: truth[0], 15: truth[15]}, 16)
    assert len(masks) == 16 and (masks[0] == truth[0]).all() and (masks[15] == truth[15]).all()
    assert mask_iou(truth[0], truth[7]) < 0.25, "else it could have stood still"
    assert min(mask_iou(mask, right) for mask, right in zip(masks, truth, strict=True)) > 0.8
    with pytest.raises(InputError, match="16 frames and not 17"):
        carried(clip, {0: truth[0]}, 17)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A board of which a person stands beside, in each of 12 frames."""
    made = make_scene(12, bouncing_board)
    points = np.zeros((133, 2), np.float32)
    points[0] = 120, 15  # nose
    points[[11, 13, 15]] = (110, 50), (110, 75), (110, 100)
    points[[12, 14, 16]] = (130, 50), (130, 75), (130, 100)
    points[[17, 18, 19]] = (104, 108), (106, 110), (112, 108)
    points[[20, 21, 22]] = (124, 108), (126, 110), (132, 108)
    person = Person(Box(100, 10, 140, 112), points, np.ones(133, np.float32))
    body = np.zeros((HEIGHT, WIDTH), bool)
    body[10:112, 100:140] = True
    return Scene(made.write(tmp_path / "clip.mp4"), made.truth, [body] * 12, [person] * 12, 3)


@pytest.mark.parametrize("name", FAULTS | MORE_FAULTS)
def test_a_fault_has_a_mask_for_every_frame_and_most_are_wrong(name: str, scene: Scene) -> None:
    masks = [np.ascontiguousarray(mask) for mask in (FAULTS | MORE_FAULTS)[name](scene)]
    assert len(masks) == 12 and all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool for mask in masks)
    ious = [mask_iou(mask, truth) for mask, truth in zip(masks, scene.masks, strict=True)]
    if name == RIGHT:
        assert ious == [1.0] * 12
    else:
        assert min(ious) < 0.9, "no fault"


def test_faults_that_are_known_to_the_pixel(scene: Scene) -> None:
    def of(name: str, index: int = 11) -> Mask:
        return list((FAULTS | MORE_FAULTS)[name](scene))[index]

    truth = scene.masks[11]
    assert (of("10 px to the right") == moved(truth, 10, 0)).all()
    assert (of("3 frames late") == scene.masks[8]).all() and (of("frozen") == scene.masks[3]).all()
    assert not of("lost for a third", 5).any() and of("lost for a third").any()
    assert abs(of("half of it").sum() / truth.sum() - 0.5) < 0.05
    assert abs(of("half as wide and high").sum() / truth.sum() - 0.25) < 0.05
    assert (of("the whole person") == scene.bodies[11]).all()
    assert of("on a leg")[75, 110] and not of("on a leg")[75, 130]
    assert (of("swapped", 5) == scene.masks[5]).all() and of("swapped")[108, 128]


def test_a_half_size_mask_keeps_what_is_half_covered() -> None:
    mask = np.zeros((4, 8), bool)
    mask[:2, :2] = mask[2, 4:6] = mask[3, 7] = True
    assert half(mask).tolist() == [[True, False, False, False], [False, False, True, False]]


def test_a_frame_is_counted_as_wrong_right_or_between() -> None:
    score = Score()
    for iou, contradicted in ((0.49, True), (0.1, False), (0.5, True), (0.69, False), (0.7, False), (1.0, True)):
        score.add(iou, contradicted, heard=True)
    found = (score + Score(wrong=2, named=2)).as_json()
    assert (found["wrong"], found["named"], found["between"], found["doubted"]) == (4, 3, 2, 1)
    assert (found["right"], found["blamed"], found["named_share"], found["blamed_share"]) == (2, 1, 0.75, 0.5)
