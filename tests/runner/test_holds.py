"""Who is at work is told by locks, on every file system, between processes, containers and users."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import runs
from runner.docker import compose
from runner.holds import held_folder, locked, open_lock, write_text
from runner.process import ROOT, RunnerError
from tests.preload import preloaded, refusals

NOBODY = 65534
OWN_NUMBERS = ("unshare", "--pid", "--fork", "--mount-proc")
HOLDING = """
import pathlib, sys
from runner.holds import held_folder
with held_folder(pathlib.Path(sys.argv[1]), "work") as work:
    (work / "window.png").touch()
    print(work, flush=True)
    sys.stdin.read()
    assert (work / "window.png").exists()
"""
SERVING = """
import contextlib, pathlib, sys
from runner import runs, stages
from runner.comfy import comfyserver

@contextlib.contextmanager
def serve(python, source, work, log, models):
    (work / "window.png").touch()
    yield str(work)

stages.ensure_source = stages.ensure_env = lambda *_: pathlib.Path()
stages.runner = lambda: "local"
runs.cache_dir = runs.data_dir = lambda: pathlib.Path(sys.argv[1])
comfyserver.serve = serve
with stages.comfyui(pathlib.Path("log")) as (work, _):
    print(work, flush=True)
    sys.stdin.read()
    assert (pathlib.Path(work) / "window.png").exists()
"""
AS_NOBODY = """
import contextlib, fcntl, os, pathlib, sys
from runner import holds
from runner.process import RunnerError
os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
folder = pathlib.Path(sys.argv[1])
"""


@contextlib.contextmanager
def other(code: str, *arguments: object, prefix: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """A process that says where it works, and goes on until its standard input ends."""
    command = [*prefix, sys.executable, "-c", code, *(str(each) for each in arguments)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate()


def line(process: subprocess.Popen[str]) -> Path:
    assert process.stdout is not None
    return Path(process.stdout.readline().strip())


@pytest.fixture
def own_numbers() -> tuple[str, ...]:
    """What starts a process that sees no process of this machine, as in a container."""
    done = subprocess.run([*OWN_NUMBERS, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no process numbers of its own may be had here: {done.stderr.strip()}")
    return OWN_NUMBERS


@pytest.fixture
def as_nobody() -> str:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    return AS_NOBODY


@pytest.mark.parametrize("code", [HOLDING, SERVING])
def test_a_living_commands_folder_stays_when_another_container_begins(
    tmp_path: Path, own_numbers: tuple[str, ...], code: str
) -> None:
    with other(code, tmp_path) as first:
        work = line(first)
        with other(code, tmp_path, prefix=own_numbers) as second:
            assert line(second) != work and (work / "window.png").exists()
        assert second.returncode == 0 and (work / "window.png").exists()
    assert first.returncode == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [HOLDING, SERVING])
def test_what_a_killed_command_left_is_removed_by_the_next(tmp_path: Path, code: str) -> None:
    with other(code, tmp_path) as first:
        work = line(first)
        first.send_signal(signal.SIGKILL)
    assert (work / "window.png").exists()
    with other(code, tmp_path) as second:
        assert line(second) != work and not work.parent.exists()


def test_a_containers_mark_says_nothing_in_another_container(own_numbers: tuple[str, ...]) -> None:
    code = "from runner.docker import compose\nimport sys\nprint(compose.mark(), flush=True)\nsys.stdin.read()"
    with other(code, prefix=own_numbers) as inside:
        mark = str(line(inside))
        assert compose.marked(mark) == mark and compose.left_by(mark) is None
        command = [*own_numbers, sys.executable, "-c", "from runner.docker import compose\nimport sys\n"]
        command[-1] += "print(compose.left_by(sys.argv[1]), compose.left_by(compose.mark(99999)) is not None)"
        done = subprocess.run([*command, compose.mark()], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "None True\n"


def test_many_that_make_and_remove_at_once_never_lose_what_is_theirs(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\nfrom runner.holds import held_folder\nfor _ in range(150):\n"
        "    with held_folder(pathlib.Path(sys.argv[1]), 'work') as work:\n"
        "        (work / 'a').write_text('a')\n        assert (work / 'a').read_text() == 'a'\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    many = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    said = [each.communicate()[1] for each in many]
    assert [each.returncode for each in many] == [0] * 4, said
    assert not list(tmp_path.iterdir())


EVERYTHING = """
import pathlib, sys
from runner import runs
from runner.holds import held_folder, locked, write_text
folder = pathlib.Path(sys.argv[1])
for _ in range(2):
    with locked(folder / "a.lock") as descriptor, held_folder(folder, "work") as work:
        assert descriptor is not None and work.is_dir()
        write_text(folder / "latest", "run")
run = folder / "run"
run.mkdir()
(run / ".lock").touch()
print(runs.remove_unused(run))
"""


def test_every_lock_is_one_that_nfs_gives(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EVERYTHING, str(tmp_path)]
    environment = preloaded(tmp_path, locks="nfs")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert refusals(tmp_path) == 0


@pytest.mark.parametrize("name", ["ENOLCK", "EBADF", "EINVAL", "EOPNOTSUPP", "ENOSYS"])
def test_without_locks_work_goes_on_with_one_warning_and_no_run_is_thrown_away(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", EVERYTHING, str(tmp_path)]
    environment = preloaded(tmp_path, locks=getattr(errno, name), folders=getattr(errno, name))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    warning = f"warning: the file system of {tmp_path} has no locks; do not start two commands there at once\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", warning)
    assert (tmp_path / "run").is_dir()


def test_a_lock_that_is_a_link_is_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "tracker.lock").symlink_to("thesis.tex")
    with pytest.raises(RunnerError, match=r"tracker\.lock is a link, and a lock is a file; remove the link\."):
        locked(tmp_path / "tracker.lock").__enter__()
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_newest_run_is_noted_beside_links_that_somebody_put_there(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for name in (".latest", f".latest.{os.getpid()}"):
        (tmp_path / name).symlink_to("thesis.tex")
    runs.remember(tmp_path / "clip")
    assert (tmp_path / ".latest").read_text() == "clip\n" and not (tmp_path / ".latest").is_symlink()
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that other users may read and not write; pytest's own may not be read."""
    with tempfile.TemporaryDirectory(prefix="skate-readable-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_another_users_lock_is_shared_and_never_held_alone(readable: Path, as_nobody: str) -> None:
    (readable / "tracker.lock").touch()
    code = as_nobody + (
        "with holds.locked(folder / 'tracker.lock') as held, holds.locked(folder / 'absent.lock') as none:\n"
        "    print(held is not None, none, flush=True)\n    sys.stdin.read()\n"
    )
    with other(code, readable) as shared:
        assert str(line(shared)) == "True None"
        descriptor = open_lock(readable / "tracker.lock", fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
    assert shared.returncode == 0 and not (readable / "absent.lock").exists()


def test_a_folder_of_another_user_is_refused_in_a_sentence(readable: Path, as_nobody: str) -> None:
    code = as_nobody + (
        "try:\n    holds.held_folder(folder / 'cache', 'work').__enter__()\n"
        "except RunnerError as error:\n    print(error.exit_code, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, readable], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == (
        f"3 cannot write {readable}/cache (Permission denied); choose a folder that can be written.\n"
    ), done.stderr


def test_what_is_left_of_a_text_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "latest", "old")
    monkeypatch.setattr("runner.holds.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "latest", "new")
    assert [each.name for each in tmp_path.iterdir()] == ["latest"] and (tmp_path / "latest").read_text() == "old"


def test_a_held_folder_goes_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held_folder(tmp_path / "data", "comfyui") as work:
        (work / "output").mkdir()
        raise ZeroDivisionError
    assert not list((tmp_path / "data").iterdir())


def test_a_link_that_is_called_like_a_left_folder_is_left_alone(tmp_path: Path) -> None:
    """Its lock would be made, and held, wherever it leads."""
    (tmp_path / "data").mkdir()
    (tmp_path / "theirs" / "work").mkdir(parents=True)
    (tmp_path / "data" / ".work.0a.partial").symlink_to(tmp_path / "theirs")
    with held_folder(tmp_path / "data", "work"):
        pass
    assert [each.name for each in (tmp_path / "theirs").iterdir()] == ["work"]
