"""SkateboardTracker: every frame once, in order, whatever the prompt; plain errors; files as DESIGN.md says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.errors import InputError, MissingFileError, UsageError
from handoff.masks import read_masks
from handoff.places import Box, Place, Point
from tests.helpers import write_clip
from tests.tracker.helpers import HEIGHT, WIDTH, Mask, Scene, board, iou, make_scene, repaint
from tracker import SkateboardTracker
from tracker.embedded.backend import read_backward
from tracker.tracker import Request


def follow(path: Path, scene: Scene, prompt: int) -> tuple[SkateboardTracker, list[Mask]]:
    tracker = SkateboardTracker(backend="embedded")
    tracker.init_video(path)
    tracker.add_initial_prompt(prompt, scene.box(prompt))
    indices, masks = zip(*tracker.propagate_yield(), strict=True)
    assert list(indices) == list(range(len(scene.frames)))
    return tracker, list(masks)


@pytest.fixture(scope="module")
def rolling() -> Scene:
    return make_scene(30)


@pytest.fixture(scope="module")
def clip(rolling: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rolling.write(tmp_path_factory.mktemp("tracker") / "rolling.mp4")


@pytest.mark.parametrize("prompt", [0, 13, 29])
def test_every_frame_comes_once_in_order_and_fits_the_truth_wherever_the_prompt_is(
    clip: Path, rolling: Scene, prompt: int
) -> None:
    tracker, masks = follow(clip, rolling, prompt)
    assert all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool for mask in masks)
    scores = [iou(mask, truth) for mask, truth in zip(masks, rolling.truth, strict=True)]
    assert np.mean(scores) > 0.93
    assert min(scores) > 0.85
    assert tracker.lost_frames == []


def test_a_moving_camera_does_not_carry_the_mask_away(tmp_path: Path) -> None:
    scene = make_scene(24, pan=2)
    _, masks = follow(scene.write(tmp_path / "pan.mp4"), scene, 0)
    assert np.mean([iou(mask, truth) for mask, truth in zip(masks, scene.truth, strict=True)]) > 0.85


def test_a_hidden_object_is_black_and_found_again(tmp_path: Path) -> None:
    scene = make_scene(34, hidden=range(12, 18))
    tracker, masks = follow(scene.write(tmp_path / "hidden.mp4"), scene, 2)
    assert not any(mask.any() for mask in masks[12:18])
    assert tracker.lost_frames == list(range(12, 18))
    assert min(iou(mask, truth) for mask, truth in zip(masks[18:], scene.truth[18:], strict=True)) > 0.75


def test_an_object_that_leaves_the_frame_is_black_from_then_on(tmp_path: Path) -> None:
    scene = make_scene(56)
    tracker, masks = follow(scene.write(tmp_path / "leaves.mp4"), scene, 0)
    gone = [index for index in range(56) if not board(index).any()]
    assert gone
    assert not any(masks[index].any() for index in gone)
    assert set(gone) <= set(tracker.lost_frames)


def test_a_repainted_object_gives_the_same_mask_in_every_frame(clip: Path, rolling: Scene, tmp_path: Path) -> None:
    _, masks = follow(clip, rolling, 5)
    painted = write_clip(
        tmp_path / "painted.mp4", repaint(rolling.frames, masks, (30, 220, 230)), options={"crf": "14"}
    )
    _, again = follow(painted, rolling, 5)
    assert min(iou(a, b) for a, b in zip(masks, again, strict=True)) > 0.9


def test_the_result_does_not_depend_on_the_run_or_the_number_of_threads(clip: Path, rolling: Scene) -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        _, one = follow(clip, rolling, 13)
        cv2.setRNGSeed(123)
        cv2.setNumThreads(4)
        _, four = follow(clip, rolling, 13)
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)
    assert all(np.array_equal(a, b) for a, b in zip(one, four, strict=True))


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        ((150, 60, 170, 80), "150,60,170,80"),  # outside, to the right
        ((-5, 60, 40, 80), "-5,60,40,80"),
        ((90, 60, 40, 80), "reversed"),
        ((40, 60, 40, 80), "no area"),
    ],
)
def test_a_box_that_cannot_be_is_refused_with_the_values_seen(
    clip: Path, box: tuple[float, float, float, float], seen: str
) -> None:
    tracker = SkateboardTracker()
    tracker.init_video(clip)
    with pytest.raises(InputError, match=seen):
        tracker.add_initial_prompt(0, box)


@pytest.mark.parametrize("frame", [-1, 30])
def test_a_frame_that_the_clip_does_not_have_is_refused(clip: Path, rolling: Scene, frame: int) -> None:
    tracker = SkateboardTracker()
    tracker.init_video(clip)
    with pytest.raises(InputError, match=f"frame {frame} is not in the clip: it has 30 frames"):
        tracker.add_initial_prompt(frame, rolling.box(0))


@pytest.mark.parametrize("box", [(0, 0, WIDTH, HEIGHT), (50, 60, 51, 61), (0, 0, 20, HEIGHT)])
def test_an_extreme_box_still_gives_every_frame(clip: Path, box: tuple[int, int, int, int]) -> None:
    tracker = SkateboardTracker()
    tracker.init_video(clip)
    tracker.add_initial_prompt(3, box)
    assert [index for index, _ in tracker.propagate_yield()] == list(range(30))


def test_calls_in_the_wrong_order_say_what_comes_first(clip: Path) -> None:
    tracker = SkateboardTracker()
    with pytest.raises(UsageError, match="init_video"):
        tracker.add_initial_prompt(0, (0, 0, 9, 9))
    tracker.init_video(clip)
    with pytest.raises(UsageError, match="add_initial_prompt"):
        next(iter(tracker.propagate_yield()))


def test_a_backend_that_is_not_here_is_refused_and_never_replaced() -> None:
    with pytest.raises(UsageError, match="'no-such-backend'"):
        SkateboardTracker(backend="no-such-backend")


def test_the_files_hold_the_masks_that_propagate_gives(clip: Path, rolling: Scene, tmp_path: Path) -> None:
    tracker, masks = follow(clip, rolling, 4)
    video, folder = tracker.propagate_and_save(tmp_path)
    assert (video.name, folder.name) == ("mask.mp4", "mask_skateboard")
    for written in (read_masks(video), read_masks(folder)):
        assert all(np.array_equal(a, b) for a, b in zip(written, masks, strict=True))


def test_reading_backward_gives_the_frames_of_reading_forward(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracker.embedded.backend._CHUNK_BYTES", 7 * WIDTH * HEIGHT * 3)
    tracker = SkateboardTracker()
    info = tracker.init_video(clip)
    pairs = list(read_backward(clip, 20, info))
    assert [index for index, _ in pairs] == list(range(20, -1, -1))
    forward = dict(read_backward(clip, 3, info))
    assert all(np.array_equal(dict(pairs)[index], forward[index]) for index in range(4))


@pytest.fixture
def tracker(clip: Path) -> SkateboardTracker:
    made = SkateboardTracker("embedded")
    made.init_video(clip)
    return made


def test_the_clips_size_rate_and_count_are_known(tracker: SkateboardTracker) -> None:
    info = tracker.video_info
    assert (info.width, info.height, info.fps, info.count) == (WIDTH, HEIGHT, 25, 30)


def test_a_clip_that_is_not_there_is_a_file_not_found_error_and_exit_code_2(tracker: SkateboardTracker) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file nowhere\.mp4") as refused:
        tracker.init_video("nowhere.mp4")
    assert isinstance(refused.value, MissingFileError) and refused.value.exit_code == 2


def test_a_second_prompt_on_another_frame_adds_to_the_first_and_on_the_same_frame_replaces_it(
    tracker: SkateboardTracker, rolling: Scene
) -> None:
    tracker.add_initial_prompt(0, rolling.box(0))
    tracker.add_initial_prompt(frame_idx=9, bbox=list(rolling.box(9)))
    assert tracker.request.places == (Place(0, Box(*rolling.box(0))), Place(9, Box(*rolling.box(9))))
    tracker.add_initial_prompt(frame_idx=0, bbox=np.array([20, 60, 60, 80]))
    assert tracker.request.places == (Place(0, Box(20, 60, 60, 80)), Place(9, Box(*rolling.box(9))))
    masks = [mask for _, mask in tracker.propagate_yield()]
    assert iou(masks[9], rolling.truth[9]) > 0.85


def test_the_frame_of_a_prompt_is_the_first_unless_it_is_named(tracker: SkateboardTracker, rolling: Scene) -> None:
    tracker.add_initial_prompt(bbox=rolling.box(0))
    assert tracker.request.places[0].frame == 0


def test_a_prompt_that_is_refused_changes_nothing(tracker: SkateboardTracker, rolling: Scene) -> None:
    tracker.add_initial_prompt(0, rolling.box(0))
    before = tracker.request
    for wrong in ((30, rolling.box(0)), (3, (0, 0, 999, 9))):
        with pytest.raises(InputError):
            tracker.add_initial_prompt(*wrong)
    assert tracker.request == before


@pytest.mark.parametrize(
    "box",
    ["120,200,260,240", b"abcd", [1, 2, 3], [1, 2, 3, 4, 5], 7, [1, 2, 3, "x"], [1, 2, 3, float("nan")], [[1, 2]]],
)
def test_what_is_no_box_gets_a_sentence_with_what_was_seen(tracker: SkateboardTracker, box: object) -> None:
    with pytest.raises(UsageError, match=r"is not four numbers; give x1, y1, x2, y2 in pixels") as refused:
        tracker.add_initial_prompt(0, box)  # type: ignore[arg-type]
    assert repr(box) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("frame", ["0", 0.5, None])
def test_what_is_no_frame_gets_a_sentence(tracker: SkateboardTracker, frame: object) -> None:
    with pytest.raises(UsageError, match="is not a whole number"):
        tracker.add_initial_prompt(frame, (20, 60, 60, 80))  # type: ignore[arg-type]


@pytest.mark.parametrize("point", ["1,2", (1,), (1, 2, 3), (1, 2, 1, 1), 5, (float("inf"), 2)])
def test_what_is_no_point_gets_a_sentence(tracker: SkateboardTracker, point: object) -> None:
    with pytest.raises(UsageError, match="is not x, y or x, y, 0 in pixels"):
        tracker.add_initial_prompt(0, (20, 60, 60, 80), [point])  # type: ignore[list-item]


def test_a_prompt_without_a_box_or_a_point_is_refused(tracker: SkateboardTracker) -> None:
    with pytest.raises(UsageError, match="where is the object on frame 4"):
        tracker.add_initial_prompt(4)


def test_points_may_be_plain_pairs(tracker: SkateboardTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker.backend, "check", lambda places: None)
    tracker.add_initial_prompt(0, points=[(30, 70), (1.5, 2, 0)])
    assert tracker.request.places[0].points == (Point(30, 70, 1), Point(1.5, 2, 0))


def test_a_request_is_checked_as_a_whole_and_forgotten_with_the_clip(
    tracker: SkateboardTracker, clip: Path, rolling: Scene
) -> None:
    place = Place(0, Box(*rolling.box(0)))
    for wrong in (Request((Place(30, place.box),)), Request((place,), skater=(Place(0, Box(0, 0, 999, 9)),))):
        with pytest.raises(InputError):
            tracker.request = wrong
    with pytest.raises(UsageError, match="frame 0 is given twice"):
        tracker.request = Request((place, place))
    tracker.request = Request((place,), keep="largest", fill_px=3)
    tracker.init_video(clip)
    assert tracker.request == Request()


@pytest.mark.parametrize(
    ("given", "video", "pngs"),
    [
        ("out/mask_skateboard", "out/mask.mp4", "out/mask_skateboard"),
        ("out/mask_skateboard/", "out/mask.mp4", "out/mask_skateboard"),
        ("out", "out/mask.mp4", "out/mask_skateboard"),
        ("out/masks", "out/masks/mask.mp4", "out/masks/mask_skateboard"),
    ],
)
def test_a_folder_named_mask_skateboard_gets_the_pictures_itself_and_any_other_both(
    tracker: SkateboardTracker, rolling: Scene, tmp_path: Path, given: str, video: str, pngs: str
) -> None:
    tracker.add_initial_prompt(0, rolling.box(0))
    assert tracker.propagate_and_save(f"{tmp_path}/{given}") == (tmp_path / video, tmp_path / pngs)
    names = [f"frame_{index:05d}.png" for index in range(30)]
    assert sorted(path.name for path in (tmp_path / pngs).iterdir()) == names
    first = next(iter(read_masks(tmp_path / video)))
    assert np.array_equal(cv2.imread(str(tmp_path / pngs / names[0]), cv2.IMREAD_GRAYSCALE), first * np.uint8(255))
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {video, *(f"{pngs}/{name}" for name in names)}


def test_a_folder_of_that_name_with_something_else_in_it_is_left_alone(
    tracker: SkateboardTracker, rolling: Scene, tmp_path: Path
) -> None:
    tracker.add_initial_prompt(0, rolling.box(0))
    folder = tmp_path / "mask_skateboard"
    tracker.propagate_and_save(folder)
    (folder / ".DS_Store").write_bytes(b"Bud1")  # Finder writes it where somebody looks
    tracker.propagate_and_save(folder)  # masks may be made again
    (folder / ".mine").write_text("hidden, but not to be lost")
    with pytest.raises(UsageError, match=r"holds \.mine, which would be lost"):
        tracker.propagate_and_save(folder)
    (folder / ".mine").unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds notes\.txt, which would be lost"):
        tracker.propagate_and_save(folder)
    assert (folder / "notes.txt").read_text() == "mine"
