"""One virtual environment a stage, made from the stage's hashed lock file.

An environment lives in `.envs/STAGE-KEY`, where KEY is a hash of the lock file, the Python version and the machine: a
changed lock makes a new one, and a program that still runs in the old one is not disturbed. It counts only with its
`.complete` stamp, which is written last and removed first. Old ones that nobody uses any more are removed when a new
one is made. One that another user has made is used; nobody else changes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from runner.holds import NOT_OURS, flocked, fsync, locked, open_lock
from runner.process import ROOT, RunnerError, check_root, die_with_parent

ENVS = ROOT / ".envs"
_STAMP = ".complete"
_IN_USE = ".in-use"
_HEARTBEAT_S = 15.0
BUILD = {"SAM2_BUILD_CUDA": "0"}
"""Environment of package builds: sam2 without its optional CUDA operator, which nothing here uses and needs nvcc."""
COMPILED = ("sweep",)
"""Stages whose packages are compiled at once: a cluster's nodes start Snakemake twice a job, and may write nothing."""
_PASSED_ON = re.compile(
    # the system: where programs, libraries, the user's own folders and a place for scratch files are; the language
    "PATH|HOME|USER|LOGNAME|SHELL|TERM|TZ|LANG|LANGUAGE|LC_[A-Z]+|TMPDIR|TMP|TEMP|(DY)?LD_LIBRARY_PATH"
    "|XDG_(CACHE|CONFIG|DATA)_HOME|XDG_CONFIG_DIRS"
    # the way out: proxies, certificates, passwords
    "|(HTTP|HTTPS|ALL|NO)_PROXY|(http|https|all|no)_proxy|SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT"
    "|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|GIT_SSL_CAINFO|GIT_SSL_CAPATH|NETRC"
    # where packages are from, and where they are kept
    "|PIP_(CONFIG_FILE|INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|PROXY|CERT|CLIENT_CERT"
    "|KEYRING_PROVIDER|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|CACHE_DIR|NO_CACHE_DIR)"
    "|UV_INDEX_[A-Z0-9_]+_(USERNAME|PASSWORD)"
    "|UV_(CONFIG_FILE|DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|NO_INDEX|FIND_LINKS|INSECURE_HOST"
    "|KEYRING_PROVIDER|OFFLINE|HTTP_TIMEOUT|REQUEST_TIMEOUT|HTTP_RETRIES|CACHE_DIR|NO_CACHE|LINK_MODE"
    "|CONCURRENT_DOWNLOADS|CONCURRENT_BUILDS|CONCURRENT_INSTALLS)"
)
"""What pip, uv and git are given of this process's environment. Nothing that says what is installed, or where to."""
_held: list[int] = []  # open files whose locks say "in use" until this process ends


def lock_file(stage: str) -> Path:
    """Return the hashed lock file of a stage."""
    return ROOT / stage / "requirements.lock"


def _key(lock: Path) -> str:
    text = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}\n"
    return hashlib.sha256(text.encode() + lock.read_bytes()).hexdigest()[:12]


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


def set_up_environment() -> dict[str, str]:
    """Return what of this process's environment a set-up command is given (docs/reference/environment.md lists it)."""
    return {name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)}


def call(command: Sequence[str | Path], what: str, *, lock: int | None = None, **extra: str) -> None:
    """Run a set-up command quietly in the project's folder; on failure raise RunnerError with the end of its output.

    lock: a descriptor that the command and its children hold as long as they live. They are told to end when this
    process dies; what does not hear of it still has the lock, and whoever comes next waits for it.
    extra: more of its environment.
    """
    try:
        done = subprocess.run(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            cwd=ROOT,  # a uv.toml or a pip.py in the caller's folder is nobody's
            env=set_up_environment() | extra,
            pass_fds=() if lock is None else (lock,),
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        raise RunnerError(f"{what} failed: {command[0]} does not start ({error.strerror}).") from error
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-12:])
        raise RunnerError(f"{what} failed (exit code {done.returncode}); its last lines were:\n  {tail}")


def _make_venv_with_pip(target: Path, lock: Path, held: int | None) -> None:
    what = "python -m venv (Debian and Ubuntu: apt install python3.11-venv)"
    call([sys.executable, "-I", "-m", "venv", target], what, lock=held)
    pip: list[str | Path] = [target / "bin" / "python", "-I", "-m", "pip", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--require-hashes", "-r", lock]
    call(install, f"pip install of {lock.relative_to(ROOT)}", lock=held)


def _make_venv_with_uv(target: Path, lock: Path, held: int | None) -> None:
    uv = ensure_env("runner").parent / "uv"
    certificates = {"UV_SYSTEM_CERTS": "1"}  # a company's own certificates count, as they do for pip
    call([uv, "venv", "--quiet", "--python", sys.executable, target], "uv venv", lock=held, **certificates)
    sync: list[str | Path] = [uv, "pip", "sync", "--quiet", "--python", target / "bin" / "python"]
    sync += ["--compile-bytecode"] if lock.parent.name in COMPILED else []
    # a lock constrains its own builds, hashes included: a source archive that builds against torch gets the locked
    # torch, not the newest one, and what builds it is as pinned as what is installed
    call(
        [*sync, "--require-hashes", "--build-constraints", lock, lock],
        f"uv pip sync of {lock.relative_to(ROOT)}",
        lock=held,
        **certificates,
        **BUILD,
    )


def _check_installed(target: Path, lock: Path) -> None:
    """Raise RunnerError unless every package of the lock is in the environment, in its version.

    A configuration file of pip or uv may have sent them elsewhere.
    """
    places = [str(each) for each in target.glob("lib/python*/site-packages")]
    found = {(_plain(each.name), each.version) for each in importlib.metadata.distributions(path=places)}
    pins = re.findall(r"^([\w.-]+)==([^\s;]+)(?! *;)", lock.read_text(encoding="utf-8"), re.M)
    missing = [f"{name}=={version}" for name, version in pins if (_plain(name), version) not in found]
    if missing:
        raise RunnerError(
            f"{missing[0]} is not in {target} although it was installed; see whether a configuration file of pip or uv "
            "(target, prefix, user) sends packages elsewhere."
        )


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _stamp(target: Path) -> None:
    """Say that an environment is complete, once all of it is on the disk."""
    descriptor = os.open(target, os.O_RDONLY)
    try:
        # Python has no name for the call that waits for one file system
        if sys.platform != "linux" or ctypes.CDLL(None).syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)
    (target / _STAMP).touch()
    fsync(target / _STAMP)
    fsync(target)


def _in_use(environment: Path, how: int) -> bool:
    """Take a lock on the environment's use (shared: I use it; exclusive: nobody does); say whether it was got."""
    try:
        descriptor = open_lock(environment / _IN_USE, how)
    except OSError:  # another user's
        return False
    try:
        got = flocked(descriptor, how | fcntl.LOCK_NB)
    except OSError:
        got = False
    if not got:
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True


def _remove_old(stage: str, keep: Path) -> None:
    for old in ENVS.glob(f"{stage}-*"):
        if old != keep and old.is_dir() and _in_use(old, fcntl.LOCK_EX):
            _remove(old)


def _remove(environment: Path) -> None:
    """Remove an environment, its stamp first: what is left half removed does not count."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        (environment / _STAMP).unlink()
        fsync(environment)
    shutil.rmtree(environment, ignore_errors=True)


def _complete(target: Path) -> bool:
    """Say whether an environment is there and its Python too, which the system may have removed."""
    return (target / _STAMP).exists() and (target / "bin" / "python").exists()


def ensure_env(stage: str) -> Path:
    """Return the Python of a stage's environment, making the environment first where it is missing.

    Two calls at once for the same stage: the second waits for the first and uses what it made. An environment in a
    folder of another user is used where it is complete.
    Raises RunnerError when it cannot be made.
    """
    check_root()
    lock = lock_file(stage)
    target = ENVS / stage
    try:
        target = ENVS / f"{stage}-{_key(lock)}"
        with locked(ENVS / f"{stage}.lock") as held:
            if not _complete(target):
                _make(stage, target, lock, held)
                _remove_old(stage, target)
            _in_use(target, fcntl.LOCK_SH)
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
        raise RunnerError(
            f"this user can neither use nor make the {stage} environment, {target} ({error.filename or target}: "
            f"{error.strerror}); have its owner run the same command once, with a Python that everybody may read, or "
            "use a copy of the project of your own."
        ) from error
    return target / "bin" / "python"


def _make(stage: str, target: Path, lock: Path, held: int | None) -> None:
    ENVS.mkdir(parents=True, exist_ok=True)
    _remove(target)
    target.mkdir(exist_ok=True)
    if not os.access(target, os.W_OK):  # refused here, not by an installer
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    with working(f"setting up the {stage} environment (first use)"):
        (_make_venv_with_pip if stage == "runner" else _make_venv_with_uv)(target, lock, held)
        _check_installed(target, lock)
        _stamp(target)
