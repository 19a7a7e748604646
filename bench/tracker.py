"""Measure the SAM 2.1 tracker against upstream's plain loop: the same clip, weights and masks, in the same run.

    python -m bench.tracker [--frames 300] [--image-size 256] [--threads 1]

The last line is one JSON object:
    throughput_ratio          frames/s of ours over frames/s of upstream's loop; from the clip to masks on disk (PNG and
                              MP4), model loading not counted
    rss_mb_per_frame          growth of our resident memory a frame, MB: the most it is while masks come, in a run over
                              all frames, against a run over the first 60
    upstream_rss_mb_per_frame the same for upstream's loop

Upstream's loop is `init_state` on a folder of frames, one box, `propagate_in_video`, each mask written when it comes.
The folder costs it least: uncompressed BMP data in files named .jpg. Both must give the same masks, or it fails.
Each runs in a process of its own with the same number of torch threads. The two take turns of two seconds, one frozen
while the other works, so that whatever else the machine does slows both alike. The weights are random: time and
memory do not depend on them.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from bench.scenes import moving_scene
from bench.standin import small_predictor, write_checkpoint
from bench.turns import answer, start, take_turns
from handoff.errors import GateFailed
from handoff.files import sha256_tree
from handoff.masks import MaskSequenceWriter
from handoff.places import Box
from handoff.threads import Behind
from handoff.video import ClipInfo, VideoWriter, probe, read_frames
from tracker.sam2.frames import ClipFrames
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session

NAMES = ("ours", "upstream")
SHORT_FRAMES = 60
BOX = Box(20, 20, 200, 180)
WIDTH, HEIGHT = 640, 360

Mask = NDArray[np.bool_]


def ours(predictor: Predictor, clip: Path, info: ClipInfo, folder: Path) -> Iterator[Mask]:
    """This project's loop: decoding ahead of the model."""
    with Sam2Session(predictor, ClipFrames(clip, info), spool_dir=folder) as session:
        session.add_prompt(0, 1, box=BOX)
        for _, logits, _ in session.propagate():
            yield logits[1] > 0


def upstream(predictor: Any, clip: Path, info: ClipInfo, folder: Path) -> Iterator[Mask]:
    """Upstream's loop, as its examples show it."""
    frames = folder / "frames"
    frames.mkdir()
    for index, frame in enumerate(read_frames(clip, 0, info.frames)):
        data = cv2.imencode(".bmp", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1]
        (frames / f"{index:05d}.jpg").write_bytes(data.tobytes())
    state = predictor.init_state(str(frames))
    predictor.add_new_points_or_box(state, frame_idx=0, obj_id=1, box=np.array(BOX.as_list(), np.float32))
    for _, _, logits in predictor.propagate_in_video(state):
        yield (logits[0, 0] > 0.0).cpu().numpy()


def child(name: str, folder: Path, sha256: str, frames: int, image_size: int) -> dict[str, object]:
    """One measured run, in a process of its own: says "ready" when the model is loaded, begins when told to."""
    clip = folder / "clip.mp4"
    info = probe(clip)
    info = ClipInfo(info.width, info.height, info.fps, frames)
    predictor = small_predictor(folder / "weights.pt", sha256, image_size)
    peak_mb, pixels = 0.0, 0
    with tempfile.TemporaryDirectory(dir=folder) as scratch, contextlib.ExitStack() as stack:
        out = Path(scratch)
        print("ready", flush=True)
        sys.stdin.readline()
        writer = MaskSequenceWriter(out / "mask.mp4", out / "masks", info.fps, info.width, info.height)
        write: Callable[[Mask], None] = stack.enter_context(writer).write
        if name == "ours":
            write = stack.enter_context(Behind(write, 4)).put
        for mask in (ours if name == "ours" else upstream)(predictor, clip, info, out):
            write(mask)
            peak_mb, pixels = max(peak_mb, resident_mb()), pixels + int(mask.sum())
        stack.close()
        print("done", flush=True)
        return {"peak_mb": peak_mb, "object": pixels / (frames * WIDTH * HEIGHT), "masks": sha256_tree(out / "masks")}


def resident_mb() -> float:
    """Resident memory of this process now, MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def measure(folder: Path, sha256: str, frames: int, image_size: int, threads: int) -> dict[str, dict[str, Any]]:
    """Run both over that many frames, in turns; per name what `child` found and the seconds that it was let run."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    arguments = [str(folder), sha256, str(frames), str(image_size), str(threads)]
    found: dict[str, dict[str, Any]] = {}
    with contextlib.ExitStack() as stack:
        children = start(stack, NAMES, "bench.tracker", arguments, environment)
        seconds = take_turns(children)
        for name, process in children.items():
            found[name] = json.loads(answer(process)) | {"seconds": seconds[name]}
            speed = frames / seconds[name]
            click.echo(f"{name:9} {frames:4} frames {speed:7.2f} frames/s {found[name]['peak_mb']:7.1f} MB", err=True)
    return found


@click.command()
@click.option("--frames", default=300, show_default=True)
@click.option("--image-size", default=256, show_default=True, help="px, of the model.")
@click.option("--threads", default=1, show_default=True, help="Torch's threads.")
def main(frames: int, image_size: int, threads: int) -> None:
    """Throughput and memory of the SAM 2.1 tracker, as ratios to upstream's plain loop."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sha256 = write_checkpoint(folder / "weights.pt", image_size)
        with VideoWriter(folder / "clip.mp4", Fraction(25), WIDTH, HEIGHT) as writer:
            for frame in moving_scene(frames, WIDTH, HEIGHT):
                writer.write(frame)
        short = measure(folder, sha256, min(SHORT_FRAMES, frames // 2), image_size, threads)
        full = measure(folder, sha256, frames, image_size, threads)
    if full["ours"]["masks"] != full["upstream"]["masks"]:
        raise GateFailed("the masks of the two are not the same.")
    click.echo(f"the same {frames} masks from both; object in {full['ours']['object']:.1%} of their pixels", err=True)
    more = frames - min(SHORT_FRAMES, frames // 2)
    growth = {name: (full[name]["peak_mb"] - short[name]["peak_mb"]) / more for name in NAMES}
    result = {
        "throughput_ratio": round(full["upstream"]["seconds"] / full["ours"]["seconds"], 3),
        "rss_mb_per_frame": round(growth["ours"], 4),
        "upstream_rss_mb_per_frame": round(growth["upstream"], 4),
    }
    click.echo(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        which, where, digest, count, size, torch_threads = sys.argv[2:]
        torch.set_num_threads(int(torch_threads))
        print(json.dumps(child(which, Path(where), digest, int(count), int(size))))
    else:
        main()
