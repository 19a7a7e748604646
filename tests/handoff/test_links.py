"""Links, pipes and devices in a run that somebody else filled: nothing outside of it is read or written."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from evaluator.cli import command as evaluator_command
from handoff.command import main
from handoff.errors import InputError, StorageError
from handoff.files import atomic_dir, atomic_file, files_in, remove_partials, sha256_path, write_text
from handoff.ingest import ingest
from handoff.jsonfile import read_json
from handoff.links import LinkError, check_way, confine, open_plain, run_folders_of
from handoff.masks import write_png
from handoff.poses import check_poses
from handoff.run import Run
from handoff.video import VideoWriter, probe
from reskin.cli import command as reskin_command
from reskin.windows import KeptWindows
from runner import runs
from runner.process import RunnerError
from tests.helpers import moving_square, vouch_for, write_clip
from tracker.cli import command as tracker_command

FRAMES = 4
PRECIOUS = b"precious"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a mask and a painted clip."""
    folder = tmp_path_factory.mktemp("links")
    run = ingest(write_clip(folder / "clip.mp4", moving_square(FRAMES)), folder / "run")
    info = run.info
    with VideoWriter(run.path("mask.mp4"), info.fps, info.width, info.height, mode="mask") as writer:
        for frame in moving_square(FRAMES):
            writer.write((frame[..., 0] > 128) * frame.dtype.type(255))
    reskin = run.reskin("drone")
    reskin.dir.mkdir(parents=True)
    shutil.copy(run.source, reskin.dir / "output.mp4")
    with reskin.lock():
        reskin.save()
    run.path("mask_skateboard").mkdir()
    write_png(run.path("mask_skateboard/frame_00000.png"), np.zeros((120, 160), np.uint8))
    vouch_for(run.path("mask.mp4"))
    return run.dir


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder beside the run, which stays as it is: its names, bytes, times and links."""
    folder = tmp_path / "outside"
    (folder / "folder").mkdir(parents=True)
    for name in ("thesis.tex", "folder/output.mp4", "folder/iou.json", "folder/0000-a", "folder/run.json"):
        (folder / name).write_bytes(PRECIOUS)
    before = seen(folder)
    yield folder
    assert seen(folder) == before


def seen(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        str(each.relative_to(folder)): (
            each.read_bytes() if each.is_file() else b"",
            each.stat().st_mtime_ns,
            each.stat().st_ino,
            each.stat().st_mode,
        )
        for each in (folder, *sorted(folder.rglob("*")))
    }


def put(path: Path, target: Path) -> None:
    """Have a link stand where something of the run does."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def evaluate(run: Path) -> None:
    output = run / "reskins" / "drone" / "output.mp4"
    line = ["-original", run / "mask.mp4", "-generated", output, "-bbox", "20,40,52,72", "--backend", "embedded"]
    main(evaluator_command, [str(each) for each in line])


def paint(run: Path) -> None:
    line = ["--prompt", "drone", "--name", "drone", "--run", str(run), "--workflow", "draft", "--check"]
    main(reskin_command, line)


def track(run: Path) -> None:
    main(tracker_command, ["--run", str(run), "-bbox", "20,40,52,72", "--backend", "embedded"])


READ = {
    evaluate: ("run.json", "source.mp4", "mask.mp4", "human_mask.mp4", "pose.json", "reskins/drone/output.mp4"),
    paint: ("run.json", "source.mp4", "mask.mp4", "reskins/drone/run.json"),
    track: ("run.json", "source.mp4", "person_mask.mp4"),
}
WRITTEN = {
    evaluate: (".lock", "reskins", "reskins/drone", "reskins/drone/.lock", "reskins/drone/report"),
    paint: (".lock", "reskins", "reskins/drone", "reskins/drone/.lock"),
    track: (".lock",),
}


@pytest.mark.parametrize(
    ("command", "name"), [(each, name) for table in (READ, WRITTEN) for each, names in table.items() for name in names]
)
@pytest.mark.parametrize("target", ["thesis.tex", "folder"])
def test_a_link_in_a_run_is_refused_by_whoever_would_follow_it(
    run: Path,
    outside: Path,
    capfd: pytest.CaptureFixture[str],
    command: Callable[[Path], None],
    name: str,
    target: str,
) -> None:
    put(run / name, outside / target)
    with pytest.raises(SystemExit) as ended:
        command(run)
    said = capfd.readouterr().err.strip().splitlines()[-1]
    assert ended.value.code == 2 and f"{run / name}" in said, said
    assert "is, or lies behind, a link" in said or "is a link" in said, said


@pytest.mark.parametrize(
    ("command", "name"),
    [(track, "mask.mp4"), (track, "mask_skateboard"), (evaluate, ".x.0a.partial"), (evaluate, "reskins/other")],
)
def test_a_link_that_nobody_follows_is_in_nobodys_way(
    run: Path, outside: Path, command: Callable[[Path], None], name: str
) -> None:
    """What a stage makes takes the place of a link of its name."""
    put(run / name, outside / "folder")
    with pytest.raises(SystemExit) as ended:
        command(run)
    assert ended.value.code in (0, 1)
    assert (run / name).is_symlink() == (command is evaluate)


@pytest.mark.parametrize("name", ["run.json", "source.mp4", "mask.mp4", "reskins/drone/output.mp4", ".lock"])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_pipe_in_a_run_is_refused_and_not_waited_for(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    (run / name).unlink(missing_ok=True)
    monkeypatch.chdir((run / name).parent)
    if kind == "pipe":
        os.mkfifo(run / name)
    else:
        socket.socket(socket.AF_UNIX).bind((run / name).name)
    with pytest.raises(SystemExit) as ended:
        evaluate(run)
    said = capfd.readouterr().err
    words = (f"a {kind}", "a pipe or a device", "nothing is at the other end of it")
    assert ended.value.code == 2 and any(each in said for each in words), said


def test_a_link_to_a_run_and_links_on_the_way_to_it_are_the_users_own(run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to(tmp_path)
    (tmp_path / "mine").symlink_to(run)
    (tmp_path / "mask.mp4").symlink_to(run / "mask.mp4")
    for way in (tmp_path / "runs" / "run", tmp_path / "mine", tmp_path / "runs" / "mine"):
        assert Run.open(way).info.frames == FRAMES
        found = Run.containing(way / "mask.mp4")
        assert found is not None and found.dir == run.resolve()
        assert sha256_path(way / "mask.mp4") == sha256_path(run / "mask.mp4")
        with Run.open(way).lock():
            write_text(way / "note.txt", "mine")
    found = Run.containing(tmp_path / "mask.mp4")
    assert found is not None and found.dir == run.resolve() and (run / "note.txt").read_text() == "mine"


def test_only_the_folder_of_a_file_and_the_layout_of_reskins_make_it_a_runs(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "run.json", tmp_path / "run.json")  # a stray one, as in a home folder
    (tmp_path / "masks" / "deeper").mkdir(parents=True)
    for name in ("masks/mask.mp4", "masks/deeper/mask.mp4"):
        shutil.copy(run / "mask.mp4", tmp_path / name)
        assert run_folders_of(tmp_path / name) == [] and Run.containing(tmp_path / name) is None
    assert run_folders_of(run / "mask.mp4") == [run]
    assert run_folders_of(run / "reskins" / "drone" / "output.mp4") == [run / "reskins" / "drone", run]
    found = Run.containing(run / "reskins" / "drone" / "report" / "iou.json")
    assert found is not None and found.dir == run.resolve()


def test_every_door_refuses_what_lies_behind_a_link(run: Path, outside: Path) -> None:
    confine(run)
    (run / "way").symlink_to(outside / "folder")
    (run / "leaf").symlink_to(outside / "thesis.tex")
    info = Run.open(run).info
    doors: list[Callable[[Path], object]] = [
        *(check_way, sha256_path, open_plain, probe),
        lambda path: read_json(path, advice="look"),
        lambda path: check_poses(path, info),
    ]
    for door in doors:
        for path in (run / "way" / "output.mp4", run / "leaf"):
            with pytest.raises(LinkError, match="a link"):
                door(path)
    for way in (run / "way" / "new.txt", run / "way" / "deeper" / "new.txt"):
        with pytest.raises(LinkError, match="a link"), atomic_file(way):
            pass
        with pytest.raises(LinkError, match="a link"), atomic_dir(way):
            pass
    with pytest.raises(LinkError, match="a link"):
        files_in(run / "way")
    put(run / "reskins" / "drone" / ".windows", outside / "folder")
    with pytest.raises(LinkError, match="a link"), KeptWindows(run / "reskins" / "drone").make(0, "b"):
        pass
    with pytest.raises(LinkError, match="a link"):
        KeptWindows(run / "reskins" / "drone").clear()
    (run / "mask_skateboard" / "frame_00001.png").symlink_to(outside / "thesis.tex")
    with pytest.raises(LinkError, match="a link"):
        sha256_path(run / "mask_skateboard")


def test_what_takes_the_place_of_a_link_leaves_alone_what_that_leads_to(run: Path, outside: Path) -> None:
    confine(run)
    for name in ("a.txt", "b"):
        (run / name).symlink_to(outside / ("thesis.tex" if name == "a.txt" else "folder"))
    write_text(run / "a.txt", "new")
    with atomic_dir(run / "b") as folder:
        (folder / "frame").write_text("new")
    assert not (run / "a.txt").is_symlink() and not (run / "b").is_symlink()
    os.link(outside / "thesis.tex", outside.parent / "other")
    os.replace(outside.parent / "other", run / "hard.txt")
    write_text(run / "hard.txt", "new")
    (run / ".x.00.partial").symlink_to(outside / "folder")
    remove_partials(run)
    assert (run / "b" / "frame").read_text() == (run / "hard.txt").read_text() == "new"


def test_a_report_beside_a_clip_of_no_run_does_not_lead_elsewhere_either(
    run: Path, outside: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    shutil.copy(run / "mask.mp4", mine / "mask.mp4")
    shutil.copy(run / "source.mp4", theirs / "output.mp4")
    (theirs / "report").symlink_to(outside / "folder")
    line = ["-original", mine / "mask.mp4", "-generated", theirs / "output.mp4", "-bbox", "20,40,52,72"]
    with pytest.raises(SystemExit) as ended:
        main(evaluator_command, [*map(str, line), "--backend", "embedded"])
    assert ended.value.code == 2 and "report is a link" in capfd.readouterr().err


def test_a_run_that_is_moved_while_it_is_written_ends_in_a_sentence(run: Path, tmp_path: Path) -> None:
    own = Run.open(run)
    with own.lock():
        run.rename(tmp_path / "moved")
        for write in (own.save, lambda: write_text(run / "reskins" / "new" / "a.txt", "a"), own.reskin("kite").save):
            with pytest.raises(StorageError, match="was moved or removed while it was in use"):
                write()
        assert not run.exists(), "half of a run, beside the one that moved"
        shutil.copytree(tmp_path / "moved", run)
        with pytest.raises(StorageError, match="was moved or removed while it was in use"):
            own.save()
        shutil.rmtree(run)
    assert json.loads((tmp_path / "moved" / "run.json").read_text())["schema"] == 2
    with pytest.raises(InputError, match="is not a run folder"):
        own.reload()


def long_file(path: Path, pieces: int, apart: int) -> Path:
    """A file of that many pieces of data, with a hole after each."""
    with path.open("wb") as file:
        for index in range(pieces):
            file.seek(index * apart)
            file.write(b"data")
        file.truncate(pieces * apart)
    return path


@pytest.mark.parametrize(("pieces", "apart"), [(1, 2**42), (40, 2**30), (11_000, 2**20)])
def test_a_file_of_holes_is_refused_at_once(tmp_path: Path, pieces: int, apart: int) -> None:
    """A few bytes on the disk, and days to read."""
    path = long_file(tmp_path / "human_mask.mp4", pieces, apart)
    for read in (open_plain, sha256_path, probe):
        with pytest.raises(InputError, match="bytes or more that nobody ever wrote"):
            read(path)
    with pytest.raises(RunnerError, match="bytes that nobody ever wrote"):
        runs.sha256(path)


def test_a_long_file_with_few_holes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"data" * 2**20)
    with path.open("ab") as file:
        file.truncate(2**30 + 2**20)
    with open_plain(path) as found:
        assert found.read(4) == b"data"
