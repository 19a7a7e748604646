"""The specification's own lines, typed as they stand there. What else each of them does is tested in its room:

SkateboardTracker      tests/tracker/test_tracker.py, tests/tracker/sam2/test_backend.py
SkaterPoseExtractor    tests/posegen/test_extractor.py
ComfyOrchestrator      tests/reskin/test_v2v.py; all four classes together: tests/examples/test_whole_pipeline.py
calculate_iou          tests/evaluator/test_gate.py
the last console line  tests/evaluator/report/test_result.py, and of evaluate_iou.py tests/evaluator/test_cli.py
-bbox of frame 0       tests/evaluator/test_retrack.py
extract_tracking.py    tests/runner/test_tracking.py, on a clip tests/tracker/sam2/test_root_commands.py
"""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import numpy as np
import pytest

from evaluator import calculate_iou
from evaluator.gate import Gate
from handoff.errors import InputError, MissingError, UsageError
from handoff.masks import read_masks
from posegen import SkaterPoseExtractor
from posegen.onnx_session import gpu_problem
from reskin import ComfyOrchestrator, find_node_by_class, upload_asset
from reskin.workflow import load_workflow
from tests.helpers import moving_square, write_clip
from tests.posegen.helpers import install_networks, two_people
from tests.tracker.helpers import write_registry
from tracker import SkateboardTracker

FRAMES = 14
CONFIG = "configs/sam2.1/sam2.1_hiera_t.yaml"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the specification's relative paths are in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def sam2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a small SAM 2.1 of random weights, which the registry knows."""
    torch = pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
    torch.set_num_threads(1)  # more only wait for each other, the model is so small
    from tests.tracker.sam2.helpers import IMAGE_SIZE, SMALL, write_checkpoint

    registry = write_registry(folder / "weights.toml", tiny=write_checkpoint(folder / "sam2.pt", IMAGE_SIZE))
    monkeypatch.setenv("WEIGHTS_TOML", str(registry))
    monkeypatch.setenv("TRACKER_SAM2_OVERRIDES", " ".join([f"++model.image_size={IMAGE_SIZE}", *SMALL]))
    return "sam2.pt"


def test_skateboard_tracker(folder: Path, sam2: str) -> None:
    write_clip(folder / "input.mp4", moving_square(FRAMES))
    tracker = SkateboardTracker(sam2, CONFIG, "cpu")
    tracker = SkateboardTracker(checkpoint_path=sam2, config_path=CONFIG, device="cpu")
    tracker.init_video("input.mp4")
    info = tracker.video_info
    assert (info.width, info.height, info.fps, info.count) == (160, 120, 25, FRAMES)
    tracker.add_initial_prompt(frame_idx=0, bbox=[20, 40, 52, 72])
    tracker.add_initial_prompt(frame_idx=10, bbox=[50, 40, 82, 72])
    assert [place.frame for place in tracker.request.places] == [0, 10]
    tracker.propagate_and_save("out/mask_skateboard")
    assert sorted(os.listdir("out/mask_skateboard")) == [f"frame_{index:05d}.png" for index in range(FRAMES)]
    written = list(read_masks(Path("out/mask_skateboard")))
    for frame_idx, mask in tracker.propagate_yield():
        assert mask.dtype == bool and np.array_equal(mask, written[frame_idx])
    with pytest.raises(UsageError, match="the box '20,40,52,72' is not four numbers"):
        tracker.add_initial_prompt(frame_idx=0, bbox="20,40,52,72")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        tracker.init_video("missing.mp4")
    with pytest.raises(FileNotFoundError):
        SkateboardTracker("missing.pt", CONFIG)
    if gpu_problem() is not None:
        with pytest.raises(MissingError):
            SkateboardTracker(sam2, CONFIG)  # device="cuda" is the default


@pytest.mark.parametrize("kind", [str, Path])
def test_skater_pose_extractor(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    install_networks(folder, monkeypatch)
    clip = two_people(folder / "input.mp4", "skateboard")
    if gpu_problem() is None:
        extractor = SkaterPoseExtractor(device="cuda", backend="onnxruntime")
    else:
        with pytest.raises(MissingError):
            SkaterPoseExtractor(device="cuda", backend="onnxruntime")
        extractor = SkaterPoseExtractor(device="cpu", backend="onnxruntime")
    extractor.process_video(kind(clip), kind("out/pose"))
    assert len(os.listdir("out/pose")) == 12
    extractor.process_video(video=kind(clip), output_dir_img=kind("out/pose"), output_dir_json=kind("out/json"))
    assert len(os.listdir("out/json")) == 12
    with pytest.raises(FileNotFoundError):
        extractor.process_video("missing.mp4", "out/pose")


def test_comfy_orchestrator() -> None:
    assert ComfyOrchestrator(server_addr="127.0.0.1:8188").server.address == ComfyOrchestrator().server.address
    given = inspect.signature(ComfyOrchestrator("127.0.0.1:8188").execute_v2v).parameters.values()
    assert [each.name for each in given if each.kind is each.POSITIONAL_OR_KEYWORD] == [
        "workflow_template",
        "source_video_path",
        "ref_image_path",
        "positive_prompt",
        "negative_prompt",
        "mask_text_prompt",
    ]
    assert find_node_by_class(load_workflow("wan_vace").graph, "KSampler") == "43"
    with pytest.raises(FileNotFoundError):
        upload_asset("127.0.0.1:8188", "missing.png")
    with pytest.raises(FileNotFoundError):
        ComfyOrchestrator().execute_v2v("wan_vace", "missing.mp4", None, "a drone", "a board", "skateboard")
    with pytest.raises(FileNotFoundError):
        ComfyOrchestrator().execute_v2v("missing.json", "missing.mp4", None, "a drone", "a board", "skateboard")


def test_calculate_iou() -> None:
    original, generated = np.zeros((10, 11), bool), np.zeros((10, 11), bool)
    original[:, :10], generated[:, 1:] = True, True  # 90 px in both, 110 in either
    ones, white = generated.astype(np.uint8), generated.astype(np.uint8) * 255
    for other in (generated, ones, white):
        assert calculate_iou(original, other) == calculate_iou(other, original.astype(np.uint8) * 255) == 90 / 110
    for wrong in (generated.astype(np.float32), generated[:, :5]):
        with pytest.raises(InputError):
            calculate_iou(original, wrong)


def test_the_last_line_of_the_gate() -> None:
    mask = np.ones((10, 10), bool)
    gate = Gate()
    gate.feed_frame(mask, mask)
    assert gate.conclude().benchmark == "SUCCESS: Zero-Clipping Benchmark Passed."
    for _ in range(2):
        gate.feed_frame(mask, ~mask)
    assert gate.conclude().benchmark == "FAILED: 2 frames dropped below 0.90 IoU."
