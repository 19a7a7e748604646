"""The class as the specification writes it: its names, a whole clip in one call, and nothing that falls back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.errors import InputError, MissingError, MissingFileError, UsageError
from handoff.files import sha256_path
from handoff.run import Run
from handoff.video import Frame
from posegen import SkaterPoseExtractor
from posegen.backend import Boxes, FramePose, PoseModel
from posegen.cli import command
from posegen.extractor import PoseCounts
from posegen.onnx_session import gpu_problem
from runner.process import ROOT
from tests.helpers import moving_square, write_clip
from tests.posegen.helpers import install_networks, standing, two_people

FRAMES = 12


class Somebody:
    """A backend that finds one person in all frames but the first, and remembers what boxes it was given."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.model = PoseModel("stand-in", "1", embedded=True, makes_masks=False)
        self.boxes: Boxes | None = None
        self._fails_at = fails_at

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        self.boxes = boxes
        for index, _ in enumerate(frames):
            if index == self._fails_at:
                raise InputError("the clip breaks off")
            yield FramePose([standing(80, 60, 100)] if index else [])


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install_networks(tmp_path, monkeypatch)
    return tmp_path / "models"


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "empty"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", moving_square(FRAMES))


def test_the_package_has_the_class_and_brings_nothing_heavy_before_it_is_asked_for() -> None:
    code = "import sys, posegen; print('cv2' in sys.modules); from posegen import SkaterPoseExtractor as S; print(S)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n<class 'posegen.extractor.SkaterPoseExtractor'>\n"
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        from posegen import Nothing  # type: ignore[attr-defined]  # noqa: F401


@pytest.mark.skipif(gpu_problem() is not None, reason="there is no GPU here")
def test_the_specifications_form_runs_on_the_gpu(networks: Path) -> None:
    assert SkaterPoseExtractor(device="cuda", backend="onnxruntime").model.name == "RTMW-l"


@pytest.mark.skipif(gpu_problem() is None, reason="there is a GPU here")
@pytest.mark.parametrize("form", [("cuda", "onnxruntime"), ("cuda",), ("cuda", "rtmw")])
def test_without_a_gpu_the_specifications_form_says_so_and_does_not_fall_back(
    networks: Path, form: tuple[str, ...]
) -> None:
    with pytest.raises(MissingError, match=r"--device cuda: .*NVIDIA") as caught:
        SkaterPoseExtractor(*form)
    assert caught.value.exit_code == 3


@pytest.mark.usefixtures("nothing")
def test_without_weights_the_specifications_form_names_the_command() -> None:
    with pytest.raises(MissingError, match="run make weights PROFILE=pose"):
        SkaterPoseExtractor(device="cuda", backend="onnxruntime")


def test_onnxruntime_is_rtmw_on_the_device_that_is_named(networks: Path) -> None:
    for made in (
        SkaterPoseExtractor(device="cpu", backend="onnxruntime"),
        SkaterPoseExtractor("cpu", "onnxruntime"),
        SkaterPoseExtractor("rtmw"),
        SkaterPoseExtractor(backend="rtmw"),
    ):
        assert made.model.name == "RTMW-l" and not made.model.embedded


def test_a_backend_that_was_made_already_is_taken_as_it_is() -> None:
    backend = Somebody()
    assert SkaterPoseExtractor(backend).model is SkaterPoseExtractor(backend=backend).model is backend.model


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"device": "rtmw-z"}, "no pose backend 'rtmw-z' on device 'auto'; choose one of: embedded, rtmw, onnxruntime"),
        ({"device": "gpu", "backend": "rtmw"}, "on device 'gpu'; .* on auto, cuda, cpu"),
        ({"device": "cuda", "backend": "embedded"}, "runs on the CPU only"),
        ({"device": Somebody(), "backend": "rtmw"}, "the device is .*; choose one of: auto, cuda, cpu"),
    ],
)
def test_what_does_not_exist_is_named_with_what_there_is(form: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        SkaterPoseExtractor(**form)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", [(), ("embedded",)])
def test_without_mediapipe_the_embedded_backend_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(MissingError, match=r"needs mediapipe 0\.10\.21 .*requirements\.lock"):
        SkaterPoseExtractor(*form)


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("kind", [str, Path])
def test_a_whole_clip_becomes_pictures_and_openpose_files(clip: Path, tmp_path: Path, kind: type) -> None:
    pictures, records = tmp_path / "out" / "skeletons", tmp_path / "out" / "json"
    backend = Somebody()
    counts = SkaterPoseExtractor(backend).process_video(kind(clip), kind(pictures), kind(records))
    assert counts == PoseCounts(frames=FRAMES, frames_with_person=FRAMES - 1) and backend.boxes is None
    assert sorted(each.name for each in pictures.iterdir()) == [f"frame_{index:05d}.png" for index in range(FRAMES)]
    assert sorted(each.name for each in records.iterdir()) == [f"frame_{index:05d}.json" for index in range(FRAMES)]
    drawn = [cv2.imread(str(each)) for each in sorted(pictures.iterdir())]
    assert [bool(each.any()) for each in drawn] == [False] + [True] * (FRAMES - 1) and drawn[0].shape == (120, 160, 3)
    people = [json.loads(each.read_text())["people"] for each in sorted(records.iterdir())]
    assert [len(each) for each in people] == [0] + [1] * (FRAMES - 1)
    assert people[1][0]["pose_keypoints_2d"][0] == pytest.approx(80, abs=0.1)


@pytest.mark.usefixtures("nothing")
def test_without_a_second_folder_there_are_pictures_alone_and_they_replace_older_ones(
    clip: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        SkaterPoseExtractor(Somebody()).process_video(clip, tmp_path / "out")
        assert len(list((tmp_path / "out").iterdir())) == FRAMES
    assert sorted(each.name for each in tmp_path.iterdir()) == ["clip.mp4", "out"]


@pytest.mark.usefixtures("nothing")
def test_a_clip_that_breaks_off_leaves_the_folders_as_they_were(clip: Path, tmp_path: Path) -> None:
    SkaterPoseExtractor(Somebody()).process_video(clip, tmp_path / "out")
    before = sha256_path(tmp_path / "out")
    with pytest.raises(InputError, match="breaks off"):
        SkaterPoseExtractor(Somebody(fails_at=9)).process_video(clip, tmp_path / "out", tmp_path / "json")
    assert sha256_path(tmp_path / "out") == before and not (tmp_path / "json").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.usefixtures("nothing")
def test_frames_that_somebody_looked_at_may_be_made_again(clip: Path, tmp_path: Path) -> None:
    SkaterPoseExtractor(Somebody()).process_video(clip, tmp_path / "out")
    (tmp_path / "out" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    SkaterPoseExtractor(Somebody()).process_video(clip, tmp_path / "out")
    assert not (tmp_path / "out" / "Thumbs.db").exists()


@pytest.mark.usefixtures("nothing")
def test_a_folder_with_anything_else_in_it_is_not_replaced(clip: Path, tmp_path: Path) -> None:
    extractor = SkaterPoseExtractor(Somebody())
    with pytest.raises(UsageError, match=r"clip\.mp4 in it is no frame of a clip"):
        extractor.process_video(clip, tmp_path)
    with pytest.raises(UsageError, match=r"clip\.mp4 is a file; give a folder"):
        extractor.process_video(clip, clip)
    for json_folder in ("out", "out/json", "."):
        with pytest.raises(UsageError):
            extractor.process_video(clip, tmp_path / "out", tmp_path / json_folder)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.usefixtures("nothing")
def test_a_clip_that_is_not_there_is_a_file_not_found_too(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*gone\.mp4; check the path") as caught:
        SkaterPoseExtractor(Somebody()).process_video(tmp_path / "gone.mp4", tmp_path / "out")
    assert isinstance(caught.value, MissingFileError) and caught.value.exit_code == 2


def test_rtmw_finds_the_person_by_the_detector_as_the_command_does(networks: Path, tmp_path: Path) -> None:
    clip = two_people(tmp_path / "two.mp4", "skateboard")
    counts = SkaterPoseExtractor(device="cpu", backend="onnxruntime").process_video(
        clip, tmp_path / "out", tmp_path / "json"
    )
    assert counts == PoseCounts(12, 10)  # he comes in the third frame
    command.main(["--run", str(tmp_path / "run"), "-i", str(clip)], standalone_mode=False)
    run = Run.open(tmp_path / "run")
    assert sha256_path(tmp_path / "json") == sha256_path(run.path("pose_json"))
    assert sha256_path(tmp_path / "out") == sha256_path(run.path("pose_skater"))


def test_the_embedded_backend_is_shown_the_skater_where_there_is_a_detector(networks: Path, tmp_path: Path) -> None:
    backend = Somebody()
    SkaterPoseExtractor(backend).process_video(two_people(tmp_path / "two.mp4", "skateboard"), tmp_path / "out")
    assert backend.boxes is not None and len(backend.boxes) == 12
    assert np.all([box.centre[0] < 80 for box in backend.boxes if box])


def test_rtmw_without_a_detector_invents_no_person(networks: Path, clip: Path, tmp_path: Path) -> None:
    (networks / "detect" / "yolox_nano.onnx").unlink()
    with pytest.raises(MissingError, match=r"make weights.*RTMW-l has to know where the person is"):
        SkaterPoseExtractor(device="cpu", backend="onnxruntime").process_video(clip, tmp_path / "out")
    assert not (tmp_path / "out").exists()
