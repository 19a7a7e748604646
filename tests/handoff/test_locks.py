"""One folder, one writer: extraction has a run alone, its reskins share it, and each has one writer."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from handoff.errors import BusyError, StorageError
from handoff.ingest import ingest
from handoff.run import Run
from runner.process import ROOT
from tests.helpers import moving_square, write_clip

HOLDING = """
import sys, pathlib
from handoff.run import Run
run = Run.open(pathlib.Path(sys.argv[1]))
with (run.reskin(sys.argv[2]) if sys.argv[2] else run).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ingest(write_clip(tmp_path / "in.mp4", moving_square(4)), tmp_path / "run")


@contextlib.contextmanager
def held(run: Run, reskin: str = "") -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the run, or a reskin of it."""
    command = [sys.executable, "-c", HOLDING, str(run.dir), reskin]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.communicate()


def test_extraction_lets_nobody_else_work_on_the_run(run: Run) -> None:
    with held(run):
        with pytest.raises(BusyError, match=r"working on the run .*/run or a reskin of it; wait .* another --run\."):
            Run.open(run.dir).lock().__enter__()
        with pytest.raises(BusyError, match=r"extracting the run .*/run; wait until it ends, or use another --run\."):
            run.reskin("drone").lock().__enter__()
    with run.lock():
        pass


def test_reskins_work_at_the_same_time_and_extraction_waits(run: Run) -> None:
    both = held(run, "drone"), held(run, "kite")
    with both[0], both[1], run.reskin("cat").lock(), pytest.raises(BusyError, match="working on the run"):
        run.lock().__enter__()
    with run.lock():
        pass


def test_one_reskin_has_one_writer(run: Run) -> None:
    sentence = r"painting or judging the reskin .*/reskins/drone; wait until it ends, or use another --name\."
    with held(run, "drone"), pytest.raises(BusyError, match=sentence) as refused:
        run.reskin("drone").lock().__enter__()
    assert refused.value.exit_code == 2


def test_who_holds_a_folder_holds_it_within_the_block_too(run: Run) -> None:
    reskin = run.reskin("drone")
    with reskin.lock():
        with reskin.lock():
            pass
        with pytest.raises(BusyError):
            run.reskin("drone").lock().__enter__()


def test_a_process_that_is_killed_lets_go(run: Run) -> None:
    with held(run, "drone") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with run.reskin("drone").lock():
            pass


def test_a_reskin_in_which_nothing_was_written_leaves_no_folder(run: Run) -> None:
    with run.reskin("drone").lock():
        assert run.path("reskins/drone/.lock").exists()
    assert not run.path("reskins/drone").exists()
    with run.reskin("drone").lock():
        run.path("reskins/drone/output.mp4").touch()
    with run.reskin("drone").lock():
        pass
    assert run.path("reskins/drone/output.mp4").exists()


def test_a_reskin_clears_away_its_own_leftovers_and_extraction_everybodys(run: Run) -> None:
    left = [run.path(f"{each}.output.mp4.0a.partial") for each in ("", "reskins/drone/", "reskins/kite/")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    with run.reskin("drone").lock():
        assert [path.exists() for path in left] == [True, False, True]
    with run.lock():
        assert [path.exists() for path in left] == [False, False, False]


def test_a_lock_that_may_only_be_read_is_shared_all_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    held = run.dir.stat().st_ino

    def read_only(path: Path | str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == ".lock" and flags & os.O_RDWR and dir_fd is not None and os.fstat(dir_fd).st_ino == held:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", read_only)
    with run.reskin("drone").lock(), pytest.raises(StorageError, match="permission denied"):
        run.lock().__enter__()


def test_a_file_system_without_locks_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_locks(descriptor: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("handoff.run.fcntl.flock", without_locks)
    with pytest.raises(StorageError, match=r"cannot be locked \(Operation not supported\).*with locks \(flock\)"):
        run.lock().__enter__()
