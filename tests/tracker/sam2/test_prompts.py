"""python -m tracker with SAM 2.1: boxes, points, corrections, the skater and cuts go where they should."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")


from handoff.box import Box
from handoff.errors import InputError, UsageError
from handoff.prompts import Place, Point, Prompt, read_prompts, write_prompt
from handoff.run import Run
from tests.tracker.helpers import invoke, masks_of, stage_of
from tests.tracker.sam2.helpers import BOX, BOXED, CLIP_FRAMES, OTHER, TINY, expected, write_pose
from tracker.cleanup import keep_largest
from tracker.sam2.predictor import Predictor


def test_points_prompt_on_any_frame_and_both_kinds_count(run: Run, predictor: Predictor) -> None:
    inside = {"frame": 9, "points": [(30.0, 35.0)], "labels": [1]}
    both = {"frame": 9, "points": [(30.0, 35.0), (80.5, 60.0)], "labels": [1, 0]}
    invoke(run, "--point", "30,35", "--frame", "9", *TINY)
    first = masks_of(run)
    assert np.array_equal(first, expected(predictor, run, [inside])[0])
    invoke(run, "--point", "30,35", "--point", "80.5,60,0", "--frame", "9", *TINY)
    assert np.array_equal(masks_of(run), expected(predictor, run, [both])[0])
    assert not np.array_equal(masks_of(run), first)
    assert read_prompts(run)["object"] == Prompt(None, 9, "flag", (Point(30, 35), Point(80.5, 60, 0)))


def test_a_box_and_points_go_together(run: Run, predictor: Predictor) -> None:
    invoke(run, *BOXED, "--point", "45,45,0", *TINY)
    with_point = [{"frame": 5, "box": BOX, "points": [(45.0, 45.0)], "labels": [0]}]
    assert np.array_equal(masks_of(run), expected(predictor, run, with_point)[0])


def test_points_that_only_say_where_the_object_is_not_are_refused(run: Run) -> None:
    with pytest.raises(UsageError, match="add one that is on it"):
        invoke(run, "--point", "45,45,0", *TINY)


def test_a_correction_goes_into_the_same_state_before_and_after_the_prompt(run: Run, predictor: Predictor) -> None:
    invoke(run, *BOXED, *TINY)
    before = masks_of(run)
    corrections = ("--correct", f"10:{OTHER}", "--correct", f"2:{OTHER}")
    invoke(run, *BOXED, *corrections, *TINY)
    places = [{"frame": 5, "box": BOX}, {"frame": 10, "box": OTHER}, {"frame": 2, "box": OTHER}]
    assert np.array_equal(masks_of(run), expected(predictor, run, places)[0])
    assert not np.array_equal(masks_of(run)[10], before[10])
    assert read_prompts(run)["object"].corrections == (Place(10, OTHER), Place(2, OTHER))
    assert "nothing has changed" in invoke(run, *TINY).output  # prompts.json keeps them
    assert "nothing has changed" not in invoke(run, *BOXED, *TINY).output  # a new prompt has none
    assert np.array_equal(masks_of(run), before)


def test_a_correction_by_itself_adds_to_the_prompt_that_is_stored(run: Run) -> None:
    invoke(run, *BOXED, "--check")
    invoke(run, "--correct", f"10:{OTHER}", *TINY)
    assert read_prompts(run)["object"].places == (Place(5, BOX), Place(10, OTHER))


@pytest.mark.parametrize(
    ("text", "error"),
    [(f"5:{OTHER}", UsageError), (f"{CLIP_FRAMES}:{OTHER}", InputError), ("7:60,10,99,60", InputError)],
)
def test_a_correction_that_cannot_be_is_refused_before_anything_is_written(
    run: Run, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        invoke(run, *BOXED, "--correct", text, *TINY)
    assert not run.path("prompts.json").exists()


def test_the_skater_is_tracked_from_his_box_and_surest_keypoints_and_shares_no_pixel(
    run: Run, predictor: Predictor
) -> None:
    write_pose(run)
    invoke(run, *BOXED, *TINY)
    skater = {"frame": 3, "box": OTHER, "points": [(75.5, 50.0), (70.0, 20.0)], "labels": [1, 1]}
    things, humans = expected(predictor, run, [{"frame": 5, "box": BOX}], [skater])
    assert humans is not None
    assert np.array_equal(masks_of(run), things)
    assert np.array_equal(masks_of(run, "human_mask.mp4"), humans)
    assert np.array_equal(masks_of(run, "mask_human"), humans)
    assert not (things & humans).any()
    alone = expected(predictor, run, [{"frame": 5, "box": BOX}])[0]
    assert (alone & humans).any()  # both claimed a pixel: the rule had something to decide
    assert stage_of(run)["notes"]["skater"] == [
        {"box": [60, 10, 90, 60], "frame": 3, "points": [[75.5, 50, 1], [70, 20, 1]]}
    ]
    assert stage_of(run)["notes"]["human_mask"] == "tracked by sam2"


def test_a_skater_who_was_found_elsewhere_is_tracked_anew(run: Run) -> None:
    write_pose(run)
    invoke(run, *BOXED, *TINY)
    write_prompt(run, "skater", Prompt(BOX, 3, "pose"))
    assert "nothing has changed" not in invoke(run, *TINY).output


def test_a_cut_resets_the_state_and_the_correction_is_the_second_shots_prompt(run: Run, predictor: Predictor) -> None:
    write_pose(run)
    invoke(run, *BOXED, "--correct", f"10:{OTHER}", "--cuts", "8", "--keep", "largest", *TINY)
    skater = stage_of(run)["notes"]["skater"]
    assert [place["frame"] for place in skater] == [3, 8]  # the second shot's own, from pose.json
    for shot, place in ((range(8), {"frame": 5, "box": BOX}), (range(8, CLIP_FRAMES), {"frame": 10, "box": OTHER})):
        his = next(each for each in skater if each["frame"] in shot)
        points = {"points": [(x, y) for x, y, _ in his["points"]], "labels": [label for *_, label in his["points"]]}
        where = {"frame": his["frame"], "box": Box(*his["box"])} | points
        things, humans = expected(predictor, run, [place], [where], shot)
        largest = np.array([keep_largest(mask) for mask in things])
        assert humans is not None
        assert np.array_equal(masks_of(run)[shot.start : shot.stop], largest)
        assert np.array_equal(masks_of(run, "human_mask.mp4")[shot.start : shot.stop], humans & ~largest)


def test_the_prompts_file_is_as_the_documentation_shows_it(run: Run) -> None:
    invoke(run, *BOXED, "--point", "45,45,0", "--correct", f"10:{OTHER}", "--check", *TINY)
    assert json.loads(run.path("prompts.json").read_text())["object"] == {
        "box": [20, 20, 50, 50],
        "frame": 5,
        "points": [[45, 45, 0]],
        "corrections": [{"box": [60, 10, 90, 60], "frame": 10}],
        "from": "flag",
    }
