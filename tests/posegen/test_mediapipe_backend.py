"""The real MediaPipe run, in the stage's own environment: real people are found, nobody is invented, runs repeat."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.files import sha256_path
from handoff.places import Box
from handoff.poses import read_header, read_poses
from handoff.run import Run
from handoff.video import read_frames
from posegen.keypoints import KPT_THR
from posegen.mediapipe_backend import ROOM, NativeLog, only, without_chatter
from tests.helpers import HANG_S, read_gray, textured, write_clip

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 16

pytestmark = pytest.mark.stage("posegen")


@pytest.fixture(scope="session")
def posegen_python() -> str:
    interpreter = os.environ.get("POSEGEN_PYTHON")
    if not interpreter:
        pytest.skip("POSEGEN_PYTHON is not set: the stage's environment, with mediapipe, is not built")
    return interpreter


def posegen(interpreter: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [interpreter, "-m", "posegen", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )


@pytest.fixture(scope="session")
def skater_clip(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of a real skater who faces the camera and rolls towards the picture's left."""
    frames = list(read_frames(shared / "clips" / "skateboarder.mp4", stop=136 + FRAMES))[136:]
    return write_clip(tmp_path_factory.mktemp("skater") / "skater.mp4", frames)


@pytest.fixture(scope="session")
def skater(posegen_python: str, skater_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "skater"
    result = posegen(posegen_python, "--run", folder, "-i", skater_clip)
    assert result.stderr == ""
    assert "MediaPipe Holistic 0.10.21 (the embedded backend)" in result.stdout
    return Run.open(folder)


@pytest.mark.stage
def test_the_skater_is_found_in_every_frame(skater: Run) -> None:
    assert skater.manifest["stages"]["posegen"]["notes"]["frames_with_person"] == FRAMES


@pytest.mark.stage
def test_the_skeleton_is_the_right_way_round(skater: Run) -> None:
    for (person,) in read_poses(skater.path("pose.json")):
        x, y = person.keypoints.T
        assert x[6] < x[5]  # he faces the camera: his right shoulder is on the picture's left
        assert x[12] < x[11]  # and so is his right hip
        assert y[0] < y[5] < y[11] < y[13] < y[15]  # nose, shoulder, hip, knee, ankle: downwards


@pytest.mark.stage
def test_hands_are_at_their_own_wrists(skater: Run) -> None:
    checked = 0
    for (person,) in read_poses(skater.path("pose.json")):
        forearm = np.linalg.norm(person.keypoints[7] - person.keypoints[9])
        for wrist, hand in ((9, 91), (10, 112)):
            if person.scores[hand] > KPT_THR:
                assert np.linalg.norm(person.keypoints[wrist] - person.keypoints[hand]) < forearm / 2
                checked += 1
    assert checked >= FRAMES


@pytest.mark.stage
def test_the_face_is_on_the_head(skater: Run) -> None:
    faces = [person for (person,) in read_poses(skater.path("pose.json")) if person.scores[23] > KPT_THR]
    assert len(faces) >= FRAMES // 2
    for person in faces:
        face = person.keypoints[23:91]
        low, high = face.min(axis=0), face.max(axis=0)
        head = (low + high) / 2
        assert np.linalg.norm(head - person.keypoints[0]) < np.linalg.norm(high - low)
        assert face[8, 1] > face[27, 1]  # the chin is below the eyes


@pytest.mark.stage
def test_the_mask_lies_on_the_person(skater: Run) -> None:
    masks = read_gray(skater.path("person_mask.mp4"))
    for mask, (person,) in zip(masks, read_poses(skater.path("pose.json")), strict=True):
        assert set(np.unique(mask)) == {0, 255}
        near = cv2.dilate(mask, np.ones((15, 15), np.uint8))
        body = person.keypoints[:17][person.scores[:17] > KPT_THR].astype(int)
        assert (near[body[:, 1], body[:, 0]] > 0).mean() > 0.9
        box = person.box
        outside = mask.copy()
        outside[int(box.y1) : int(np.ceil(box.y2)), int(box.x1) : int(np.ceil(box.x2))] = 0
        assert np.count_nonzero(outside) < 0.05 * np.count_nonzero(mask)


@pytest.mark.stage
def test_smoothing_takes_jitter_off_the_trunk_and_keeps_what_was_measured(skater: Run) -> None:
    header = read_header(skater.path("pose.json"))
    assert header["smoothing"] == {"method": "savgol", "window": 7, "order": 2}
    people = [person for (person,) in read_poses(skater.path("pose.json"))]
    raw = np.stack([person.keypoints if person.raw is None else person.raw for person in people])
    smoothed = np.stack([person.keypoints for person in people])
    trunk = [5, 6, 11, 12]

    def jitter(ways: NDArray[np.float32]) -> float:
        return float(np.linalg.norm(np.diff(ways[:, trunk], n=2, axis=0), axis=2).mean())

    assert jitter(smoothed) < 0.6 * jitter(raw)
    height = people[0].box.y2 - people[0].box.y1
    assert np.linalg.norm(smoothed - raw, axis=2)[:, trunk].max() < 0.05 * height


@pytest.mark.stage
def test_pose_json_names_the_weights_by_their_digest(skater: Run) -> None:
    model = read_header(skater.path("pose.json"))["model"]
    assert (model["name"], model["embedded"]) == ("MediaPipe Holistic", True)
    assert re.fullmatch("[0-9a-f]{64}", model["sha256"])


@pytest.mark.stage
def test_two_runs_give_the_same_files(posegen_python: str, skater: Run, skater_clip: Path, tmp_path: Path) -> None:
    posegen(posegen_python, "--run", tmp_path / "again", "-i", skater_clip)
    for name in ("pose.json", "pose_json", "pose_keypoint.json", "pose_skater", "pose.mp4", "person_mask.mp4"):
        assert sha256_path(tmp_path / "again" / name) == sha256_path(skater.path(name)), name


@pytest.mark.stage
def test_where_nobody_is_nobody_is_written(posegen_python: str, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "empty.mp4", [textured(240, 320, seed) for seed in range(6)])
    posegen(posegen_python, "--run", tmp_path / "run", "-i", clip)
    run = Run.open(tmp_path / "run")
    assert [len(people) for people in read_poses(run.path("pose.json"))] == [0] * 6
    assert not any(frame.any() for frame in read_frames(run.path("pose.mp4")))
    assert not any(mask.any() for mask in read_gray(run.path("person_mask.mp4")))


def test_only_the_box_and_a_little_room_around_it_is_shown() -> None:
    frame = textured(120, 160)
    before = frame.copy()
    shown = only(frame, Box(60, 30, 100, 90))
    room = int(60 * ROOM)
    inside = np.s_[30 - room : 90 + room, 60 - room : 100 + room]
    np.testing.assert_array_equal(shown[inside], frame[inside])
    shown[inside] = 114
    assert (shown == 114).all()
    np.testing.assert_array_equal(frame, before)


def test_a_box_at_or_beyond_the_edge_is_cut_there() -> None:
    frame = textured(120, 160)
    np.testing.assert_array_equal(only(frame, Box(-10, -10, 170, 130)), frame)
    assert (only(frame, Box(300, 300, 340, 360)) == 114).all()


def test_native_chatter_is_held_back_and_errors_pass() -> None:
    text = (
        b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
        b"W0000 00:00:1795340184.787982    6077 inference_feedback_manager.cc:114] Feedback manager requires ...\n"
        b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
        b"E0000 00:00:1795340184.9    6077 calculator_graph.cc:1] no such file\n"
        b"Fatal Python error\n"
    )
    passed = without_chatter(text).decode()
    assert passed.splitlines() == [
        "E0000 00:00:1795340184.9    6077 calculator_graph.cc:1] no such file",
        "Fatal Python error",
    ]


def test_what_native_code_writes_in_a_block_that_fails_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:

    log = NativeLog()
    with pytest.raises(RuntimeError), log.quiet():
        os.write(2, b"I0000 chatter\nE0000 broken graph\n")
        raise RuntimeError
    log.close()
    assert capfd.readouterr().err == "E0000 broken graph\n"


def test_nothing_in_the_current_folder_is_taken_for_a_network_or_for_settings(
    posegen_python: str, skater_clip: Path, skater: Run, tmp_path: Path
) -> None:
    """MediaPipe looks for its networks below the current folder first, and matplotlib for its settings."""
    code = "import importlib.util as u, pathlib; print(pathlib.Path(u.find_spec('mediapipe').origin).parent)"
    found = subprocess.run([posegen_python, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_S)
    package, here = Path(found.stdout.strip()), tmp_path / "here"
    planted = [path.relative_to(package.parent) for path in (package / "modules").rglob("*.*") if path.is_file()]
    assert len(planted) > 10
    for each in planted:
        (here / each).parent.mkdir(parents=True, exist_ok=True)
        (here / each).write_text("no network")
    os.mkfifo(here / "matplotlibrc")
    done = subprocess.run(
        [posegen_python, "-P", "-m", "posegen", "--run", "run", "-i", os.path.relpath(skater_clip, here)],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sha256_path(here / "run" / "pose.json") == sha256_path(skater.path("pose.json"))
