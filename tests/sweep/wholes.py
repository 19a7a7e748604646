"""Whole sweeps as a user runs them, on eight frames of the demo clip, with servers of their own."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.process import ROOT
from tests.helpers import HANG_S, until

DEMO = {"demo": [0, 7]}
RUN = "demo-0-7"
SAID: dict[str, Any] = {
    "name": "mine",
    "clips": [DEMO],
    "prompts": ["cyberpunk drone, samurai"],
    "seeds": [0],
    "batch": 1,
    "gpus": 1,
    "workflow": "draft",
    "extract": {"backend": "embedded"},
}


@dataclass
class WholeSweep:
    """A sweep's file and its data folder below `place`. settings: more of the environment."""

    place: Path
    said: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    data_name: str = "data"

    @property
    def data(self) -> Path:
        return self.place / self.data_name

    @property
    def folder(self) -> Path:
        return self.data / "sweeps" / str(self.said.get("name", "mine"))

    @property
    def file(self) -> Path:
        return self.place / f"{self.said.get('name', 'mine')}.yaml"

    def command(self, *more: str, **said: Any) -> list[str]:
        """Write the sweep's file, with `said` changed from now on, and return the command."""
        self.said = SAID | self.said | said
        self.place.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.said, ensure_ascii=False), encoding="utf-8")
        return [sys.executable, "-s", str(ROOT / "runner"), "sweep", str(self.file), *more]

    @property
    def environment(self) -> dict[str, str]:
        scratch = self.place / "scratch"  # GPUs are shared by the commands of a user who have one
        scratch.mkdir(parents=True, exist_ok=True)
        return os.environ | {"DATA_DIR": str(self.data), "TMPDIR": str(scratch)} | self.settings

    def run(self, *more: str, prefix: tuple[str, ...] = (), **said: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, *self.command(*more, **said)],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            timeout=2 * HANG_S,
        )

    def start(self, *more: str, **said: Any) -> subprocess.Popen[str]:
        log = self.place / "said.txt"
        with log.open("w") as output:
            return subprocess.Popen(
                self.command(*more, **said), stdout=output, stderr=subprocess.STDOUT, text=True, env=self.environment
            )

    def said_so_far(self) -> str:
        return (self.place / "said.txt").read_text()

    def painted(self) -> int:
        """How many paintings all servers of this sweep have done."""
        return self._count(r"Prompt executed in")

    def asked(self) -> int:
        """How many paintings they were asked for."""
        return self._count(r"got prompt")

    def _count(self, pattern: str) -> int:
        logs = (self.folder / "logs").glob("*.comfyui-*.log")
        return sum(len(re.findall(pattern, log.read_text(errors="replace"))) for log in logs)

    def rows(self) -> dict[tuple[str, str, int], str]:
        """Return table.csv: clip, prompt and seed with the verdict."""
        with (self.folder / "table.csv").open(newline="") as file:
            return {(row["clip"], row["prompt"], int(row["seed"])): row["verdict"] for row in csv.DictReader(file)}

    def processes(self) -> dict[int, str]:
        """Return the processes that name this sweep's place on their command line or as their folder: id, command."""
        found = {}
        for each in Path("/proc").iterdir():
            if not each.name.isdigit() or int(each.name) == os.getpid():
                continue
            try:
                words = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (each / "environ").read_bytes()
            except OSError:
                continue
            if f"{self.place}/" in words or f"DATA_DIR={self.data}".encode() in environment:
                found[int(each.name)] = words
        return found

    def process(self, pattern: str) -> int:
        """Return the one process whose command line has `pattern`."""
        return next((each for each, words in self.processes().items() if re.search(pattern, words)), 0)

    def until_painting(self) -> None:
        begun = self.asked()
        until("a painting is under way", lambda: self.asked() > begun)

    def until_nothing_is_left(self, timeout_s: float) -> None:
        try:
            until("no process is left", lambda: not self.processes(), timeout_s)
        finally:
            self.kill()

    def kill(self) -> None:
        for each in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def copy(self, place: Path, **more: Any) -> WholeSweep:
        """Return the same in another place, with what is done of it."""
        copied = WholeSweep(place, dict(self.said), **more)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.data, copied.data, symlinks=True)
        shutil.rmtree(copied.folder / "logs", ignore_errors=True)
        return copied
