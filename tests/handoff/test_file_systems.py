"""Runs on file systems that are not this machine's: locks of NFS, none at all, folders that cannot be synced."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.errors import StorageError
from handoff.files import atomic_file, open_lock, remove_partials, scratch_dir
from runner.process import ROOT
from tests.helpers import moving_square, write_clip
from tests.preload import preloaded, refusals

NO_LOCKS = ("ENOLCK", "EBADF", "EINVAL", "EOPNOTSUPP", "ENOSYS")
WORK = """
import pathlib, sys
from handoff.errors import StorageError
from handoff.files import atomic_dir, atomic_file, remove_partials, scratch_dir, settle
folder = pathlib.Path(sys.argv[1])
for _ in range(2):  # the second time it takes the place of the first
    made = atomic_file(folder / "a.json"), atomic_dir(folder / "frames"), scratch_dir(folder / "s")
    with made[0] as file, made[1] as frames, made[2] as s:
        for path in (file, frames / "0.png", s / "left.mp4"):
            path.write_text("whole")
        remove_partials(folder)
        assert file.exists() and frames.is_dir() and s.is_dir()
        settle(s / "left.mp4", folder / "settled.mp4")
assert sorted(each.name for each in folder.iterdir()) == ["a.json", "frames", "settled.mp4"]
assert (folder / "frames" / "0.png").read_text() == "whole"
"""
RUN = """
import pathlib, sys
from handoff.errors import StorageError
from handoff.ingest import ingest
run = ingest(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
with run.reskin("drone").lock():
    with run.reskin("kite").lock():
        pass
with run.lock():
    pass
"""
REFUSED = f"""
import sys
from handoff.errors import StorageError
try:
    exec({RUN!r})
except StorageError as error:
    sys.exit(f"{{error.exit_code}} {{error}}")
"""
DOWNLOAD = """
import pathlib, sys
from handoff.weights import download
with download._alone(pathlib.Path(sys.argv[1]) / "model.bin"):
    print("alone")
"""


def execute(code: str, environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *(str(each) for each in arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def test_every_lock_is_one_that_nfs_gives(tmp_path: Path, place: Path) -> None:
    environment = preloaded(tmp_path, locks="nfs")
    done = execute(WORK, environment, place)
    assert done.returncode == 0, done.stderr
    clip = write_clip(tmp_path / "in.mp4", moving_square(4))
    done = execute(RUN, environment, clip, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    done = execute(DOWNLOAD, environment, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alone\n", "")
    assert refusals(tmp_path) == 0


@pytest.mark.parametrize("name", NO_LOCKS)
def test_without_locks_files_are_written_and_a_run_is_refused(tmp_path: Path, place: Path, name: str) -> None:
    environment = preloaded(tmp_path, locks=getattr(errno, name))
    done = execute(WORK, environment, place)
    assert done.returncode == 0, done.stderr
    clip = write_clip(tmp_path / "in.mp4", moving_square(4))
    done = execute(REFUSED, environment, clip, tmp_path / "run")
    assert done.returncode == 1 and done.stderr.startswith(f"3 {tmp_path}/run cannot be locked ("), done.stderr
    done = execute(DOWNLOAD, environment, tmp_path)
    warning = f"warning: the file system of {tmp_path} has no locks; do not run two downloads there at once\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "alone\n", warning)
    assert refusals(tmp_path) > 0


@pytest.mark.parametrize("name", ["EBADF", "EINVAL", "EOPNOTSUPP", "ENOSYS"])
def test_a_folder_that_cannot_be_synced_stops_nothing(tmp_path: Path, place: Path, name: str) -> None:
    environment = preloaded(tmp_path, folders=getattr(errno, name))
    done = execute(WORK, environment, place)
    assert done.returncode == 0, done.stderr
    clip = write_clip(tmp_path / "in.mp4", moving_square(4))
    done = execute(RUN, environment, clip, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert refusals(tmp_path) > 0


@pytest.mark.parametrize("where", ["folders", "files"])
def test_a_disk_that_fails_is_no_file_system_without_sync(tmp_path: Path, place: Path, where: str) -> None:
    environment = preloaded(tmp_path, **{where: errno.EIO})  # type: ignore[arg-type]
    done = execute(WORK, environment, place)
    assert done.returncode == 1 and "Input/output error" in done.stderr


def test_a_lock_that_is_a_link_is_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / ".lock").symlink_to("thesis.tex")
    with pytest.raises(StorageError, match=r"\.lock is a link, and a lock is a file; remove the link\."):
        open_lock(tmp_path / ".lock", fcntl.LOCK_EX)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_partial_folder_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    """There the lock on the folder is not seen, which the system of the other machine keeps to itself."""
    with scratch_dir(tmp_path / "floor") as work:
        partial = work.parent
        descriptor = os.open(partial, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody here has locked the folder itself
        os.close(descriptor)
        remove_partials(tmp_path)
        assert work.is_dir()
    assert not partial.exists()


def test_many_that_make_and_remove_at_once_never_lose_what_is_theirs(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\nfrom handoff.files import atomic_file, remove_partials, scratch_dir\n"
        "folder = pathlib.Path(sys.argv[1])\nfor _ in range(150):\n"
        "    remove_partials(folder)\n"
        "    with scratch_dir(folder / 'work') as work, atomic_file(folder / f'{sys.argv[2]}.txt') as file:\n"
        "        (work / 'a').write_text('a')\n        file.write_text('a')\n        remove_partials(folder)\n"
        "        assert (work / 'a').read_text() == file.read_text() == 'a'\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    many = [subprocess.Popen([*command, str(each)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for each in range(4)]
    said = [each.communicate()[1] for each in many]
    assert [each.returncode for each in many] == [0] * 4, said
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0.txt", "1.txt", "2.txt", "3.txt"]


def test_a_file_that_is_a_disk_full_away_is_still_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("handoff.files.os.fsync", full)
    with pytest.raises(StorageError, match="no space left"), atomic_file(tmp_path / "a") as partial:
        partial.write_text("a")
    assert not list(tmp_path.iterdir())
