"""Which backend: what is asked for by name never falls back, and "auto" says when it takes the embedded one."""

from __future__ import annotations

from pathlib import Path

import pytest

import posegen.extractor
from handoff.errors import MissingError, UsageError
from posegen.rtmw_backend import RtmwBackend
from posegen.stage import PoseChoice, make_backend
from tests.posegen.rtmw_weights import install


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return install(tmp_path / "models", tmp_path / "weights.toml", monkeypatch)


def test_the_default_is_rtmw_where_its_weights_and_the_detectors_are(
    network: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_backend(PoseChoice(), detector=True).model.name == "RTMW-l"
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
    monkeypatch.setitem(posegen.extractor.BACKENDS, "embedded", lambda: embedded)
    if not weights:
        (tmp_path / "models" / "pose" / "rtmw-l.zip").unlink()
    assert make_backend(PoseChoice(), detector=detector) is embedded
    line = f'posegen: {why.format(models=tmp_path / "models")}; make weights PROFILE="pose detect" gets RTMW\n'
    assert capsys.readouterr().out == line
    assert make_backend(PoseChoice(), detector=detector, quiet=True) is embedded
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("model", ["rtmw-x", "rtmw-m"])
def test_a_model_that_the_registry_has_no_digest_of_says_so(model: str) -> None:
    with pytest.raises(MissingError, match=rf"has no file for {model}, .*use --model rtmw-l, or add an entry"):
        make_backend(PoseChoice(model=model), detector=True)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (PoseChoice("rtmpose"), "no pose backend 'rtmpose'.*auto, embedded, rtmw"),
        (PoseChoice(device="gpu"), "on device 'gpu'.*auto, cuda, cpu"),
        (PoseChoice("rtmw", "rtmw-s"), "no pose model 'rtmw-s'; there are: rtmw-l, rtmw-x, rtmw-m"),
        (PoseChoice("embedded", "rtmw-l"), "--model rtmw-l is for RTMW"),
        (PoseChoice("embedded", device="cuda"), "--device cuda is for RTMW"),
    ],
)
def test_what_does_not_exist_or_does_not_go_together_is_refused(wanted: PoseChoice, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        make_backend(wanted, detector=True)


def test_rtmw_by_name_without_its_weights_never_falls_back(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "pose" / "rtmw-l.zip").unlink()
    for wanted in (PoseChoice("rtmw"), PoseChoice(model="rtmw-l"), PoseChoice(device="cuda")):
        with pytest.raises(MissingError, match="run make weights PROFILE=pose"):
            make_backend(wanted, detector=True)
    assert capsys.readouterr().out == ""
