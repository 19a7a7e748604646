"""Measure the SAM 2.1 tracker against upstream's plain loop: the same clip, weights and masks, in the same run.

    python -m bench.tracker [--frames 300] [--image-size 256] [--rounds 2]

The last line is one JSON object:
    throughput_ratio          frames/s of ours over frames/s of upstream's loop; from the clip to masks on disk (PNG and
                              MP4), model loading not counted, the best of --rounds runs of each, taken in turn
    rss_mb_per_frame          growth of our peak memory a frame, MB: a run over all frames against one over the first 60
    upstream_rss_mb_per_frame the same for upstream's loop

Upstream's loop is `init_state` on a folder of frames, one box, `propagate_in_video`, each mask written when it comes.
The folder costs it least: uncompressed BMP data in files named .jpg. Both must give the same masks, or it fails.
Every run is a process of its own with the same number of torch threads. The weights are random: time and memory
do not depend on them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handoff.box import Box
from handoff.errors import GateFailed
from handoff.hashing import sha256_tree
from handoff.masks import MaskSequenceWriter
from handoff.video import ClipInfo, VideoWriter, probe, read_frames
from tests.sam2.standin import moving_scene, small_predictor, write_checkpoint
from tracker.sam2.lazy_frames import ClipFrames
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session
from tracker.sam2.threads import Behind

ROOT = Path(__file__).resolve().parent.parent
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
    """One measured run, in a process of its own."""
    clip = folder / "clip.mp4"
    info = probe(clip)
    info = ClipInfo(info.width, info.height, info.fps, frames)
    predictor = small_predictor(folder / "weights.pt", sha256, image_size)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        out = Path(scratch)
        loop = ours if name == "ours" else upstream
        started = time.perf_counter()
        with MaskSequenceWriter(out / "mask.mp4", out / "masks", info.fps, info.width, info.height) as writer:
            if name == "ours":
                with Behind(writer.write, 4) as behind:
                    for mask in loop(predictor, clip, info, out):
                        behind.put(mask)
            else:
                for mask in loop(predictor, clip, info, out):
                    writer.write(mask)
        seconds = time.perf_counter() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        return {"seconds": seconds, "peak_mb": peak_mb, "masks": sha256_tree(out / "masks")}


def measure(name: str, folder: Path, sha256: str, frames: int, image_size: int, threads: int) -> dict[str, Any]:
    """Run `child` in a new process and return what it found."""
    arguments = [name, str(folder), sha256, str(frames), str(image_size), str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bench.tracker", "--child", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=environment,
        cwd=ROOT,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    click.echo(
        f"{name:9} {frames:4} frames  {frames / found['seconds']:7.2f} frames/s  peak {found['peak_mb']:7.1f} MB",
        err=True,
    )
    return found


@click.command()
@click.option("--frames", default=300, show_default=True)
@click.option("--image-size", default=256, show_default=True, help="px, of the model.")
@click.option("--rounds", default=2, show_default=True, help="Full runs of each; the fastest counts.")
@click.option("--threads", default=2, show_default=True, help="Torch's threads.")
def main(frames: int, image_size: int, rounds: int, threads: int) -> None:
    """Throughput and memory of the SAM 2.1 tracker, as ratios to upstream's plain loop."""
    names = ("ours", "upstream")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sha256 = write_checkpoint(folder / "weights.pt", image_size)
        with VideoWriter(folder / "clip.mp4", Fraction(25), WIDTH, HEIGHT) as writer:
            for frame in moving_scene(frames, WIDTH, HEIGHT):
                writer.write(frame)
        short = {name: measure(name, folder, sha256, SHORT_FRAMES, image_size, threads) for name in names}
        full: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                full[name].append(measure(name, folder, sha256, frames, image_size, threads))
    digests = {run["masks"] for runs in full.values() for run in runs}
    if len(digests) != 1:
        raise GateFailed(f"the masks are not the same: {digests}")
    seconds = {name: min(run["seconds"] for run in full[name]) for name in names}
    growth = {
        name: (max(run["peak_mb"] for run in full[name]) - short[name]["peak_mb"]) / (frames - SHORT_FRAMES)
        for name in names
    }
    click.echo(
        json.dumps(
            {
                "throughput_ratio": round(seconds["upstream"] / seconds["ours"], 3),
                "rss_mb_per_frame": round(growth["ours"], 4),
                "upstream_rss_mb_per_frame": round(growth["upstream"], 4),
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        which, where, digest, count, size, torch_threads = sys.argv[2:]
        torch.set_num_threads(int(torch_threads))
        print(json.dumps(child(which, Path(where), digest, int(count), int(size))))
    else:
        main()
