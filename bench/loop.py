"""Measure how many paintings it takes until a clip passes, window by window, against painting the whole clip anew.

    make bench-loop [ARGS="--simulated"]

A painter keeps the outline in a window with the chance p. Painting the whole clip anew until all W windows pass at once
takes W / p^W paintings on average; the loop paints again only what failed. Both are simulated with the same chances,
the loop through the very object that the product uses (`runner.loop.takes.Takes`), for W = 1 to 60; where the
whole-clip way is beyond simulating, its average is calculated.

Then both are measured on a real ComfyUI server (started and stopped here). Its painter paints a window or leaves it as
it is, by the seed and the window's pictures (bench/nodes). Paintings are counted at the server, by its own history. The
loop is the product's, with the real gate. The whole-clip way is spared the gate: what the painter did is looked at
instead. It ends after a time, and what it had painted by then counts, so the measured ratio can only be too small.

The last line is one JSON object:
    paintings_ratio    paintings of the whole-clip way over the loop's, measured at p, of all clips together
    easy_ratio         the same at p = 0.8
    p, windows         of the ratios
    simulated_ratio    as paintings_ratio, simulated
    ours               the loop's paintings a window, simulated; 1/p is the least that can be
    gate_seconds_ratio seconds of the gate in all rounds of the loops, the first one too, over those of as many whole
                       clips: a round tracks only from the first changed frame on
    two_servers_ratio  time of one take of eight windows on two servers over that on one, whose node sleeps
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import click
import cv2
import numpy as np

from bench.reskin import history
from bench.scenes import textured
from evaluator.cli import command as evaluate
from handoff.errors import GateFailed
from handoff.ingest import ingest
from handoff.masks import Mask
from handoff.run import Run
from handoff.video import VideoWriter
from reskin.cli import command as reskin
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.model_painter import VacePainter
from reskin.painting import Clip, read_windows
from reskin.regions import fit_into
from reskin.sharing import OneServer
from reskin.windows import KeptWindows, plan_overlapping
from reskin.workflow import load_workflow
from runner import runs
from runner.comfy.comfyserver import serve
from runner.comfy.comfysource import ensure_source
from runner.envs import ensure_env
from runner.loop.rounds import Work, until_pass
from runner.loop.takes import FrameResult, Takes
from runner.process import ROOT
from tracker.cli import command as track

P, WINDOWS, LENGTH = 0.5, 6, 4
CLIPS = 400
MOST = 1000
"""Takes of a window at most: as good as no limit."""
SIMULATED = 2000.0
"""Paintings up to which the whole-clip way is simulated and not calculated."""
_GOOD, _BAD = FrameResult(True, 0.95, 0.95), FrameResult(False, 0.6, 0.6)

Chance = Callable[[], bool]


def ours(windows: int, good: Chance) -> int:
    """Return how many paintings the loop asks for until all windows pass."""
    takes = Takes([(index * LENGTH, (index + 1) * LENGTH) for index in range(windows)], MOST, 0)
    verdicts: dict[tuple[int, int], bool] = {}
    while (wanted := takes.proposed()) is not None:
        for each in wanted.paintings:
            verdicts[each.window, each.take] = good()
        passed = [verdicts[pair] for pair in enumerate(wanted.chosen)]
        takes.feed([_GOOD if each else _BAD for each in passed for _ in range(LENGTH)])
    return takes.paintings


def whole_clips(windows: int, good: Chance) -> int:
    """Return how many paintings it takes where the whole clip is painted anew until all windows pass at once."""
    clips = 1
    while not all([good() for _ in range(windows)]):
        clips += 1
    return clips * windows


def averages(windows: int, p: float, clips: int = CLIPS) -> tuple[float, float]:
    """Return the average paintings of the loop and of the whole-clip way."""
    numbers = random.Random(f"{windows}/{p}")

    def good() -> bool:
        return numbers.random() < p

    mine = sum(ours(windows, good) for _ in range(clips)) / clips
    whole = windows / p**windows
    if whole < SIMULATED:
        whole = sum(whole_clips(windows, good) for _ in range(clips)) / clips
    return mine, whole


NODES = ROOT / "bench" / "nodes"
WIDTH, HEIGHT, FPS, FRAMES = 160, 96, Fraction(24), 9
"""Of the clip, and frames in a window; no frame is in two."""
CLIPS_MEASURED = {0.5: 2, 0.8: 3}
WHOLE_S = 90.0
"""How long the whole-clip way may take for one clip."""
TAKES = 40
PAINTED = 20
"""Mean change of a painted object, levels of 255; an unpainted one changes by the encoders alone."""
SLEEP_S, EIGHT = 3.0, 8


def board(index: int) -> Mask:
    """The object, which rolls to and fro."""
    drawn, phase = np.zeros((HEIGHT, WIDTH), np.uint8), index % 40
    cv2.ellipse(drawn, (40 + 2 * min(phase, 40 - phase), 56), (24, 10), 5, 0, 360, (255,), -1)
    return drawn > 0


def make_run(folder: Path, windows: int) -> Run:
    """A run of a magenta board on gray ground, its mask made by the embedded tracker."""
    folder.mkdir()
    texture, count = textured(HEIGHT, WIDTH, 1).astype(np.float32), windows * FRAMES
    gray = texture.mean(-1, keepdims=True)
    ground = np.clip(0.9 * gray + 0.1 * texture + np.array([0, 12, -12]), 0, 255).astype(np.uint8)
    paint = (textured(HEIGHT, WIDTH, 2).astype(np.int16) // 3 + np.array([140, 10, 90])).astype(np.uint8)
    with VideoWriter(folder / "clip.mp4", FPS, WIDTH, HEIGHT, crf=10) as clip:
        for index in range(count):
            clip.write(np.where(board(index)[..., None], paint, ground))
    run = ingest(folder / "clip.mp4", folder / "run")
    x, y, width, height = cv2.boundingRect(board(0).astype(np.uint8))
    place = ("--bbox", f"{x},{y},{x + width},{y + height}", "--frame", "0", "--backend", "embedded")
    track.main(["--run", str(run.dir), *place], standalone_mode=False)
    return Run.open(run.dir)


def workflow(folder: Path, chance: float, seconds: float = 0.0) -> Path:
    """The painter's graph with that chance, which takes a server so long."""
    graph = json.loads((NODES / "seeded_paint" / "workflow.json").read_text())
    graph["7"]["inputs"].update(chance=chance, seconds=seconds)
    path = folder / f"chance{chance}-{seconds}.json"
    path.write_text(json.dumps(graph))
    return path


def arguments(run: Run, graph: Path, name: str, servers: Sequence[str]) -> list[str]:
    """Of the reskin stage."""
    size = ["--size", f"{WIDTH}x{HEIGHT}", "--window", str(FRAMES), "--overlap", "0"]
    given = ["--run", str(run.dir), "--prompt", "drone", "--name", name, "--workflow", str(graph), *size]
    return [*given, *(part for server in servers for part in ("--server", server))]


@dataclass(frozen=True)
class Measured:
    """Paintings that the server counted for one clip. whole_done: whether the whole-clip way came to its end.

    gates: seconds of the gate in each round of the loop; the first one tracks the whole clip.
    """

    loop: int
    whole: int
    whole_done: bool
    gates: tuple[float, ...]


def gate_ratio(found: Sequence[Measured]) -> float:
    """Return the seconds of the gate in some loops over those of as many whole clips, the quickest of which counts."""
    passes = [seconds for each in found for seconds in each.gates]
    return sum(passes) / (len(passes) * min(each.gates[0] for each in found))


class Painter:
    """The painter with one chance, on one server; knows what it did in which window with which seed."""

    def __init__(self, run: Run, graph: Path, address: str, folder: Path) -> None:
        self.run, self.graph, self.address, self.folder = run, graph, address, folder
        self.clip = Clip(run.info, run.source, run.path("mask.mp4"), None)
        self.windows = plan_overlapping(run.info.frames, FRAMES, 0)
        self.gates: list[float] = []  # of the last loop

    def painted(self, seed: int) -> list[bool]:
        """Paint all windows with a seed; return in which it painted."""
        made = []
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch, ComfyOrchestrator(self.address) as comfy:
            graph, fit = load_workflow(str(self.graph)).graph, fit_into(WIDTH, HEIGHT, WIDTH, HEIGHT)
            painter = VacePainter(graph, [seed] * len(self.windows), self.run.info, fit, 8, None)
            kept = KeptWindows(Path(scratch) / "kept")
            server = OneServer(painter, comfy, kept, Path(scratch), lambda progress: None)
            for cut in read_windows(self.clip, self.windows):
                pairs = zip(cut.frames, cut.objects, server.generate(cut), strict=True)
                changes = [
                    np.abs(layers.object[mask].astype(int) - frame[mask]).mean() for frame, mask, layers in pairs
                ]
                made.append(bool(np.mean(changes) > PAINTED))
        return made

    def whole(self, seed: int) -> tuple[int, bool]:
        """Paint the whole clip with one seed after the other until all windows pass; return paintings, and if so."""
        before, began = len(history(self.address)), time.monotonic()
        done = False
        while not done and time.monotonic() - began < WHOLE_S:
            done = all(self.painted(seed))
            seed += 1
        return len(history(self.address)) - before, done

    def loop(self, seed: int) -> int:
        """Have the product's loop paint until all pass; return its paintings."""
        name, before = f"loop{seed}", len(history(self.address))
        given = [*arguments(self.run, self.graph, name, [self.address]), "--seed", str(seed), "--keep-windows"]

        def plan() -> tuple[int, object]:
            path = self.folder / "plan.json"
            reskin.main([*given, "--plan", str(path)], standalone_mode=False)
            return 0, json.loads(path.read_text())

        def paint(seeds: Sequence[int], settings: Sequence[int]) -> int:
            return int(reskin.main([*given, "--window-seeds", ",".join(map(str, seeds))], standalone_mode=False))

        def judge(last: bool) -> int:
            files = [
                "-original",
                str(self.run.path("mask.mp4")),
                "-generated",
                str(self.run.path(f"reskins/{name}/output.mp4")),
            ]
            more = ["--backend", "embedded", "--format", "json", *([] if last else ["--keep-track"])]
            began = time.perf_counter()
            try:
                return int(evaluate.main([*files, *more], standalone_mode=False) or 0)
            except GateFailed as error:
                return error.exit_code
            finally:
                if not last:  # of the same clip, with the same options: that is not done again
                    self.gates.append(time.perf_counter() - began)

        self.gates.clear()
        code = until_pass(self.run.dir, TAKES, seed, Work(plan, paint, judge), anew=True)
        if code:
            raise GateFailed(f"the loop ended with exit code {code}.")
        paintings, own = len(history(self.address)) - before, self.run.path(f"reskins/{name}")
        rounds = json.loads((own / "takes.json").read_text())["rounds"]
        if paintings != sum(len(each["paintings"]) for each in rounds):
            raise GateFailed(f"the server counted {paintings} paintings, takes.json other ones.")
        return paintings


def measure(folder: Path, address: str, chance: float) -> list[Measured]:
    """Measure both ways on some clips' worth of seeds."""
    run, found = make_run(folder / f"run{chance}", WINDOWS), []
    painter = Painter(run, workflow(folder, chance), address, folder)
    for clip in range(CLIPS_MEASURED[chance]):
        mine = painter.loop(1000 * clip)
        whole, done = painter.whole(1000 * clip)
        found.append(Measured(mine, whole, done, tuple(painter.gates)))
        click.echo(f"p {chance}, clip {clip}: {found[-1]}", err=True)
    return found


def two_servers(folder: Path, addresses: Sequence[str]) -> float:
    """Return the time of one take of eight windows on two servers over that on one."""
    run, graph, seconds = make_run(folder / "eight", EIGHT), workflow(folder, 1.0, SLEEP_S), dict[str, float]()
    for name, servers in (("warm", addresses), ("one", addresses[:1]), ("two", addresses)):
        given = arguments(run, workflow(folder, 1.0) if name == "warm" else graph, name, servers)
        began = time.perf_counter()
        reskin.main(given, standalone_mode=False)
        seconds[name] = time.perf_counter() - began
    click.echo(
        f"eight windows of {SLEEP_S:g} s: {seconds['one']:.1f} s on one server, {seconds['two']:.1f} s on two", err=True
    )
    return seconds["two"] / seconds["one"]


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[list[str]]:
    """Two servers with the painter's nodes."""
    python, source = ensure_env("comfyui"), ensure_source(ROOT / "comfyui" / "pins.toml", runs.cache_dir())
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(serve(python, source, folder / name, folder / f"{name}.log", nodes=NODES))
            for name in ("first", "second")
        ]


@click.command()
@click.option("--simulated", is_flag=True, help="Simulate only; no server is started.")
def main(simulated: bool) -> None:
    """Paintings until a clip passes, and one take on two servers."""
    click.echo("   W      p   ours   whole clips    ratio")
    for p in (0.5, 0.8):
        for windows in range(1, 61):
            mine, whole = averages(windows, p, CLIPS if windows < 20 else CLIPS // 10)
            click.echo(f"{windows:4d}  {p:5.2f}  {mine:5.1f}  {whole:12.5g}  {whole / mine:7.4g}")
    mine, whole = averages(WINDOWS, P)
    figures = {"p": P, "windows": WINDOWS, "simulated_ratio": round(whole / mine, 2), "ours": mine / WINDOWS}
    if not simulated:
        with tempfile.TemporaryDirectory() as name, servers(Path(name)) as addresses:
            for key, p in (("paintings_ratio", 0.5), ("easy_ratio", 0.8)):
                found = measure(Path(name), addresses[0], p)
                figures[key] = round(sum(each.whole for each in found) / sum(each.loop for each in found), 2)
                if p == P:
                    figures["gate_seconds_ratio"] = round(gate_ratio(found), 2)
            figures |= {"two_servers_ratio": round(two_servers(Path(name), addresses), 3)}
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
