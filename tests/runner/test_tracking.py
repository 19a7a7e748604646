"""extract_tracking.py: the tracker's command under the specification's names, and what is refused before it starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner import extract
from runner.process import ROOT, RunnerError

CONFIG = "configs/sam2.1/sam2.1_hiera_l.yaml"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "sam.pt"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], list[Path]]]:
    """What is started: the tracker's arguments, and the folders that it may write."""
    seen: list[tuple[list[str], list[Path]]] = []

    def record(stage: str, arguments: list[str], *, writes: list[Path]) -> int:
        assert stage == "tracker"
        seen.append((arguments, writes))
        return 0

    monkeypatch.setattr(extract, "start_stage", record)
    return seen


def named(**changes: str) -> list[str]:
    values = {"video": "clip.mp4", "output": "out", "sam_checkpoint": "sam.pt", "sam_config": CONFIG} | changes
    return [part for name, value in values.items() for part in (f"--{name}", value)]


def test_it_is_the_trackers_command_with_sam_2_and_that_checkpoint(
    files: Path, started: list[tuple[list[str], list[Path]]], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--bbox", "1,2,30,40", "--frame", "7", "--device", "cpu"]
    assert extract.track([*named(), *more]) == 0
    ((arguments, writes),) = started
    fixed = ["--input", "clip.mp4", "--run", "out", "--backend", "sam2", "--checkpoint", "sam.pt", "--config", CONFIG]
    assert arguments == [*fixed, *more] and writes == [Path("out")]
    assert capsys.readouterr().out.splitlines() == ["mask.mp4: out/mask.mp4", "mask_skateboard: out/mask_skateboard"]
    extract.track([*named(), "-bbox", "1,2,30,40", "--force"])
    assert started[1][0] == [*fixed, "--bbox", "1,2,30,40", "--force"]


def test_the_output_may_be_the_folder_of_the_pictures_itself(
    files: Path, started: list[tuple[list[str], list[Path]]]
) -> None:
    assert extract.track([*named(output="out/mask_skateboard"), "--bbox", "1,2,30,40"]) == 0
    assert started[0][1] == [Path("out")] and started[0][0][:4] == ["--input", "clip.mp4", "--run", "out"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (named(), 2, "where is the object.*--bbox x1,y1,x2,y2"),
        ([*named(video="nowhere.mp4"), "--bbox", "1,2,3,4"], 2, r"no file nowhere\.mp4"),
        ([*named(sam_checkpoint="nowhere.pt"), "--bbox", "1,2,3,4"], 3, r"no checkpoint nowhere\.pt; run make weights"),
        (["--video", "clip.mp4"], 2, "--output DIR is missing"),
        ([*named(), "--point", "1,2"], 2, "no option --point"),
    ],
)
def test_what_is_not_said_or_not_there_is_refused_before_it_starts(
    files: Path, started: list[object], arguments: list[str], code: int, why: str
) -> None:
    with pytest.raises(RunnerError, match=why) as refused:
        extract.track(arguments)
    assert refused.value.exit_code == code and not started
    assert sorted(path.name for path in files.iterdir()) == ["clip.mp4", "sam.pt"]


def test_it_can_be_run_as_a_file() -> None:
    assert os.access(ROOT / "extract_tracking.py", os.X_OK)
