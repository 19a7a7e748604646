"""The skeleton of the generated clip is found as the run's own was: network, smoothing, detector, the same person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handoff.errors import UsageError
from handoff.files import sha256_file
from handoff.poses import read_pose_header, read_poses
from posegen.stage import DetectorChoice
from runner.secondpose import pose_again
from tests.helpers import Product, write_clip
from tests.posegen.colour_net import scene, write_detector, write_models
from tests.posegen.rtmw_weights import install

FRAMES = 12


def clip(path: Path, thing: str | None, *, skater: bool = True) -> Path:
    """A skater from the third frame on, with something under his feet, and a passer-by in every frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = []
    for index in range(FRAMES):
        people = [("person", 130, 40)] + [("person", 30 + 2 * index, 40)] * (skater and index > 1)
        things = [(thing, 30 + 2 * index, 85)] if thing else []
        frames.append(scene([*people, *things]))
    return write_clip(path, iter(frames))


@pytest.fixture
def extracted(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run made with a tiny RTMW, a detector of its own and options that are not the usual ones."""
    models, registry = tmp_path / "models", tmp_path / "weights.toml"
    install(models, registry, monkeypatch)
    (models / "detect").mkdir()
    digest = sha256_file(write_detector(models / "detect" / "yolox_nano.onnx"))
    with registry.open("a") as file:
        file.write(
            '\n[weights.yolox-nano]\nfile = "detect/yolox_nano.onnx"\nurl = "https://example.invalid/yolox.onnx"\n'
            f'sha256 = "{digest}"\nlicence = "Apache-2.0"\nlicence_url = "https://example.invalid"\n'
            'profiles = ["pose"]\n'
        )
    source = clip(tmp_path / "source.mp4", "skateboard")
    options = ("--backend", "embedded", "--pose-backend", "rtmw", "--smooth", "none", "--every", "1")
    done = product("extract_physics.py", "-i", source, "--run", "two", *options)
    assert done.returncode == 0, done.stderr
    return product.run("two")


def middles(pose: Path) -> list[float | None]:
    return [(people[0].box.x1 + people[0].box.x2) / 2 if people else None for people in read_poses(pose)]


@pytest.mark.stage
def test_the_same_network_and_person_are_looked_at_in_the_new_clip(extracted: Path, product: Product) -> None:
    generated = clip(extracted / "reskins" / "drone" / "output.mp4", "kite")  # no skateboard says who the skater is
    done = product("evaluate_iou.py", "--run", "two", "-generated", generated, "--format", "json", "--device", "cpu")
    assert done.returncode in (0, 1), done.stderr
    second = generated.with_name("pose.json")
    headers = [read_pose_header(path) for path in (extracted / "pose.json", second)]
    assert headers[0]["model"] == headers[1]["model"] and headers[1]["model"]["name"] == "RTMW-l"
    assert headers[0]["smoothing"] == headers[1]["smoothing"] == {"method": "none"}
    for first, other in zip(middles(extracted / "pose.json"), middles(second), strict=True):
        assert first == other if first is None or other is None else abs(first - other) < 8 and other < 80
    summary = json.loads((generated.parent / "report" / "iou.json").read_text())["summary"]["figures"]
    assert summary["pck"]["mean"] > 0.5


@pytest.mark.stage
def test_a_skater_who_is_gone_from_the_new_clip_is_not_left_unsaid(extracted: Path, product: Product) -> None:
    generated = clip(extracted / "reskins" / "drone" / "output.mp4", "kite", skater=False)
    done = product("evaluate_iou.py", "--run", "two", "-generated", generated, "--format", "json")
    assert "nobody was detected at" in done.stderr
    summary = json.loads((generated.parent / "report" / "iou.json").read_text())["summary"]["figures"]
    assert summary["pck"]["mean"] < 0.1


@pytest.mark.stage
def test_what_the_gate_refuses_is_refused_before_anybody_is_looked_for(extracted: Path, product: Product) -> None:
    generated = clip(extracted / "reskins" / "drone" / "output.mp4", "kite")
    pose = generated.with_name("pose.json")
    pose.write_text("of an earlier evaluation")
    for options, code in ((("-original", extracted / "none.mp4"), 2), (("-bbox", "150,40,170,72"), 2)):
        done = product("evaluate_iou.py", "--run", "two", "-generated", generated, *options)
        assert done.returncode == code and "posegen" not in done.stdout, done.stdout
        assert pose.read_text() == "of an earlier evaluation"


def test_a_detector_that_came_after_the_first_skeleton_is_not_used_for_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in write_models(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    assert DetectorChoice().possible and not DetectorChoice(unwanted=True).possible
    with pytest.raises(UsageError, match="--no-detector leaves nothing that could answer"):
        DetectorChoice(unwanted=True, thing="skateboard")


def test_each_option_is_that_of_run_json() -> None:
    embedded = {"backend": "embedded", "smoothing": {"method": "one-euro"}}
    assert pose_again({"posegen": {"params": embedded}}) == [
        *("--backend", "embedded", "--smooth", "one-euro", "--no-detector")
    ]
    network = {"params": {"backend": "rtmw", "boxes": "0a"}, "tools": {"name": "RTMW-x"}}
    detect = {"params": {"every": 4}, "tools": {"detector": "yolox-s"}}
    options = pose_again({"posegen": network, "detect": detect})
    assert options == ["--backend", "rtmw", "--model", "rtmw-x", "--detector", "s", "--every", "4"]
    assert pose_again({"posegen": {"params": {}}}) == ["--no-detector"]
