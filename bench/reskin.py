"""Our overhead over the ComfyUI server's own work: one reskin of 81 frames of 832x480 px with the `draft` workflow.

    make bench-reskin [ARGS="--frames 81 --rounds 3"]

The last line is one JSON object:
    overhead_s                 seconds from the start of the first upload's preparation to the renamed output.mp4, less
                               those in which the server executed, by the time stamps of its own history
                               (execution_start to execution_success); of the round with the least
    overhead_percent           the same in percent of the server's seconds
    server_s                   the server's seconds
    upload_s, wait_s, fetch_s  of the overhead: sending inputs, learning that a job has ended, fetching pictures
    local_s                    the rest: reading the clip, encoding inputs, composite, encoding output.mp4
    peak_mb, server_peak_mb    the most memory that the reskin stage's process, and the server's, ever held, as the
                               kernel counts it, after `frames`, three times as many and nine times as many
    mb_per_frame               what each further frame adds to peak_mb, from the second length to the third: the first
                               windows still warm up (threads, the encoder's look-ahead, the allocator's free lists)
    frame_mb                   what a frame is in memory, to hold that against: if frames were kept, it would be as much

The draft paints in windows of a few frames (a budget of pixels), so one reskin is several jobs. The server is
$COMFY_SERVER, or one that is started and stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from bench.memory import peak_mb
from bench.scenes import textured
from handoff.ingest import ingest
from handoff.masks import Mask
from handoff.run import Run
from handoff.video import Frame, VideoWriter
from reskin.comfy.client import ServerFile
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.comfy.progress import Listener
from reskin.draft_painter import DraftPainter, decide_looks
from reskin.nouns import parse_prompt
from reskin.painting import Clip, Joining, paint_clip, to_gray
from reskin.sharing import OneServer
from reskin.windows import KeptWindows, plan_windows
from reskin.workflow import Graph, load_workflow
from runner.comfy.comfyserver import serve
from runner.comfy.comfysource import ensure_source
from runner.envs import ensure_env
from runner.process import ROOT
from runner.runs import cache_dir

MEMORY_LENGTHS = (1, 3, 9)
WIDTH, HEIGHT, FPS = 832, 480, Fraction(24)
PROMPT = "cyberpunk drone, samurai"
Result = TypeVar("Result")


class Timed(ComfyOrchestrator):
    """An orchestrator that counts the seconds of each kind of work."""

    def __init__(self, server: str) -> None:
        super().__init__(server)
        self.seconds = {"upload": 0.0, "run": 0.0, "fetch": 0.0}

    def _timed(self, kind: str, action: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        try:
            return action()
        finally:
            self.seconds[kind] += time.perf_counter() - started

    def upload(self, path: Path, name: str) -> str:
        return self._timed("upload", lambda: super(Timed, self).upload(path, name))

    def run(
        self, graph: Graph, output: tuple[str, str], listener: Listener = lambda progress: None
    ) -> list[ServerFile]:
        return self._timed("run", lambda: super(Timed, self).run(graph, output, listener))

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        self._timed("fetch", lambda: super(Timed, self).fetch(file, target, max_bytes))


def make_run(folder: Path, frames: int) -> Run:
    """A textured scene with a board of 160x60 px below a skater of 120x260 px, both moving, and their exact masks."""
    folder.mkdir()
    scene = textured(HEIGHT, WIDTH, 1)

    def mask(top: int, bottom: int, left: int, right: int, index: int) -> Mask:
        x = 40 + 4 * (index % 150)
        drawn = np.zeros((HEIGHT, WIDTH), bool)
        drawn[top:bottom, x + left : x + right] = True
        return drawn

    things = {"mask.mp4": (360, 420, 0, 160), "human_mask.mp4": (100, 360, 20, 140)}

    def picture(index: int) -> Frame:
        drawn = np.roll(scene, index, axis=1)
        drawn[mask(*things["mask.mp4"], index)] = (90, 60, 40)
        person = mask(*things["human_mask.mp4"], index)
        drawn[person] = drawn[person] // 2
        return drawn

    with VideoWriter(folder / "clip.mp4", FPS, WIDTH, HEIGHT, crf=10) as clip:
        for index in range(frames):
            clip.write(picture(index))
    run = ingest(folder / "clip.mp4", folder / "run")
    for name, sides in things.items():
        with VideoWriter(run.path(name), FPS, WIDTH, HEIGHT, mode="mask") as writer:
            for index in range(frames):
                writer.write(to_gray(mask(*sides, index)))
    return run


def one_round(run: Run, address: str, output: Path) -> dict[str, float]:
    """Paint once; seconds in all, of the server, and of each part of the overhead."""
    clip = Clip(run.info, run.source, run.path("mask.mp4"), run.path("human_mask.mp4"))
    windows = plan_windows(run.info.frames, WIDTH, HEIGHT)
    looks = [decide_looks(clip, parse_prompt(PROMPT), [0])[0]] * len(windows)
    before = history(address)
    with tempfile.TemporaryDirectory() as scratch, Timed(address) as comfy:
        kept, folder = KeptWindows(Path(scratch) / "kept"), Path(scratch)
        draft = DraftPainter(load_workflow("draft"), looks, run.info)
        painter = OneServer(draft, comfy, kept, folder, lambda progress: None)
        started = time.perf_counter()
        paint_clip(clip, painter, windows, output, Joining(), lambda window: None)
        total = time.perf_counter() - started
        seconds = comfy.seconds
    jobs = [record for key, record in history(address).items() if key not in before]
    server = sum(executed_s(record["status"]["messages"]) for record in jobs)
    parts = {"upload_s": seconds["upload"], "wait_s": seconds["run"] - server, "fetch_s": seconds["fetch"]}
    overhead = total - server
    return {"overhead_s": overhead, "server_s": server, **parts, "local_s": overhead - sum(parts.values())}


def history(address: str) -> dict[str, Any]:
    """Every job that the server has ended."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy stands before a local server
    with direct.open(f"http://{address}/history", timeout=60) as answer:
        return dict(json.load(answer))


def executed_s(messages: list[list[Any]]) -> float:
    """How long the server executed a job, by the time stamps (ms) that it noted itself."""
    stamps = {name: data["timestamp"] for name, data in messages if "timestamp" in data}
    return float(stamps["execution_success"] - stamps["execution_start"]) / 1000


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """$COMFY_SERVER, or one of our own."""
    if os.environ.get("COMFY_SERVER"):
        yield os.environ["COMFY_SERVER"]
        return
    with own_server(folder) as address:
        yield address


@contextlib.contextmanager
def own_server(folder: Path) -> Iterator[str]:
    """A server that is started and stopped here."""
    source = ensure_source(ROOT / "comfyui" / "pins.toml", cache_dir())
    with serve(ensure_env("comfyui"), source, folder / "work", folder / "comfyui.log") as address:
        yield address


def server_processes(address: str) -> Iterator[Path]:
    """The folders in /proc of the processes that are the server; it is known by its port."""
    port = address.split(":")[1].encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if b"main.py" in arguments and port in arguments:
                yield process


def server_peak_mb(address: str) -> float:
    """The most that the server's process ever held, MB."""
    found = []
    for process in server_processes(address):
        with contextlib.suppress(OSError):
            found.append(re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text()))
    return max((int(each.group(1)) / 1024 for each in found if each), default=0.0)


@click.command()
@click.option("--frames", default=81, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--memory/--no-memory", default=True, show_default=True, help="Measure memory too.")
def main(frames: int, rounds: int, memory: bool) -> None:
    """Overhead of one reskin over the server's own work, and memory at three lengths."""
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as address:
        folder = Path(name)
        lengths = tuple(times * frames for times in MEMORY_LENGTHS) if memory else (frames,)
        runs = {length: make_run(folder / str(length), length) for length in lengths}
        one_round(runs[frames], address, folder / "warm.mp4")  # the server's first job imports and compiles
        found = [one_round(runs[frames], address, folder / "output.mp4") for _ in range(rounds)]
        for each in found:
            click.echo("  ".join(f"{key} {value:.2f}" for key, value in each.items()), err=True)
        best = min(found, key=lambda each: each["overhead_s"])
        peaks, server_peaks = [], []
        for length in lengths if memory else ():
            options = ("--run", runs[length].dir, "--prompt", PROMPT, "--workflow", "draft", "--server", address)
            peaks.append(round(peak_mb("reskin", *options), 1))
            server_peaks.append(round(server_peak_mb(address), 1))
    percent = 100 * best["overhead_s"] / best["server_s"]
    figures: dict[str, Any] = {"overhead_percent": round(percent, 1)}
    figures |= {key: round(value, 2) for key, value in best.items()}
    if peaks:
        growth = (peaks[-1] - peaks[-2]) / (lengths[-1] - lengths[-2])
        figures |= {"frames": lengths, "peak_mb": peaks, "server_peak_mb": server_peaks}
        figures |= {"mb_per_frame": round(growth, 4), "frame_mb": round(WIDTH * HEIGHT * 3 / 2**20, 2)}
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
