"""Measure the evaluator's arithmetic against the definitions as one would first write them, on one thread.

    make bench-evaluator

The last line is one JSON object, time of the plain code over ours, on 832x480 and on 1920x1080 px:
    iou_ratio_480p, iou_ratio_1080p   IoU: numpy's flatten, logical_and, logical_or
    jf_ratio_480p, jf_ratio_1080p     IoU and boundary F: the same, and DAVIS's way of whole frames, dilated with a disk
    end_to_end_ratio                  a whole evaluation of the demo clip over decoding and tracking alone, on the
                                      clock; here less is better (bench/end_to_end.py)
    end_to_end_cpu_ratio              the same in processor time, of all threads
    questions_cpu_ratio               a whole evaluation over one that does not ask whether the object is new, nor hears
                                      the witnesses, in processor time

Each pair of masks must give equal values in both, or it fails. The masks are a board of 1 %, 5 % and 20 % of the
frame against itself moved, turned and frayed. The two are measured in turn; a ratio is that of the shortest times,
summed over the pairs. Above the last line stands the peak memory of scoring mask against mask at 100 and at 2,000
frames.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from bench.end_to_end import REFERENCE, WHOLE, WITHOUT, end_to_end
from evaluator.figures import boundary_f, crop_around, tolerance_px
from handoff.errors import GateFailed
from handoff.masks import as_bytes, mask_iou
from handoff.threads import opencv_on_one_thread
from handoff.video import VideoWriter

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"480p": (480, 832), "1080p": (1080, 1920)}
SHARES = (0.01, 0.05, 0.20)
TURNS_S = 3.0
LENGTHS = (100, 2000)

Mask = NDArray[np.bool_]
Measure = Callable[[Mask, Mask], tuple[float, ...]]


def board(height: int, width: int, share: float, moved: float = 0.0, fray: int = 0) -> Mask:
    """An ellipse three times as long as thick with that share of the frame, (H, W) bool, its edge frayed by a seed."""
    thick = math.sqrt(share * height * width / (3 * math.pi))
    centre = round(width / 2 + moved), round(height / 2 + moved / 2)
    canvas = np.zeros((height, width), np.float32)
    cv2.ellipse(canvas, centre, (round(3 * thick), round(thick)), 12 + moved, 0, 360, (1.0,), -1)
    noise = np.random.default_rng(fray).standard_normal((height // 8, width // 8)).astype(np.float32)
    edge = cv2.GaussianBlur(canvas, (0, 0), 3) + 0.15 * cv2.resize(noise, (width, height))
    return np.asarray((edge > 0.5) & (cv2.GaussianBlur(canvas, (0, 0), 9) > 0.05))


def plain_iou(original: Mask, generated: Mask) -> tuple[float, ...]:
    """The textbook's."""
    first, second = original.flatten(), generated.flatten()
    union = np.logical_or(first, second).sum()
    return (float(np.logical_and(first, second).sum() / union) if union else 1.0,)


def plain_jf(original: Mask, generated: Mask) -> tuple[float, ...]:
    """DAVIS's measures over the whole frame: boundary maps from shifted copies, dilation with a disk."""
    reach = math.ceil(0.008 * np.linalg.norm(original.shape))
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x * x + y * y <= reach * reach).astype(np.uint8)
    first, second = plain_boundary(generated), plain_boundary(original)
    precision = (first & (cv2.dilate(second.astype(np.uint8), disk) > 0)).sum() / first.sum()
    recall = (second & (cv2.dilate(first.astype(np.uint8), disk) > 0)).sum() / second.sum()
    return (*plain_iou(original, generated), float(2 * precision * recall / (precision + recall)))


def plain_boundary(mask: Mask) -> Mask:
    """A mask's boundary map as DAVIS's tools make it."""
    right, below, both = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    right[:, :-1], below[:-1], both[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    edge = (mask ^ right) | (mask ^ below) | (mask ^ both)
    edge[-1], edge[:, -1] = mask[-1] ^ right[-1], mask[:, -1] ^ below[:, -1]
    edge[-1, -1] = False
    return np.asarray(edge)


def our_iou(original: Mask, generated: Mask) -> tuple[float, ...]:
    """The gate's."""
    return (mask_iou(original, generated),)


def our_jf(original: Mask, generated: Mask) -> tuple[float, ...]:
    """The gate's, with the boundary measure on the same crop that `evaluator.figures.shape` takes."""
    x, y, width, height = cv2.boundingRect(cv2.bitwise_or(as_bytes(original), as_bytes(generated)))
    crop = crop_around((x, y, width, height))
    first, second = np.ascontiguousarray(original[crop]), np.ascontiguousarray(generated[crop])
    return (*our_iou(original, generated), boundary_f(first, second, tolerance_px(*original.shape)))


def fastest(measures: tuple[Measure, Measure], pair: tuple[Mask, Mask]) -> tuple[float, float]:
    """The shortest time of each, s, measured in turn, so that whatever else the machine does meets both alike."""
    best = [math.inf, math.inf]
    ending = time.perf_counter() + TURNS_S
    while time.perf_counter() < ending:
        for index, measure in enumerate(measures):
            started = time.perf_counter()
            measure(*pair)
            best[index] = min(best[index], time.perf_counter() - started)
    return best[0], best[1]


def ratio(plain: Measure, ours: Measure, pairs: list[tuple[Mask, Mask]]) -> float:
    """Time of the plain code over ours; raise GateFailed where the values differ."""
    for pair in pairs:
        if not np.allclose(plain(*pair), ours(*pair), rtol=0, atol=1e-12):
            raise GateFailed(f"{plain.__name__} and {ours.__name__} differ: {plain(*pair)} and {ours(*pair)}.")
    best = [sum(each) for each in zip(*(fastest((plain, ours), pair) for pair in pairs), strict=True)]
    names = ((plain.__name__, best[0]), (ours.__name__, best[1]))
    click.echo(", ".join(f"{name} {1000 * each / len(pairs):.3f} ms a frame" for name, each in names), err=True)
    return best[0] / best[1]


def peak_mb(folder: Path, frames: int) -> float:
    """Peak resident memory of `python -m evaluator` on two mask videos of that many frames of 832x480 px, MB."""
    for name, seed in (("a", 1), ("b", 2)):
        boards = [board(480, 832, 0.02, step, seed) for step in range(20)]
        with VideoWriter(folder / f"{name}.mp4", Fraction(25), 832, 480, mode="mask", preset="ultrafast") as writer:
            for index in range(frames):
                writer.write(boards[index % 20].astype(np.uint8) * np.uint8(255))
    files = ["-original", str(folder / "a.mp4"), "--generated-mask", str(folder / "b.mp4")]
    command = [sys.executable, "-m", "evaluator", *files, "--output", str(folder / "report")]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    status, peak_kb = Path(f"/proc/{child.pid}/status"), 0
    while child.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        peak_kb = int(found.group(1)) if found else peak_kb
        time.sleep(0.05)
    if child.returncode not in (0, 1):
        raise GateFailed(f"the evaluator ended with exit code {child.returncode}.")
    return peak_kb / 1024


@click.command()
@click.option("--only-ratios", is_flag=True, help="Leave out memory and the whole evaluation.")
def main(only_ratios: bool) -> None:
    """Time and memory of the evaluator."""
    result = {}
    with opencv_on_one_thread():
        for size, (height, width) in SIZES.items():
            masks = [(board(height, width, share), share) for share in SHARES]
            pairs = [(mask, board(height, width, share, 4.0, 1)) for mask, share in masks]
            click.echo(f"{size}: IoU {', '.join(f'{our_iou(*pair)[0]:.3f}' for pair in pairs)}", err=True)
            result[f"iou_ratio_{size}"] = round(ratio(plain_iou, our_iou, pairs), 2)
            result[f"jf_ratio_{size}"] = round(ratio(plain_jf, our_jf, pairs), 2)
    if not only_ratios:
        with tempfile.TemporaryDirectory() as scratch:
            peaks = [peak_mb(Path(scratch), length) for length in LENGTHS]
            said = ", ".join(f"{length} frames {peak:.0f} MB" for length, peak in zip(LENGTHS, peaks, strict=True))
            click.echo(f"peak memory, mask against mask: {said}", err=True)
            costs = end_to_end(Path(scratch) / "run")
            for name, each in costs.items():
                click.echo(f"demo clip, {name}: {each.wall_s:.1f} s, {each.cpu_s:.1f} s of processor time", err=True)
            plain, whole = costs[REFERENCE], costs[WHOLE]
            result["end_to_end_ratio"] = round(whole.wall_s / plain.wall_s, 2)
            result["end_to_end_cpu_ratio"] = round(whole.cpu_s / plain.cpu_s, 2)
            result["questions_cpu_ratio"] = round(whole.cpu_s / costs[WITHOUT].cpu_s, 3)
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
