"""From the witnesses' figures to what is said of a mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from handoff.detections.coco import CLASSES
from handoff.errors import InputError
from handoff.jsonfile import check_json
from handoff.places import Box, Detected, Place, Prompt
from handoff.poses import Person
from handoff.run import Run
from tests.evaluator.helpers import write_poses
from tests.tracker.witness.helpers import (
    FRAMES,
    HEIGHT,
    WIDTH,
    Mask,
    board,
    board_box,
    filled,
    hear,
    legs,
    make_run,
    moved,
    seen,
    skater,
    write_detections,
    write_person,
)
from tracker.witness.ruling import STANDING, FrameWitness, Standing, Witnesses, cycle_says, detector_says, person_says

EMPTY = np.zeros((HEIGHT, WIDTH), bool)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run in which the detector sees the board in every second frame."""
    run = make_run(tmp_path)
    write_detections(run, lambda frame: seen([board_box(frame)]))
    return Run.open(run.dir)


def test_a_right_mask_is_confirmed(run: Run) -> None:
    standing = hear(run, board)
    assert standing.word == "confirmed" and standing.contradicted == () and standing.spoke == FRAMES
    assert standing.sentence == f"the mask is confirmed in {FRAMES} of {FRAMES} frames that show an object"
    assert standing.frames[7] == FrameWitness(7, 1.0, 1.0, says="for")


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda frame: filled(moved(board_box(frame), 0, -60)), id="elsewhere"),
        pytest.param(lambda frame: filled(Box(50 + 2 * frame, 60, 110 + 2 * frame, 172)), id="board and legs"),
        pytest.param(lambda frame: filled(moved(board_box(frame), 10, 12)), id="shadow"),
        pytest.param(lambda _: EMPTY, id="lost"),
        pytest.param(lambda frame: filled(moved(board_box(frame), 0, 4)), id="slid by a sixth, all the time"),
        pytest.param(lambda frame: filled(Box(40 + 2 * frame, 150, 75 + 2 * frame, 174)), id="half, all the time"),
    ],
)
def test_a_wrong_mask_is_contradicted_in_nearly_every_frame(run: Run, wrong: Callable[[int], Mask]) -> None:
    standing = hear(run, wrong)
    assert standing.word == "contradicted" and len(standing.contradicted) >= 0.9 * FRAMES
    assert standing.sentence.startswith(f"the mask is contradicted in {len(standing.contradicted)} of {FRAMES} frames")
    assert "the detector sees the skateboard elsewhere" in standing.sentence
    assert f"first: {standing.contradicted[0]} (" in standing.sentence


def test_a_mask_that_is_wrong_for_a_while_is_contradicted_there_and_nowhere_else(run: Run) -> None:
    standing = hear(run, lambda frame: board(frame) if frame < 30 else EMPTY)
    assert standing.word == "contradicted" and set(standing.contradicted) == set(range(30, FRAMES))
    assert standing.correction == Place(30, Box(97, 147, 183, 177)), "the detection, and three hundredths of it around"


def test_a_frame_that_has_a_place_is_not_the_one_to_correct(tmp_path: Path) -> None:
    run = make_run(tmp_path, Prompt(board_box(4), 4, "flag", corrections=(Place(30, board_box(30)),)))
    write_detections(run, lambda frame: seen([board_box(frame)]))
    standing = hear(run, lambda frame: board(frame) if frame < 30 else EMPTY)
    assert standing.contradicted[0] == 30 and standing.correction is not None and standing.correction.frame == 31


def test_single_bad_detections_blame_no_right_frame(tmp_path: Path) -> None:
    run = make_run(tmp_path)

    def found(frame: int) -> Box:
        return moved(board_box(frame), 30, -20) if frame in (20, 40) else board_box(frame)

    write_detections(run, lambda frame: seen([found(frame)]))
    standing = hear(run, board)
    assert standing.word == "confirmed" and standing.contradicted == ()
    assert standing.frames[20].box_iou is not None and standing.frames[20].box_iou < 0.1


def test_a_few_contradicted_frames_are_told_and_do_not_make_the_clip_s_word(run: Run) -> None:
    standing = hear(run, lambda frame: board(frame) if not 30 <= frame < 36 else EMPTY)
    assert standing.word == "confirmed" and standing.contradicted == (30, 31, 32, 33, 34, 35)
    assert standing.sentence.endswith("doubted in 30-35")


def test_a_board_that_the_detector_sees_with_its_shadow_or_hidden_in_part_is_right(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_detections(run, lambda frame: seen([Box(36 + 2 * frame, 146, 122 + 2 * frame, 186)]))
    assert hear(run, board).contradicted == ()
    run = make_run(tmp_path / "hidden")
    write_detections(run, lambda frame: seen([board_box(frame)]))

    def in_part(frame: int) -> Mask:
        return filled(Box(40 + 2 * frame, 150, 75 + 2 * frame, 174)) if 20 <= frame < 32 else board(frame)

    assert hear(run, in_part).contradicted == ()


def test_a_short_silence_between_contradicted_frames_is_contradicted_with_them(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_detections(run, lambda frame: seen([board_box(frame)]) if not 20 < frame < 30 else [])
    wrong = hear(run, lambda frame: filled(moved(board_box(frame), 0, -60)))
    assert set(range(21, 30)) <= set(wrong.contradicted)
    tracked_back = hear(run, lambda frame: filled(moved(board_box(frame), 0, -60)), {25: 0.95})
    assert not set(range(22, 29)) & set(tracked_back.contradicted)


def test_a_longer_silence_counts_where_one_mask_goes_on_through_it(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_detections(run, lambda frame: seen([board_box(frame)]) if not 20 < frame < 50 else [])  # 29 frames at 30 fps

    def wrong(frame: int) -> Mask:
        return filled(moved(board_box(frame), 0, -60))

    silence = set(range(21, 50))
    assert silence <= set(hear(run, wrong).contradicted)
    assert not set(range(22, 49)) & set(hear(run, wrong, {30: 0.95}).contradicted), "something spoke for it"
    lost = hear(run, lambda frame: EMPTY if frame == 30 else wrong(frame))
    assert not set(range(22, 49)) & set(lost.contradicted), "another mask began"
    jumped = hear(run, lambda frame: filled(moved(board_box(frame), 0, -60 if frame < 30 else -120)))
    assert not set(range(22, 49)) & set(jumped.contradicted), "it was found again elsewhere"
    write_detections(run, lambda frame: seen([board_box(frame)]) if not 20 < frame < 54 else [])
    assert not set(range(22, 53)) & set(hear(run, wrong).contradicted), "longer than a second"


def test_tracking_back_speaks_by_itself_and_the_detector_outweighs_it(run: Run, tmp_path: Path) -> None:
    bare = make_run(tmp_path / "bare")
    assert hear(bare, board).word == "unconfirmed"
    assert "no detections of its class, not tracked back" in hear(bare, board).sentence
    assert hear(bare, board, dict.fromkeys(range(FRAMES), 0.9)).word == "confirmed"
    parted = hear(bare, board, {frame: 0.9 if frame < 40 else 0.3 for frame in range(FRAMES)})
    assert parted.word == "contradicted" and set(parted.contradicted) == set(range(40, FRAMES))
    assert "tracking back parts from it in 50" in parted.sentence
    one = hear(bare, board, {frame: 0.3 if frame == 40 else 0.9 for frame in range(FRAMES)})
    assert one.contradicted == (), "a single frame"
    assert hear(run, board, dict.fromkeys(range(FRAMES), 0.3)).word == "confirmed"


def test_where_the_detector_misses_a_sample_its_word_around_outweighs_the_cycle(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_detections(run, lambda frame: seen([board_box(frame)] if frame != 22 else []))
    standing = hear(run, board, dict.fromkeys(range(FRAMES), 0.3))
    assert standing.frames[22].box_iou is None and standing.contradicted == ()


def test_a_board_is_not_on_the_skater_above_his_feet(tmp_path: Path) -> None:
    run = make_run(tmp_path, Prompt(board_box(4), 4, "detector", detected=Detected("skateboard", 0.8, "yolox-nano")))
    write_detections(run, lambda frame: seen([board_box(frame)] if frame == 4 else []))
    write_person(run, legs, tmp_path)
    write_poses(run.path("pose.json"), run.info, map(skater, range(FRAMES)))
    right = hear(run, board)
    assert right.contradicted == () and right.frames[9].on_person == pytest.approx(400 / 1920)
    trousers = hear(run, lambda frame: legs(frame) | filled(moved(board_box(frame), 0, 24)))
    assert trousers.word == "contradicted" and "it lies on the skater in" in trousers.sentence
    across = hear(run, lambda frame: filled(Box(60 + 2 * frame, 80, 110 + 2 * frame, 100)))
    assert across.word == "contradicted" and across.frames[9].above_feet == pytest.approx(0.8)


def shod(frame: int) -> list[Person]:
    """The skater with his shoes, 10 to 15 px high, on the deck."""
    (person,) = skater(frame)
    for x, chain in ((70, (15, 17, 19)), (100, (16, 20, 22))):
        for index, dx, y in zip(chain, (0, 9, -4), (140, 147, 148), strict=True):
            person.keypoints[index], person.scores[index] = (x + dx + 2 * frame, y), 0.9
    return [person]


@pytest.mark.parametrize(("name", "word"), [("skateboard", "unconfirmed"), ("sports ball", "confirmed")])
def test_a_box_or_a_second_track_does_not_speak_for_a_board_that_is_half_of_the_shoes(
    tmp_path: Path, name: str, word: str
) -> None:
    run = make_run(tmp_path, Prompt(board_box(4), 4, "detector", detected=Detected(name, 0.8, "yolox-nano")))
    around = [Box(40 + 2 * frame, 140, 120 + 2 * frame, 174) for frame in range(FRAMES)]  # a detector's box: shoes too
    write_detections(run, lambda frame: seen([around[frame]], CLASSES.index(name)))
    write_poses(run.path("pose.json"), run.info, map(shod, range(FRAMES)))
    right = hear(run, board)
    assert right.word == "confirmed" and 0 < (right.frames[9].shoes or 0) < 0.5
    with_shoes = hear(run, lambda frame: filled(around[frame]), dict.fromkeys(range(FRAMES), 0.95))
    assert with_shoes.word == word and with_shoes.contradicted == ()
    assert (with_shoes.frames[9].box_iou, with_shoes.frames[9].shoes) == (1.0, pytest.approx(0.8, abs=0.2))
    assert (f"half of the skater's shoes lie in it in {FRAMES}" in with_shoes.sentence) == (word == "unconfirmed")


def test_a_ball_may_lie_before_the_body_and_no_object_is_a_whole_leg(tmp_path: Path) -> None:
    ball = Prompt(board_box(4), 4, "detector", detected=Detected("sports ball", 0.8, "yolox-nano"))
    run = make_run(tmp_path, ball)
    write_detections(run, lambda frame: seen([board_box(frame)] if frame == 4 else [], CLASSES.index("sports ball")))
    write_person(run, legs, tmp_path)
    write_poses(run.path("pose.json"), run.info, map(skater, range(FRAMES)))
    before = hear(run, lambda frame: filled(Box(60 + 2 * frame, 80, 80 + 2 * frame, 100)))
    assert before.contradicted == () and before.frames[9].on_person == 1.0
    assert hear(run, legs).word == "contradicted"


def test_without_a_person_s_mask_the_skeleton_s_limbs_stand_for_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, Prompt(board_box(4), 4, "detector", detected=Detected("skateboard", 0.8, "yolox-nano")))
    write_detections(run, lambda frame: seen([board_box(frame)] if frame == 4 else []))
    write_poses(run.path("pose.json"), run.info, map(skater, range(FRAMES)))
    assert hear(run, board).contradicted == ()
    assert hear(run, lambda frame: filled(Box(63 + 2 * frame, 62, 77 + 2 * frame, 140))).word == "contradicted"


def test_what_each_witness_says() -> None:
    assert detector_says(FrameWitness(0)) is None and cycle_says(FrameWitness(0)) is None
    assert person_says(FrameWitness(0), None) is None
    for iou, inside, says in ((0.6, 0.8, 1), (0.59, 0.9, 0), (0.9, 0.69, -1), (0.49, 0.84, -1), (0.3, 1.0, 0)):
        assert detector_says(FrameWitness(0, iou, inside)) == says
    assert detector_says(FrameWitness(0, seen_where_empty=True)) == -1
    assert detector_says(FrameWitness(0, seen_where_empty=False)) == 0
    board, ball = CLASSES.index("snowboard"), CLASSES.index("sports ball")
    assert person_says(FrameWitness(0, on_person=0.9, above_feet=0.34), board) == -1
    assert person_says(FrameWitness(0, on_person=0.9, above_feet=0.33), board) == 0
    assert person_says(FrameWitness(0, on_person=0.9, above_feet=0.9, leg=0.5), ball) == 0
    assert person_says(FrameWitness(0, on_person=0.9, above_feet=0.9, leg=0.8), None) == -1
    assert [cycle_says(FrameWitness(0, cycle_iou=iou)) for iou in (0.69, 0.7, 0.8)] == [-1, 0, 1]


def test_a_standing_is_read_back_as_it_was_written(run: Run) -> None:
    for mask in (board, lambda _: EMPTY):
        standing = hear(run, mask, {3: 0.5})
        check_json(standing.as_json(), "it", STANDING, advice="")
        assert Standing.from_json(standing.as_json()) == standing
    assert Standing.from_json(Standing().as_json()) == Standing()


def test_files_of_another_clip_are_refused(run: Run, tmp_path: Path) -> None:
    text = run.path("detections.json").read_text()
    run.path("detections.json").write_text(text.replace('"frame_count": 90', '"frame_count": 91'))
    with pytest.raises(InputError, match=r"detections\.json is of another clip"):
        Witnesses(run, run.info)
    run.path("detections.json").write_text(text)
    write_poses(run.path("pose.json"), run.info, [[] for _ in range(3)])
    with pytest.raises(InputError, match=r"pose\.json has fewer frames than the clip"):
        hear(run, board)
