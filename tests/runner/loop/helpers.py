"""The loop on real servers: a small run that is ready to be painted, a scripted painter, and what a loop leaves.

`Loop` is one `generate_reskin.py --until-pass`, the real command with the real gate, in a data folder of its own.
`outcome` is all that must not hang on what happened in between: the same for a loop that was killed and one that was
not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.loop import HEIGHT, NODES, WIDTH, board
from handoff.files import sha256_file
from handoff.ingest import ingest
from handoff.poses import PoseWriter
from handoff.video import VideoWriter
from reskin.windows import FOLDER
from runner.loop.takes import seed_of
from runner.process import ROOT
from tests.helpers import HANG_S, Product, textured
from tests.reskin.servers import BackstageServer
from tracker.cli import command as track

WINDOWS, LENGTH, FPS = 3, 9, Fraction(24)
POSE = "pose.json"
MARK_PX, LEVEL = 8, 24
"""Of the square that tells the painter the window (bench/nodes/scripted_paint)."""
SECOND, THIRD = seed_of(0, 2), seed_of(0, 3)
"""The seeds of a window's second and third take."""
ONCE_BAD = {"1:0": 5}
"""The script of a clip whose window 1 fails in its first take, and passes in its second one."""


def make_marked_run(folder: Path) -> Path:
    """A run of a magenta board on gray ground, with its mask; no frame is in two windows."""
    folder.mkdir()
    ground = np.clip(0.9 * textured(HEIGHT, WIDTH, 1).mean(-1, keepdims=True) + [0, 12, -12], 0, 255)
    ground = (ground + 0.1 * textured(HEIGHT, WIDTH, 1)).clip(0, 255).astype(np.uint8)
    paint = (textured(HEIGHT, WIDTH, 2).astype(np.int16) // 3 + np.array([140, 10, 90])).astype(np.uint8)
    with VideoWriter(folder / "clip.mp4", FPS, WIDTH, HEIGHT, crf=10) as clip:
        for index in range(WINDOWS * LENGTH):
            frame = np.where(board(index)[..., None], paint, ground)
            frame[: 2 * MARK_PX, : 2 * MARK_PX] = LEVEL * (index // LENGTH)
            clip.write(frame)
    run = ingest(folder / "clip.mp4", folder / "run")
    x, y, width, height = cv2.boundingRect(board(0).astype(np.uint8))
    place = ("--bbox", f"{x},{y},{x + width},{y + height}", "--frame", "0", "--backend", "embedded")
    track.main(["--run", str(run.dir), *place], standalone_mode=False)
    # outside of the run: where it has none, no skeleton of the new clip is looked for
    with PoseWriter(folder / POSE, run.info, {"model": "nobody is in it"}) as poses:
        for _ in range(WINDOWS * LENGTH):
            poses.write([])
    return run.dir


@dataclass(frozen=True)
class Ended:
    """What a command came to."""

    code: int
    said: str
    errors: str

    @property
    def sentence(self) -> str:
        """The one line that says what was wrong."""
        lines = [line for line in self.errors.splitlines() if line.startswith("error:")]
        assert len(lines) == 1 and "Traceback" not in self.errors, self.errors
        return lines[0]


@dataclass
class Loop:
    """One loop on a copy of a prepared run. script: of the painter. seconds: that a painting takes a server."""

    made: Path
    folder: Path
    servers: list[str]
    script: Mapping[str, int] = field(default_factory=lambda: dict(ONCE_BAD))
    seconds: float = 0.0
    most: int = 3

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.run.exists():
            shutil.copytree(self.made, self.run)
        graph = json.loads((NODES / "seeded_paint" / "workflow.json").read_text())
        links = ("source", "mask", "prompt", "negative")
        inputs = {name: graph["7"]["inputs"][name] for name in links} | {"seed": 0, "seconds": self.seconds}
        graph["7"] |= {"class_type": "ScriptedPaint", "inputs": {**inputs, "script": json.dumps(self.script)}}
        self.workflow.write_text(json.dumps(graph))

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def workflow(self) -> Path:
        return self.folder / "scripted.json"

    @property
    def reskin(self) -> Path:
        return self.run / "reskins" / "drone"

    @property
    def command(self) -> list[str]:
        given = ["--run", str(self.run), "--pose", str(self.made.parent / POSE), "--prompt", "drone"]
        given += ["--name", "drone", "--workflow", str(self.workflow)]
        given += ["--size", f"{WIDTH}x{HEIGHT}", "--window", str(LENGTH), "--overlap", "0", "--patience", "2"]
        given += [part for server in self.servers for part in ("--server", server)]
        return [sys.executable, str(ROOT / "generate_reskin.py"), *given]

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start the command in a process group of its own, as a terminal does."""
        more = options or ("--until-pass", str(self.most))
        return subprocess.Popen(
            [*self.command, *more],
            cwd=self.folder,
            env=Product(self.folder / "data").environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *options: str) -> Ended:
        """Run the command to its end."""
        return ended(self.start(*options))

    def ledger(self) -> dict[str, Any]:
        """takes.json, empty where it is not there yet."""
        path = self.reskin / "takes.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"takes": [], "rounds": []}

    def painted(self) -> int:
        """How many windows' pictures are there, of all takes."""
        return len(list((self.reskin / FOLDER).glob("[0-9]*")))

    def judged(self) -> int:
        """How many rounds have their verdict."""
        return len(self.ledger()["rounds"])

    def noted(self) -> int:
        """How many takes takes.json has, judged or not."""
        return len(self.ledger()["takes"])

    def works(self, module: str) -> bool:
        """Say whether a stage of this loop is at work."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().split(b"\0")
            except OSError:
                continue
            if module.encode() in words and any(str(self.run).encode() in word for word in words):
                return True
        return False


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command."""
    said, errors = process.communicate(timeout=2 * HANG_S)
    return Ended(process.returncode, said, errors)


def end_all(process: subprocess.Popen[str], number: signal.Signals = signal.SIGKILL) -> Ended:
    """Send a signal to a command and its stages, as a terminal does with Ctrl-C; return what it came to."""
    os.killpg(process.pid, number)
    return ended(process)


def paintings(*servers: BackstageServer) -> Counter[tuple[int, int]]:
    """How often each (window, seed) was begun to be painted on these servers, by their logs."""
    found = re.compile(r"scripted paint: window (\d+) seed (\d+) begun")
    logs = "\n".join(server.log.read_text(errors="replace") for server in servers)
    return Counter((int(window), int(seed)) for window, seed in found.findall(logs))


def seeds_asked(prompts: list[bytes]) -> Counter[int]:
    """How often a painting with each seed was asked for, by the bodies of POST /prompt."""
    return Counter(json.loads(each)["prompt"]["7"]["inputs"]["seed"] for each in prompts)


def outcome(loop: Loop) -> dict[str, Any]:
    """All that must not hang on what happened before the end: pictures, verdicts, figures; no seconds, no servers."""
    ledger, report = loop.ledger(), json.loads((loop.reskin / "report" / "iou.json").read_text())
    record = json.loads((loop.reskin / "output.json").read_text())
    pictures = sorted((loop.reskin / FOLDER).rglob("*.png"))
    by_whom = ("seconds", "server")
    return {
        "output": sha256_file(loop.reskin / "output.mp4"),
        "pictures": {str(path.relative_to(loop.reskin)): sha256_file(path) for path in pictures},
        "takes": [{name: value for name, value in each.items() if name not in by_whom} for each in ledger["takes"]],
        "rounds": [{**each, "seconds": 0} for each in ledger["rounds"]],
        "of": ledger["of"],
        "record": {name: value for name, value in record.items() if name != "windows_resumed"},
        "csv": (loop.reskin / "report" / "iou.csv").read_text(),
        "frames": report["frames"],
        "summary": report["summary"],
        "verdict": report["verdict"],
        "left": sorted(str(path) for path in loop.run.rglob("*.partial")),
    }
