"""A whole evaluation against decoding and tracking alone, each a process of its own, on the demo clip.

The reference does what no gate of this kind can do without, one thing after the other: it decodes source, generated
clip and both masks once, then tracks in the generated clip with the same tracker from the same box. The evaluation is
the stage's command on the same run folder, with every check and every report (the skater's second skeleton is another
stage's work, and not in it). It is measured twice: as it is, and without its two questions beside the IoU:
whether the object is new, and what the witnesses say of the mask. All start Python and load the same packages.
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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.turns import take_turns
from evaluator import scoring, stage
from evaluator.cli import command
from evaluator.retrack import Setup, retrack
from handoff.detections.coco import class_number
from handoff.detections.samples import DETECTIONS, Detection, DetectionWriter, Header, Sample
from handoff.errors import GateFailed
from handoff.ingest import ingest
from handoff.masks import bounds, read_masks
from handoff.places import Box, Detected, Place, Prompt, write_prompt
from handoff.poses import N_KEYPOINTS, Person, PoseWriter
from handoff.run import Run, run_stage
from handoff.video import read_frames
from tracker.embedded.backend import EmbeddedBackend

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 3
REFERENCE, WITHOUT, WHOLE = PARTS = ("decoding and tracking", "evaluation without its questions", "whole evaluation")
GENERATED = {part: f"reskins/{number}/output.mp4" for number, part in enumerate(PARTS)}
"""Each has its own: an evaluation holds its reskin alone."""


@dataclass(frozen=True)
class Cost:
    """Of a process: s on the clock, and s of all its threads on the processor."""

    wall_s: float
    cpu_s: float


def decode_and_track(run: Path, frame: int, box: Box) -> None:
    """The reference."""
    clips: list[Iterable[object]] = [read_frames(run / name) for name in ("source.mp4", GENERATED[REFERENCE])]
    masks = [read_masks(run / name) for name in ("mask.mp4", "human_mask.mp4")]
    setup = Setup(EmbeddedBackend(), (Place(frame, box),), "flag")
    for each in (*clips, *masks, retrack(run / GENERATED[REFERENCE], setup)):
        deque(each, maxlen=0)


def demo_run(folder: Path) -> tuple[Path, list[str]]:
    """Make a run folder of the demo clip, its truth for the mask; return it and the options that say where the box is.

    The generated clip is the clip itself, and the truth stands in for the skater's masks too: what is in the pictures
    costs nothing. All witnesses have something to say in every frame that shows the object: he is detected in every
    second frame, and his mask lies on a skater with all his limbs.
    """
    demo = Path(os.environ["DEMO_CLIP"])
    place = json.loads((demo / "truth.json").read_text())["prompt"]
    prompt = Prompt(Box(*place["box"]), place["frame"], "detector", detected=Detected("skateboard", 0.8, "truth"))
    run = ingest(demo / "demo.mp4", folder)
    for generated in map(run.path, GENERATED.values()):
        generated.parent.mkdir(parents=True)
        shutil.copy(run.source, generated)
    with run_stage(run, "posegen", params={}, inputs=[run.source], tools={}) as made:
        for path in _extracted(run, demo / "truth.mp4"):
            made.add_output(path)
        write_prompt(run, "object", prompt)
    return run.dir, ["-bbox", str(prompt.box), "--frame", str(prompt.frame)]


def _extracted(run: Run, truth: Path) -> Iterator[Path]:
    """Write what extraction would make, of the truth, and yield the files."""
    for name in ("mask.mp4", "human_mask.mp4", "person_mask.mp4"):
        yield Path(shutil.copy(truth, run.path(name)))
    info, label = run.info, class_number("skateboard")
    header = Header("truth", "0" * 64, 0.1, 2, info.width, info.height, run.manifest["source"]["fps"], info.frames)
    rows, columns = np.divmod(np.arange(N_KEYPOINTS, dtype=np.float32), 2)
    points = np.stack([info.width / 2 + 20 * columns, 10 * rows % info.height], axis=1)
    person = Person(Box(0, 0, info.width, info.height), points, np.ones(N_KEYPOINTS, np.float32))
    with (
        DetectionWriter(run.path(DETECTIONS), header) as detections,
        PoseWriter(run.path("pose.json"), info, {"model": "truth"}) as poses,
    ):
        for frame, mask in enumerate(read_masks(truth)):
            poses.write([person])
            box = bounds(mask)
            if frame % header.every == 0 or frame == info.frames - 1:
                detections.write(Sample(frame, [Detection(label, 0.8, box)] if box else []))
    yield from (run.path(DETECTIONS), run.path("pose.json"))


def start(part: str, run: Path, place: list[str]) -> subprocess.Popen[str]:
    """Start a process that does one of PARTS and then prints "done"; it is frozen at once.

    Code is compiled once, as on a user's machine, whatever this one has set.
    """
    command = [sys.executable, "-m", "bench.end_to_end", part, str(run), *place]
    env = os.environ | {"PYTHONPYCACHEPREFIX": str(run / ".compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    os.kill(child.pid, signal.SIGSTOP)
    return child


def end_to_end(folder: Path) -> dict[str, Cost]:
    """Return what each of PARTS costs: the sum over some rounds, in which they take turns; one before them compiles.

    Raises GateFailed where one of them ends without being done; the others, which are frozen, end then too.
    """
    run, place = demo_run(folder)
    costs = dict.fromkeys(PARTS, Cost(0.0, 0.0))
    for number in range(1 + ROUNDS):
        with contextlib.ExitStack() as stack:
            children = {}
            for part in PARTS:
                children[part] = child = stack.enter_context(start(part, run, place))
                stack.callback(child.kill)
            seconds = take_turns(children)
            for part, child in children.items():
                _, status, spent = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(status)
                if child.returncode:
                    raise GateFailed(f"the measured process '{part}' ended with exit code {child.returncode}.")
                if number:
                    cpu_s = costs[part].cpu_s + spent.ru_utime + spent.ru_stime
                    costs[part] = Cost(costs[part].wall_s + seconds[part], cpu_s)
    return costs


def main(part: str, run: Path, place: list[str]) -> None:
    """One of PARTS, in a process of its own."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        if part == REFERENCE:
            decode_and_track(run, int(place[3]), Box(*map(float, place[1].split(","))))
        else:
            if part == WITHOUT:
                scoring._new = lambda _: None  # type: ignore[assignment]
                stage.witnesses_of = lambda *_: None  # type: ignore[assignment]
            files = ["-original", str(run / "mask.mp4"), "-generated", str(run / GENERATED[part])]
            command.main([*files, *place, "--backend", "embedded", "--force"], standalone_mode=False)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
