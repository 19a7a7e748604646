"""One virtual environment a stage, made from the stage's hashed lock file.

An environment lives in `.envs/STAGE-KEY`, where KEY is a hash of the lock file, the Python version and the machine: a
changed lock makes a new one, and a program that still runs in the old one is not disturbed. It counts only with its
`.complete` stamp, written last. Old ones that nobody uses any more are removed when a new one is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.process import ALONE, ROOT, RunnerError, check_root

ENVS = ROOT / ".envs"
_STAMP = ".complete"
_IN_USE = ".in-use"
_HEARTBEAT_S = 15.0
BUILD = {"SAM2_BUILD_CUDA": "0"}
"""Environment of package builds: sam2 without its optional CUDA operator, which nothing here uses and needs nvcc."""
_held: list[object] = []  # open files whose locks say "in use" until this process ends


def lock_file(stage: str) -> Path:
    """Return the hashed lock file of a stage."""
    return ROOT / stage / "requirements.lock"


def _key(lock: Path) -> str:
    text = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}\n"
    return hashlib.sha256(text.encode() + lock.read_bytes()).hexdigest()[:12]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file until the block ends, waiting for whoever holds it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Say what is being done, that it still goes on every 15 s, and how long it took."""
    started, done = time.monotonic(), threading.Event()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_S):
            print(f"{what}: still at it, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    print(f"{what} ...", file=sys.stderr, flush=True)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    print(f"{what}: done in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def call(command: Sequence[str | Path], what: str, **extra: str) -> None:
    """Run a set-up command quietly; on failure raise RunnerError with the end of what it printed.

    It runs in the project's folder, so that no settings in the caller's (uv.toml, pyproject.toml) count.
    """
    done = subprocess.run(
        [os.fspath(part) for part in command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | extra,
    )
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-12:])
        raise RunnerError(f"{what} failed (exit code {done.returncode}); its last lines were:\n  {tail}")


def _make_venv_with_pip(target: Path, lock: Path) -> None:
    call(
        [sys.executable, *ALONE, "-m", "venv", target],
        "python -m venv (Debian and Ubuntu: apt install python3.11-venv)",
    )
    pip: list[str | Path] = [target / "bin" / "python", *ALONE, "-m", "pip", "--disable-pip-version-check"]
    call([*pip, "install", "--quiet", "--require-hashes", "-r", lock], f"pip install of {lock.relative_to(ROOT)}")


def _make_venv_with_uv(target: Path, lock: Path) -> None:
    uv = ensure_env("runner").parent / "uv"
    certificates = {"UV_SYSTEM_CERTS": "1"}  # a company's own certificates count, as they do for pip
    call([uv, "venv", "--quiet", "--python", sys.executable, target], "uv venv", **certificates)
    sync: list[str | Path] = [uv, "pip", "sync", "--quiet", "--python", target / "bin" / "python"]
    # a lock constrains its own builds, hashes included: a source archive that builds against torch gets the locked
    # torch, not the newest one, and what builds it is as pinned as what is installed
    call(
        [*sync, "--require-hashes", "--build-constraints", lock, lock],
        f"uv pip sync of {lock.relative_to(ROOT)}",
        **certificates,
        **BUILD,
    )


def _in_use(environment: Path, how: int) -> bool:
    """Take a lock on the environment's use (shared: I use it; exclusive: nobody does); say whether it was got."""
    file = (environment / _IN_USE).open("w")
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True


def _remove_old(stage: str, keep: Path) -> None:
    for old in ENVS.glob(f"{stage}-*"):
        if old != keep and old.is_dir() and _in_use(old, fcntl.LOCK_EX):
            shutil.rmtree(old, ignore_errors=True)


def ensure_env(stage: str) -> Path:
    """Return the Python of a stage's environment, making the environment first where it is missing.

    Two calls at once for the same stage: the second waits for the first and uses what it made.
    Raises RunnerError when it cannot be made.
    """
    check_root()
    lock = lock_file(stage)
    target = ENVS / f"{stage}-{_key(lock)}"
    python = target / "bin" / "python"
    with locked(ENVS / f"{stage}.lock"):
        if not (target / _STAMP).exists():
            shutil.rmtree(target, ignore_errors=True)
            with working(f"setting up the {stage} environment (first use)"):
                (_make_venv_with_pip if stage == "runner" else _make_venv_with_uv)(target, lock)
                (target / _STAMP).touch()
            _remove_old(stage, target)
        _in_use(target, fcntl.LOCK_SH)
    return python
