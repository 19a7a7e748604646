"""A whole evaluation against decoding and tracking alone, each a process of its own, on the demo clip.

The reference does what no gate of this kind can do without, one thing after the other: it decodes source, generated
clip and both masks once, then tracks in the generated clip with the same tracker from the same box. The evaluation is
the stage's command on the same run folder, with every check and every report (the skater's second skeleton is another
stage's work, and not in it). Both start Python and load the same packages.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.turns import take_turns
from evaluator.cli import command
from evaluator.retrack import Setup, retrack
from handoff.errors import GateFailed
from handoff.ingest import ingest
from handoff.masks import read_masks
from handoff.places import Box, Place
from handoff.video import read_frames
from tracker.embedded.backend import EmbeddedBackend

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
REFERENCE, WHOLE = PARTS = ("decoding and tracking", "whole evaluation")
GENERATED = "reskins/demo/output.mp4"


@dataclass(frozen=True)
class Cost:
    """Of a process: s on the clock, and s of all its threads on the processor."""

    wall_s: float
    cpu_s: float


def decode_and_track(run: Path, frame: int, box: Box) -> None:
    """The reference."""
    clips: list[Iterable[object]] = [read_frames(run / name) for name in ("source.mp4", GENERATED)]
    masks = [read_masks(run / name) for name in ("mask.mp4", "human_mask.mp4")]
    setup = Setup(EmbeddedBackend(), (Place(frame, box),), "flag")
    for each in (*clips, *masks, retrack(run / GENERATED, setup)):
        deque(each, maxlen=0)


def demo_run(folder: Path) -> tuple[Path, list[str]]:
    """Make a run folder of the demo clip, its truth for the mask; return it and the options that say where the box is.

    The generated clip is the clip itself, and the truth stands in for the skater's mask too: what is in the pictures
    costs nothing.
    """
    demo = Path(os.environ["DEMO_CLIP"])
    prompt = json.loads((demo / "truth.json").read_text())["prompt"]
    run = ingest(demo / "demo.mp4", folder)
    generated = run.path(GENERATED)
    generated.parent.mkdir(parents=True)
    shutil.copy(run.source, generated)
    for name in ("mask.mp4", "human_mask.mp4"):
        shutil.copy(demo / "truth.mp4", run.path(name))
    return run.dir, ["-bbox", str(Box(*prompt["box"])), "--frame", str(prompt["frame"])]


def start(part: str, run: Path, place: list[str]) -> subprocess.Popen[str]:
    """Start a process that does one of PARTS and then prints "done"; it is frozen at once."""
    command = [sys.executable, "-m", "bench.end_to_end", part, str(run), *place]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    os.kill(child.pid, signal.SIGSTOP)
    return child


def end_to_end(folder: Path) -> dict[str, Cost]:
    """Return what each of PARTS costs: the sum over some rounds, in which the two take turns."""
    run, place = demo_run(folder)
    costs = dict.fromkeys(PARTS, Cost(0.0, 0.0))
    for _ in range(ROUNDS):
        children = {part: start(part, run, place) for part in PARTS}
        seconds = take_turns(children)
        for part, child in children.items():
            _, status, spent = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                raise GateFailed(f"the measured process '{part}' ended with exit code {child.returncode}.")
            cpu_s = costs[part].cpu_s + spent.ru_utime + spent.ru_stime
            costs[part] = Cost(costs[part].wall_s + seconds[part], cpu_s)
    return costs


def main(part: str, run: Path, place: list[str]) -> None:
    """One of PARTS, in a process of its own."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        if part == REFERENCE:
            decode_and_track(run, int(place[3]), Box(*map(float, place[1].split(","))))
        else:
            files = ["-original", str(run / "mask.mp4"), "-generated", str(run / GENERATED)]
            command.main([*files, *place, "--backend", "embedded", "--force"], standalone_mode=False)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
