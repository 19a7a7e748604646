"""The stage's files, made with a stand-in for the model: what is written, counted, skipped and left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.errors import InputError, MissingError, UsageError
from handoff.places import read_prompts
from handoff.poses import check_poses, read_header, read_poses
from handoff.run import Run
from handoff.video import Frame, probe, read_frames
from posegen.backend import Boxes, FramePose, PoseModel
from posegen.choice import PoseChoice
from posegen.cli import command
from posegen.keypoints import box_around
from posegen.rtmw_backend import RtmwBackend
from posegen.stage import choose_backend
from tests.helpers import moving_square, read_gray, write_clip
from tests.posegen.helpers import install_rtmw, line_of, person

WIDTH, HEIGHT, FRAMES = 160, 120, 5
Found = Callable[[int], bool]


class StandIn:
    """A backend that finds one person, 10 px further right each frame, in the frames that `found` names."""

    def __init__(self, found: Found, makes_masks: bool = True) -> None:
        self.model = PoseModel("stand-in", "1", embedded=True, makes_masks=makes_masks)
        self._found = found

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        for index, frame in enumerate(frames):
            mask = np.zeros(frame.shape[:2], np.bool_)
            people = []
            if self._found(index):
                someone = person(
                    {0: (30 + 10 * index, 20), **line_of(range(5, 17), 10 + 10 * index, 60)}, 0.5 + 0.05 * index
                )
                mask[20:100, 10 + 10 * index : 60 + 10 * index] = True
                box = box_around(someone.keypoints, someone.scores, WIDTH, HEIGHT, mask)
                people.append(type(someone)(box, someone.keypoints, someone.scores))
            yield FramePose(people, mask if self.model.makes_masks else None)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", moving_square(FRAMES, WIDTH, HEIGHT))


@pytest.fixture
def extract(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Run the command with a stand-in that finds somebody where `found` says."""

    def run(found: Found, *options: str, makes_masks: bool = True) -> Run:
        monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))  # no detector, whatever this machine has
        monkeypatch.setattr("posegen.mediapipe_backend.MediaPipeBackend", lambda: StandIn(found, makes_masks))
        folder = tmp_path / "run"
        command.main(["--run", str(folder), "-i", str(clip), *options], standalone_mode=False)
        return Run.open(folder)

    return run


def test_every_sequence_has_the_clips_frames(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: index != 2)
    check_poses(run.path("pose.json"), run.info)
    assert probe(run.path("pose.mp4")).frames == FRAMES
    assert probe(run.path("person_mask.mp4")).frames == FRAMES
    names = [f"frame_{index:05d}" for index in range(FRAMES)]
    assert sorted(path.name for path in run.path("pose_json").iterdir()) == [f"{name}.json" for name in names]
    assert sorted(path.name for path in run.path("pose_skater").iterdir()) == [f"{name}.png" for name in names]


def test_a_frame_without_a_person_is_empty_and_black_in_every_file(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: index != 2)
    assert [len(people) for people in read_poses(run.path("pose.json"))] == [1, 1, 0, 1, 1]
    assert json.loads(run.path("pose_json/frame_00002.json").read_text())["people"] == []
    assert [bool(cv2.imread(str(path)).any()) for path in sorted(run.path("pose_skater").iterdir())] == [
        *(True, True, False, True, True)
    ]
    assert [int(frame.max()) for frame in read_gray(run.path("person_mask.mp4"))] == [255, 255, 0, 255, 255]


def test_a_clip_without_a_person_gives_black_frames_and_no_prompt(
    extract: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = extract(lambda index: False)
    assert all(people == [] for people in read_poses(run.path("pose.json")))
    assert not any(frame.any() for frame in read_frames(run.path("pose.mp4")))
    assert "skater" not in read_prompts(run)
    assert run.manifest["stages"]["posegen"]["notes"]["frames_with_person"] == 0
    assert "nobody was found" in capsys.readouterr().err


def test_the_person_mask_comes_back_bit_exact(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: True)
    for index, mask in enumerate(read_gray(run.path("person_mask.mp4"))):
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        expected[20:100, 10 + 10 * index : 60 + 10 * index] = 255
        np.testing.assert_array_equal(mask, expected)


def test_the_prompt_is_the_surest_detection_clear_of_the_edges(extract: Callable[..., Run]) -> None:
    # scores rise with every frame, and in the last the person stands at the frame's edge
    skater = read_prompts(extract(lambda index: True))["skater"]
    assert (skater.frame, skater.origin) == (3, "pose")
    assert skater.box.as_list() == [40, 20, 150, 100]


def test_run_json_and_pose_json_say_that_the_backend_is_the_embedded_one(
    extract: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = extract(lambda index: True)
    assert run.manifest["stages"]["posegen"]["tools"]["embedded"] == "True"
    assert read_header(run.path("pose.json"))["model"] == {
        "name": "stand-in",
        "version": "1",
        "embedded": True,
    }
    assert "stand-in 1 (the embedded backend)" in capsys.readouterr().out


def test_what_was_measured_is_kept_beside_what_was_smoothed(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: index != 0)
    assert read_header(run.path("pose.json"))["smoothing"] == {"method": "savgol", "window": 7, "order": 2}
    raw = [person.raw for people in read_poses(run.path("pose.json")) for person in people]
    assert [None if each is None else each[0].tolist() for each in raw] == [
        [30.0 + 10 * index, 20] for index in range(1, 5)
    ]


def test_without_smoothing_the_keypoints_stand_once(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: True, "--smooth", "none")
    assert read_header(run.path("pose.json"))["smoothing"] == {"method": "none"}
    assert [person.raw for people in read_poses(run.path("pose.json")) for person in people] == [None] * FRAMES


def test_the_keypoints_of_every_file_are_the_same(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: index != 2, "--smooth", "savgol")
    clip = json.loads(run.path("pose_keypoint.json").read_text())
    assert len(clip) == FRAMES
    for index, people in enumerate(read_poses(run.path("pose.json"))):
        record = json.loads(run.path(f"pose_json/frame_{index:05d}.json").read_text())
        assert (record["canvas_width"], record["canvas_height"]) == (WIDTH, HEIGHT)
        assert len(record["people"]) == len(clip[index]["people"]) == len(people)
        for someone, once, again in zip(people, record["people"], clip[index]["people"], strict=True):
            right_wrist = someone.keypoints[10].tolist()
            assert once["pose_keypoints_2d"][12:14] == pytest.approx(right_wrist, abs=0.01)
            assert again["pose_keypoints_2d"][12:15] == pytest.approx([*right_wrist, 1], abs=0.01)


def test_every_output_is_in_the_manifest(extract: Callable[..., Run]) -> None:
    outputs = extract(lambda index: True).manifest["stages"]["posegen"]["outputs"]
    assert [each["path"] for each in outputs] == [
        *("pose.json", "pose_json", "pose_keypoint.json", "pose_skater", "pose.mp4", "person_mask.mp4")
    ]


def test_a_model_without_masks_writes_no_mask_video(extract: Callable[..., Run]) -> None:
    run = extract(lambda index: True, makes_masks=False)
    assert not run.path("person_mask.mp4").exists()


def test_the_same_command_again_does_no_work_but_mends_the_prompt(
    extract: Callable[..., Run], capsys: pytest.CaptureFixture[str]
) -> None:
    run = extract(lambda index: True)
    written = run.path("pose.json").stat().st_mtime_ns
    run.path("prompts.json").unlink()
    run = extract(lambda index: True)
    assert "nothing has changed" in capsys.readouterr().out
    assert run.path("pose.json").stat().st_mtime_ns == written
    assert read_prompts(run)["skater"].frame == 3


def test_another_style_is_drawn_again(extract: Callable[..., Run]) -> None:
    before = cv2.imread(str(extract(lambda index: True).path("pose_skater/frame_00000.png")))
    after = cv2.imread(str(extract(lambda index: True, "--draw", "openpose").path("pose_skater/frame_00000.png")))
    assert (before != after).any()


def test_a_source_shorter_than_the_manifest_says_leaves_nothing(extract: Callable[..., Run], clip: Path) -> None:
    run = extract(lambda index: True)
    run.manifest["source"]["frames"] = FRAMES + 1
    run.save()
    before = run.path("pose.json").read_bytes()
    with pytest.raises(InputError, match=f"has {FRAMES} frames, run.json says {FRAMES + 1}"):
        command.main(["--run", str(run.dir), "--draw", "openpose"], standalone_mode=False)
    assert run.path("pose.json").read_bytes() == before
    assert not list(run.dir.glob(".*.partial"))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        command.main(["--run", str(tmp_path)], standalone_mode=False)


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install_rtmw(tmp_path / "models", tmp_path / "weights.toml", monkeypatch)


def test_the_default_is_rtmw_where_its_weights_and_the_detectors_are(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert choose_backend(PoseChoice(), detector=True).model.name == "RTMW-l"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("weights", "detector", "why"),
    [
        (False, True, "pose/rtmw-l.zip is not in {models}, so MediaPipe, the embedded backend, does the work"),
        (True, False, "the detector's weights are not there, so MediaPipe, the embedded backend, does the work"),
    ],
)
def test_without_one_of_them_the_default_is_mediapipe_and_says_so_in_one_line(
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weights: bool,
    detector: bool,
    why: str,
) -> None:
    embedded = RtmwBackend()  # in MediaPipe's place, which is not installed beside the tests
    monkeypatch.setattr("posegen.mediapipe_backend.MediaPipeBackend", lambda: embedded)
    if not weights:
        (tmp_path / "models" / "pose" / "rtmw-l.zip").unlink()
    assert choose_backend(PoseChoice(), detector=detector) is embedded
    line = f'posegen: {why.format(models=tmp_path / "models")}; make weights PROFILE="pose detect" gets RTMW\n'
    assert capsys.readouterr().out == line


@pytest.mark.parametrize("model", ["rtmw-x", "rtmw-m"])
def test_a_model_that_the_registry_has_no_digest_of_says_so(model: str) -> None:
    with pytest.raises(MissingError, match=rf"has no file for {model}, .*use --pose-model rtmw-l, or add an entry"):
        choose_backend(PoseChoice(model=model), detector=True)


def test_a_model_that_does_not_exist_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no pose model 'rtmw-s'; there are: rtmw-l, rtmw-x, rtmw-m"):
        choose_backend(PoseChoice("rtmw", "rtmw-s"), detector=True)


def test_rtmw_by_name_without_its_weights_never_falls_back(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "pose" / "rtmw-l.zip").unlink()
    for wanted in (PoseChoice("rtmw"), PoseChoice(model="rtmw-l"), PoseChoice(device="cuda")):
        with pytest.raises(MissingError, match="run make weights PROFILE=pose"):
            choose_backend(wanted, detector=True)
    assert capsys.readouterr().out == ""
