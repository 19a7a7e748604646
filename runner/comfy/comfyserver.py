"""Run a ComfyUI server for as long as a block of code lasts.

Standard library only. The server listens on a free loopback port, keeps everything it writes below one folder,
makes no network call of its own, and ends with us: on leaving the block, on any exception, and by the kernel's
parent-death signal when this process is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

from runner.comfy.comfyargs import nodes_arguments, server_arguments
from runner.comfy.comfysource import ensure_source, source_origin
from runner.docker.gpu import visible
from runner.process import ALONE, RunnerError, without_gpu
from runner.runs import LARGEST, new_file, within

__all__ = ["ensure_source", "serve", "source_origin"]

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.2
_PORT_TRIES = 3
_LOG_TAIL_LINES = 15
_ANSI = re.compile(r"\x1b\[[0-9;]*m")

# Runs in the server's own interpreter before main.py: die with the parent (Linux; elsewhere the block's end does it).
# argv: the parent's process id, then main.py and its arguments. 1 is PR_SET_PDEATHSIG.
_BOOTSTRAP = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that asked for the server is gone")
os.execv(sys.executable, [sys.executable, "-s", *sys.argv[2:]])
"""

# nothing is asked of a model hub, and user site packages stay out
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONNOUSERSITE": "1"}
_PASSED_ON = re.compile(
    "PATH|LANG|LC_[A-Z]+|TZ|TMPDIR|USER|LOGNAME|LD_LIBRARY_PATH|(CUDA|NVIDIA|PYTORCH|OMP|MKL|OPENBLAS)_[A-Z0-9_]+"
)
"""What the server has of the caller's environment: where programs and libraries are, and what cards and threads it may
use. It is other people's code; tokens, passwords, proxies and what changes Python stay out, as in its container."""
_SECRET = re.compile("TOKEN|SECRET|PASSW|CREDENTIAL|KEY")
_FOLDERS = ("base", "input", "output", "temp", "user", "web")


@contextlib.contextmanager
def serve(
    env_python: Path,
    source: Path,
    work_dir: Path,
    log: Path,
    *,
    models: Path | None = None,
    nodes: Path | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[str]:
    """Start a server and yield its address, "127.0.0.1:PORT", once it answers; stop it at the end.

    env_python: the interpreter of ComfyUI's environment. source: the tree from `ensure_source`.
    work_dir: everything the server writes, removed at the end. log: its output, replaced at each start.
    models: a folder shaped like ComfyUI/models, which is only read; without one the server has no model.
    nodes: a folder of node packages with its paths.yaml; without one the server has ComfyUI's own nodes alone.
    Raises RunnerError, with the last lines of the log, when it does not start within `timeout_s` seconds.
    """
    folders = {name: work_dir.resolve() / name for name in _FOLDERS}
    _remove(folders, work_dir)  # what a killed process left
    for folder in folders.values():
        folder.mkdir(parents=True)
    on_gpu = has_gpu()
    print(f"comfyui: starting the server on the {'GPU' if on_gpu else 'CPU'} (log: {log})", file=sys.stderr, flush=True)
    if models is not None and models.is_dir():
        folders["models"] = models.resolve()
    packages = [] if nodes is None else nodes_arguments(nodes)
    if packages:
        (folders["base"] / "custom_nodes").mkdir()  # the server looks here too, and ends where it is missing
    server, port = _start(env_python, source, folders, packages, log, on_gpu, timeout_s)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        code = server.poll()
        if code is not None:
            reason = " (killed; out of memory?)" if code == -signal.SIGKILL else ""
            print(f"comfyui: the server ended by itself with code {code}{reason}; its log: {log}", file=sys.stderr)
        _stop(server)
        _remove({name: folders[name] for name in _FOLDERS}, work_dir)


def clean_environment(home: Path) -> dict[str, str]:
    """Return what the server's environment is, made of this process's; its home is a folder that goes with it."""
    passed = {k: v for k, v in os.environ.items() if _PASSED_ON.fullmatch(k) and not _SECRET.search(k)}
    return passed | _ENVIRONMENT | {"HOME": str(home)}


def _remove(folders: dict[str, Path], work_dir: Path) -> None:
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        work_dir.rmdir()


def has_gpu() -> bool:
    """Say whether an NVIDIA driver with at least one device answers, and may be used."""
    if without_gpu() or visible() == []:
        return False
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"GPU" in answer.stdout


def _start(
    env_python: Path,
    source: Path,
    folders: dict[str, Path],
    packages: list[str],
    log: Path,
    on_gpu: bool,
    timeout_s: float,
) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_PORT_TRIES):
        port = _free_port()
        command = [str(env_python), *ALONE, "-c", _BOOTSTRAP, str(os.getpid())]
        with new_file(log) as output:
            try:
                server = subprocess.Popen(
                    [*command, *server_arguments(port, folders, on_gpu), *packages],
                    cwd=source,
                    env=clean_environment(folders["base"]),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise RunnerError(f"{env_python} does not start: {error}.") from error
        try:
            if _wait_until_ready(server, port, folders["base"], log, timeout_s):
                return server, port
        except BaseException:
            _stop(server)
            raise
        _stop(server)
    raise RunnerError(f"no free port for ComfyUI in {_PORT_TRIES} tries; its log is {log}.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, base: Path, log: Path, timeout_s: float) -> bool:
    """Return True when our server answers, False when another process took the port; raise RunnerError otherwise."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            if "address already in use" in _tail(log).lower():
                return False
            raise RunnerError(f"ComfyUI ended with code {server.returncode} before it answered:\n{_tail(log)}")
        stats = _system_stats(port)
        if stats is not None:
            # a stranger on the port would answer too: ours was started with our folder
            argv = within(stats, "system", "argv")
            return isinstance(argv, list) and str(base) in argv
        time.sleep(_POLL_S)
    raise RunnerError(f"ComfyUI did not answer within {timeout_s:.0f} s; the end of its log, {log}:\n{_tail(log)}")


def _system_stats(port: int) -> dict[str, Any] | None:
    # no proxy: a proxy in the environment must not see a loopback request
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}/system_stats", timeout=5) as answer:
            stats = json.loads(answer.read(LARGEST))
    except (OSError, HTTPException, ValueError, RecursionError):  # RecursionError: nested too deeply
        return None
    return stats if isinstance(stats, dict) else None


def _tail(log: Path) -> str:
    lines = _ANSI.sub("", log.read_text(encoding="utf-8", errors="replace")).splitlines()
    return "\n".join(lines[-_LOG_TAIL_LINES:])


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its process group: politely, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT_S)
            break
    # a child of the server may have outlived it
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
