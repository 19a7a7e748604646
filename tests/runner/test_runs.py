"""Which run a file lies in, and what in a run is refused before anything is started for it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import evaluate, reskin, runs
from runner.process import RunnerError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with one reskin; whoever starts a stage for it fails."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "data" / "runs" / "x"
    (folder / "reskins" / "drone").mkdir(parents=True)
    for name in ("mask.mp4", "pose.json", "source.mp4", "reskins/drone/output.mp4"):
        (folder / name).write_text(name)
    (folder / "run.json").write_text('{"kind": "run", "stages": {}}')
    (folder / "reskins" / "drone" / "run.json").write_text('{"kind": "reskin", "stages": {}}')
    runs.remember(folder)
    runs.remember(folder / "reskins" / "drone")

    def start(stage: str, arguments: list[str], **_more: object) -> int:
        pytest.fail(f"{stage} was started with {arguments}")

    monkeypatch.setattr(evaluate, "start_stage", start)
    monkeypatch.setattr(reskin, "start_stage", start)
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "outside"
    (folder / "drone").mkdir(parents=True)
    for name in ("thesis.tex", "output.mp4", "drone/output.mp4"):
        (folder / name).write_text("precious")
    yield folder
    assert {path.read_text() for path in folder.rglob("*") if path.is_file()} == {"precious"}
    assert len(list(folder.rglob("*"))) == 4


def test_only_the_folder_of_a_file_and_the_layout_of_reskins_make_it_a_runs(run: Path, tmp_path: Path) -> None:
    """A stray run.json in a home folder would have all of it mounted read-write."""
    for stray in (tmp_path, tmp_path / "data", tmp_path / "data" / "runs"):
        shutil.copy(run / "run.json", stray / "run.json")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "mask.mp4").write_text("")
    assert runs.run_of(tmp_path / "masks" / "mask.mp4") is None
    assert runs.run_of(run / "below" / "mask.mp4") is None
    assert runs.run_of(run / "mask.mp4") == run
    assert runs.run_of(run / "reskins" / "drone" / "output.mp4") == run
    assert runs.run_of(run / "reskins" / "drone" / "report" / "iou.json") == run
    with pytest.raises(RunnerError, match="is not in a run folder") as refused:
        reskin.reskin(["--prompt", "drone", "--mask", str(tmp_path / "masks" / "mask.mp4"), "--pose", "none.json"])
    assert refused.value.exit_code == 2


def test_links_on_the_way_to_a_run_are_the_users_own(run: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(run.parent)
    (tmp_path / "mine").symlink_to(run)
    (tmp_path / "mask.mp4").symlink_to(run / "mask.mp4")
    for path in (tmp_path / "way" / "x" / "mask.mp4", tmp_path / "mine" / "mask.mp4", tmp_path / "mask.mp4"):
        assert runs.run_of(path) == run and runs.real_file(path) == run / "mask.mp4"
    output = tmp_path / "mine" / "reskins" / "drone" / "output.mp4"
    assert runs.run_of(output) == run and runs.real_file(output) == run / "reskins" / "drone" / "output.mp4"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("mask.mp4", "thesis.tex"),
        ("reskins/drone/output.mp4", "output.mp4"),
        ("reskins/drone", "drone"),
        ("reskins", ""),
        ("reskins/drone/report", "drone"),
    ],
)
def test_a_link_in_a_run_is_refused_before_a_stage_is_started(run: Path, outside: Path, name: str, target: str) -> None:
    """In a container a linked folder that is mounted is no link any more."""
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(outside / target)
    with pytest.raises(RunnerError, match="is a link, and a run has files and folders alone") as refused:
        evaluate.evaluate(["-original", str(run / "mask.mp4"), "-generated", str(run / "reskins/drone/output.mp4")])
    assert refused.value.exit_code == 2 and str(path) in str(refused.value)


def test_a_clip_that_is_a_link_elsewhere_is_the_users_own(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "clip.mp4").symlink_to(outside / "output.mp4")
    assert runs.real_file(tmp_path / "clip.mp4") == outside / "output.mp4"
    assert runs.sha256(tmp_path / "clip.mp4") == runs.sha256(outside / "output.mp4")


@pytest.mark.parametrize("hard", [False, True])
def test_a_log_takes_the_place_of_a_link_and_empties_nothing(run: Path, outside: Path, hard: bool) -> None:
    log = run / "comfyui.log"
    if hard:
        log.hardlink_to(outside / "thesis.tex")
    else:
        log.symlink_to(outside / "thesis.tex")
    with runs.new_file(log) as file:
        file.write(b"started")
    assert log.read_bytes() == b"started" and not log.is_symlink()
    (run / "way").symlink_to(outside)
    with pytest.raises(RunnerError, match="is a link"):
        runs.new_file(run / "way" / "comfyui.log")


def test_what_names_the_newest_is_read_through_no_link_and_never_waited_for(run: Path, outside: Path) -> None:
    pointer = run.parent / ".latest"
    pointer.unlink()
    (outside / "thesis.tex").write_text("x")
    pointer.symlink_to(outside / "thesis.tex")
    assert runs.newest(run.parent) is None
    (outside / "thesis.tex").write_text("precious")
    pointer.unlink()
    os.mkfifo(pointer)
    assert runs.newest(run.parent) is None
    pointer.unlink()
    with pointer.open("wb") as file:
        file.truncate(2**40)
    assert runs.newest(run.parent) is None
    (run / "run.json").unlink()
    (run / "run.json").symlink_to(outside / "thesis.tex")
    assert runs.read_manifest(run / "run.json") is None
    assert json.loads((run / "reskins" / "drone" / "run.json").read_text())["kind"] == "reskin"
