"""The skeleton of the generated clip is found as the run's own was: network, smoothing, detector, the same person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from handoff.detections.samples import read_detections_header
from handoff.poses import read_header, read_poses
from tests.helpers import Product
from tests.posegen.helpers import install_networks, two_people


@pytest.fixture
def extracted(product: Product, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run made with a tiny RTMW, a detector of its own and options that are not the usual ones."""
    install_networks(tmp_path, monkeypatch)
    source = two_people(tmp_path / "source.mp4", "skateboard")
    options = ("--backend", "embedded", "--pose-backend", "rtmw", "--smooth", "none", "--every", "1")
    done = product("extract_physics.py", "-i", source, "--run", "two", *options)
    assert done.returncode == 0, done.stderr
    return product.run("two")


def middles(pose: Path) -> list[float | None]:
    return [(people[0].box.x1 + people[0].box.x2) / 2 if people else None for people in read_poses(pose)]


@pytest.mark.stage
def test_the_same_network_and_person_are_looked_at_in_the_new_clip(extracted: Path, product: Product) -> None:
    generated = two_people(
        extracted / "reskins" / "drone" / "output.mp4", "kite"
    )  # no skateboard says who the skater is
    done = product("evaluate_iou.py", "--run", "two", "-generated", generated, "--format", "json", "--device", "cpu")
    assert done.returncode in (0, 1), done.stderr
    second = generated.with_name("pose.json")
    headers = [read_header(path) for path in (extracted / "pose.json", second)]
    assert headers[0]["model"] == headers[1]["model"] and headers[1]["model"]["name"] == "RTMW-l"
    assert headers[0]["smoothing"] == headers[1]["smoothing"] == {"method": "none"}
    for first, other in zip(middles(extracted / "pose.json"), middles(second), strict=True):
        assert first == other if first is None or other is None else abs(first - other) < 8 and other < 80
    summary = json.loads((generated.parent / "report" / "iou.json").read_text())["summary"]
    assert summary["figures"]["pck"]["mean"] > 0.5
    told = summary["told"]["detector"]
    assert told["class"] == "skateboard" and told["before"]["seen"] > 0.5 * told["before"]["frames"] > 0
    assert told["before"]["score"] > 0.2 and told["after"]["seen"] == 0 and told["after"]["score"] is None
    header = read_detections_header(generated.with_name("detections.json"))
    assert (header.every, header.model) == (1, read_detections_header(extracted / "detections.json").model)
    assert "Old object in the new one: the detector sees a skateboard in" in done.stdout
    again = product("evaluate_iou.py", "--run", "two", "-generated", generated, "--format", "json", "--device", "cpu")
    assert "posegen" not in again.stdout and "nothing has changed" in again.stdout, again.stdout
    assert "the detector sees a skateboard in" in again.stdout


@pytest.mark.stage
def test_a_skater_who_is_gone_from_the_new_clip_is_not_left_unsaid(extracted: Path, product: Product) -> None:
    generated = two_people(extracted / "reskins" / "drone" / "output.mp4", "kite", skater=False)
    done = product("evaluate_iou.py", "--run", "two", "-generated", generated, "--format", "json")
    assert "nobody was detected at" in done.stderr
    summary = json.loads((generated.parent / "report" / "iou.json").read_text())["summary"]["figures"]
    assert summary["pck"]["mean"] < 0.1


@pytest.mark.stage
def test_what_the_gate_refuses_is_refused_before_anybody_is_looked_for(extracted: Path, product: Product) -> None:
    generated = two_people(extracted / "reskins" / "drone" / "output.mp4", "kite")
    pose = generated.with_name("pose.json")
    pose.write_text("of an earlier evaluation")
    for options, code in ((("-original", extracted / "none.mp4"), 2), (("-bbox", "150,40,170,72"), 2)):
        done = product("evaluate_iou.py", "--run", "two", "-generated", generated, *options)
        assert done.returncode == code and "posegen" not in done.stdout, done.stdout
        assert pose.read_text() == "of an earlier evaluation"
