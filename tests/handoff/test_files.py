"""Files appear only when they are complete, and what a killed process left is told from what a living one writes."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.errors import StorageError, UsageError, storage_errors
from handoff.files import atomic_dir, atomic_file, check_path, remove_partials, scratch_dir, write_text
from runner.process import ROOT

WRITING = """
import sys, pathlib
from handoff.files import atomic_dir, atomic_file, scratch_dir
folder = pathlib.Path(sys.argv[1])
made = atomic_file(folder / "a.mp4"), atomic_dir(folder / "frames"), scratch_dir(folder / "work")
with made[0] as file, made[1] as frames, made[2] as work:
    for path in (file, frames / "0.png", work / "clip.mp4"):
        path.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
    for path in (file, frames / "0.png", work / "clip.mp4"):
        path.write_text(path.read_text() + " and half")
"""


def test_atomic_file_and_folder_replace_the_old_only_on_success(tmp_path: Path) -> None:
    file, folder = tmp_path / "f", tmp_path / "d"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(file) as partial, atomic_dir(folder) as half:
        partial.write_text("new")
        (half / "new").write_text("new")
        raise ZeroDivisionError
    assert file.read_text() == "old" and [each.name for each in folder.iterdir()] == ["old"]
    with atomic_file(file) as partial, atomic_dir(folder) as half:
        partial.write_text("new")
        (half / "new").write_text("new")
    assert file.read_text() == "new" and [each.name for each in folder.iterdir()] == ["new"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d", "f"]


def test_a_scratch_folder_is_gone_at_the_end_however_it_ends(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch_dir(tmp_path / "made" / "work") as work:
        (work / "a").write_text("a")
        raise ZeroDivisionError
    assert not list((tmp_path / "made").iterdir())


def writing(folder: Path) -> subprocess.Popen[str]:
    """A process that is in the middle of a file and of two folders; it goes on when its standard input ends."""
    command = [sys.executable, "-c", WRITING, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    return process


def test_a_full_disk_is_said_of_the_file_as_it_would_be_called(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        with storage_errors(path):
            raise OSError(errno.ENOSPC, "full")

    file, folder, work = tmp_path / "a.mp4", tmp_path / "frames", tmp_path / "work"
    with pytest.raises(StorageError, match=rf"^cannot write {file}: no space left"), atomic_file(file):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(StorageError, match=rf"^cannot write {folder}/0.png: no space left"), atomic_dir(folder) as made:
        full(made / "0.png")
    with (
        pytest.raises(StorageError, match=rf"^cannot write {tmp_path}/clip.mp4: no space left"),
        scratch_dir(work) as made,
    ):
        full(made / "clip.mp4")


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with writing(tmp_path) as process:
        assert len(list(tmp_path.glob(".*.partial"))) == 3
        remove_partials(tmp_path.parent)
        process.communicate()
    assert process.returncode == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "frames"}
    assert (tmp_path / "a.mp4").read_text() == (tmp_path / "frames" / "0.png").read_text() == "half and half"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    with writing(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob(".*.partial"))) == 3
    remove_partials(tmp_path.parent)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_locked_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_locks(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("handoff.files.fcntl.flock", without_locks)
    for name in (".a.mp4.0a.partial", ".b.mp4.0b.partial"):
        (tmp_path / name).write_text("half")
    remove_partials(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_file(tmp_path / "c") as partial:
        partial.write_text("written all the same")
    assert (tmp_path / "c").is_file()


@pytest.mark.parametrize("name", ["x" * 255, "侍" * 85])
def test_a_file_may_have_the_longest_name_that_there_is(name: str, tmp_path: Path) -> None:
    write_text(check_path(tmp_path / name), "whole")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "whole")]
    with pytest.raises(UsageError, match=rf"^the name '{name[:40]}\.\.\.' has 256 bytes, 255 are the most here"):
        check_path(tmp_path / "not there yet" / f"{name}x")


def test_a_link_that_leads_nowhere_and_a_path_below_a_file_are_for_others_to_judge(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "file").touch()
    for path in (tmp_path / "loop", tmp_path / "gone" / "x", tmp_path / "file" / "x", Path("/"), Path("x"), Path()):
        assert check_path(path) == path
