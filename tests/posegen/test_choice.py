"""What may be asked: what does not go together is refused, and another run's choice is taken over from its run.json."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handoff.errors import InputError, UsageError
from handoff.places import Box
from posegen import draw
from posegen.choice import METHODS, STYLES, PoseChoice, Where, as_another
from posegen.smooth import smooth
from tests.helpers import SOURCE
from tests.posegen.helpers import person, write_models


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"backend": "rtmpose"}, "no pose backend 'rtmpose'.*auto, embedded, rtmw"),
        ({"device": "gpu"}, "on device 'gpu'.*auto, cuda, cpu"),
        ({"backend": "embedded", "model": "rtmw-l"}, "--pose-model rtmw-l is for RTMW"),
        ({"backend": "embedded", "device": "cuda"}, "--device cuda is for RTMW"),
        ({"thing": "skatebord"}, "perhaps you meant 'skateboard'"),
        ({"no_detector": True, "thing": "skateboard"}, "--no-detector leaves nothing that could answer"),
        ({"no_detector": True, "backend": "rtmw"}, "--no-detector leaves nothing that could answer"),
    ],
)
def test_what_does_not_exist_or_does_not_go_together_is_refused(wanted: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        PoseChoice(**wanted)


def test_a_detector_that_is_there_is_used_unless_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in write_models(tmp_path / "models").items():
        monkeypatch.setenv(name, value)
    assert PoseChoice().has_detector and not PoseChoice(no_detector=True).has_detector
    assert not PoseChoice(detector="s").has_detector


def test_every_style_and_method_that_may_be_asked_for_exists() -> None:
    pictures = {style: draw.draw_skeletons([person({5: (20, 20), 6: (60, 20)})], 80, 60, style) for style in STYLES}
    assert all(picture.any() for picture in pictures.values()) and (pictures["vace"] != pictures["openpose"]).any()
    for method in METHODS:
        assert list(smooth([], method)) == []


def run_of(folder: Path, **stages: Any) -> Path:
    folder.mkdir(exist_ok=True)
    stages = {name: {"outputs": []} | stage for name, stage in stages.items()}
    (folder / "run.json").write_text(json.dumps({"schema": 1, "name": "x", "source": SOURCE, "stages": stages}))
    return folder


RTMW = {"params": {"backend": "rtmw", "boxes": "0a", "object": "kite"}, "tools": {"name": "RTMW-x"}, "notes": {}}
DETECT = {"params": {"every": 4}, "tools": {"detector": "yolox-s"}}


def test_each_choice_is_that_of_run_json(tmp_path: Path) -> None:
    made = {"params": {"backend": "embedded", "smoothing": {"method": "none"}}}
    embedded = as_another(run_of(tmp_path, posegen=made))
    assert embedded == PoseChoice("embedded", smoothing="none", no_detector=True, again=True)
    network = as_another(run_of(tmp_path, posegen=RTMW, detect=DETECT))
    expected = PoseChoice("rtmw", "rtmw-x", thing="kite", every=4, detector="s", again=True)
    assert network == expected
    notes = {"skater": {"frame": 3, "box": [1, 2, 30, 40]}}
    with_skater = as_another(run_of(tmp_path, posegen=RTMW | {"notes": notes}, detect=DETECT))
    assert with_skater == replace(expected, where=Where(3, Box(1, 2, 30, 40)))


def test_a_run_from_before_backends_were_written_down_takes_what_is_there(tmp_path: Path) -> None:
    for device in ("auto", "cuda"):
        taken = as_another(run_of(tmp_path, posegen={"params": {}}), device)
        assert taken == PoseChoice(no_detector=True, again=True)


def test_the_device_is_this_machines_and_none_of_the_embedded_backend(tmp_path: Path) -> None:
    assert as_another(run_of(tmp_path, posegen=RTMW, detect=DETECT), device="cuda").device == "cuda"
    assert as_another(run_of(tmp_path, posegen={"params": {"backend": "embedded"}}), device="cuda").device == "auto"


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ({}, "does not say how the skeleton was found: there is no 'posegen'"),
        ({"posegen": RTMW}, "there is no 'detect'"),
        ({"posegen": {"params": []}}, r"stages\.posegen\.params is a list of 0, and must be an object"),
        (
            {"posegen": RTMW | {"notes": {"skater": {"frame": "x", "box": [1]}}}, "detect": DETECT},
            "notes.skater.frame is 'x'",
        ),
        (
            {"posegen": RTMW | {"notes": {"skater": {"frame": float("inf"), "box": []}}}, "detect": DETECT},
            "is Infinity",
        ),
        (
            {"posegen": RTMW, "detect": DETECT | {"params": {"every": 0}}},
            r"stages\.detect\.params\.every is 0, and must be a whole number from 1",
        ),
        ({"posegen": {"params": {"smoothing": {"method": "one-euro"}}}}, "with 'one-euro', and there is only: savgol"),
        ({"posegen": {"params": {"backend": "openpose"}}}, "with 'openpose', and there is only: auto, embedded, rtmw"),
        ({"posegen": RTMW | {"tools": {"name": "RTMW-s"}}, "detect": DETECT}, "with 'rtmw-s'"),
        (
            {"posegen": {"params": RTMW["params"] | {"object": "drone"}, "tools": RTMW["tools"]}, "detect": DETECT},
            "drone",
        ),
        ({"posegen": {"params": {"backend": "rtmw"}, "tools": RTMW["tools"]}}, "--no-detector"),
    ],
)
def test_a_run_json_that_does_not_say_it_is_named_with_what_is_wrong(
    tmp_path: Path, stages: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path}/run\.json.*{why}") as caught:
        as_another(run_of(tmp_path, **stages))
    assert caught.value.exit_code == 2


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        as_another(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 1, "stages"')
    with pytest.raises(InputError, match=r"run\.json cannot be used: it is not JSON"):
        as_another(tmp_path)
