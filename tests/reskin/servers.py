"""Real ComfyUI servers for tests that kill them, and a look at what a server has done."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from runner.comfy.comfyserver import serve
from runner.comfy.comfysource import ensure_source
from runner.envs import ensure_env
from runner.process import ROOT
from runner.runs import cache_dir


def comfy_python() -> Path:
    """The interpreter of ComfyUI's environment: $COMFY_PYTHON, or the runner's."""
    python = os.environ.get("COMFY_PYTHON")
    return Path(python) if python else ensure_env("comfyui")


def comfy_source() -> Path:
    """ComfyUI's tree: $COMFY_SOURCE, or the runner's."""
    source = os.environ.get("COMFY_SOURCE")
    return Path(source) if source else ensure_source(ROOT / "comfyui" / "pins.toml", cache_dir())


class BackstageServer:
    """A server that starts while the test goes on. Its thread lives as long as it does: its death would end it."""

    def __init__(self, folder: Path, nodes: Path | None = None) -> None:
        self.log = folder / "comfyui.log"
        self._folder, self._nodes = folder, nodes
        self._ready, self._end = threading.Event(), threading.Event()
        self._address = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            work = self._folder / "work"
            with serve(comfy_python(), comfy_source(), work, self.log, nodes=self._nodes) as self._address:
                self._ready.set()
                self._end.wait()
        finally:
            self._ready.set()

    @property
    def address(self) -> str:
        """HOST:PORT, once it answers."""
        self._ready.wait(300)
        if not self._address:
            raise RuntimeError(f"the server did not start; see {self.log}")
        return self._address

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        for pid in processes_of(self.address):
            os.kill(pid, signal.SIGKILL)

    def executions(self) -> int:
        """How many jobs it was given, by its own log, which outlives it."""
        return self.log.read_text(errors="replace").count("got prompt")

    def stop(self) -> None:
        self._end.set()
        self._thread.join(30)


@contextlib.contextmanager
def backstage(folder: Path, nodes: Path | None = None) -> Iterator[BackstageServer]:
    server = BackstageServer(folder, nodes)
    try:
        yield server
    finally:
        server.stop()


def processes_of(address: str) -> list[int]:
    """The process ids of the ComfyUI server that was started for this port."""
    port, found = address.split(":")[1].encode(), []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            arguments = path.read_bytes().split(b"\0")
            if b"main.py" in arguments and port in arguments:
                found.append(int(path.parent.name))
    return found


def get(address: str, path: str) -> Any:
    """What a server answers, as JSON; no proxy of the environment is asked."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://{address}{path}", timeout=60).json()


def post(address: str, path: str, **content: Any) -> None:
    """Send a server JSON, whatever it answers."""
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"http://{address}{path}", json=content, timeout=60)


def queue(address: str) -> dict[str, list[Any]]:
    """The jobs that run, and those that wait."""
    return dict(get(address, "/queue"))


def history(address: str) -> dict[str, Any]:
    """Every job that the server has ended."""
    return dict(get(address, "/history"))


def output_folder(address: str) -> Path:
    """Where the server, on this machine, writes its results."""
    argv = get(address, "/system_stats")["system"]["argv"]
    return Path(argv[argv.index("--output-directory") + 1])
