"""Peak memory of each stage of extract and evaluate at 100 and at 2,000 frames: does it grow with the clip?

    make bench-memory

The clip is the demo clip played forward and backward until it is long enough. Each stage runs as its own process, as a
user's would, the evaluator with its tracker, every figure and every report; its peak resident set is the kernel's own
count (VmHWM). The last line is one JSON object: for each stage
the peaks in MB, and the growth in MB a frame between them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from handoff.video import Frame, VideoWriter, probe, read_frames
from runner.envs import ensure_env
from runner.process import stage_environment

LENGTHS = (100, 2000)
_SAMPLE_S = 0.05


def there_and_back(clip: Path) -> Iterator[Frame]:
    """Yield the clip's frames forward, backward, forward, ... for ever, so that nothing jumps."""
    frames = list(read_frames(clip))
    return cycle([*frames, *frames[-2:0:-1]])


def lengthen(clip: Path, output: Path, count: int) -> None:
    """Write a clip of `count` frames."""
    info = probe(clip)
    with VideoWriter(output, info.fps, info.width, info.height, crf=12) as writer:
        for frame in islice(there_and_back(clip), count):
            writer.write(frame)


def peak_mb(stage: str, *arguments: object, allowed: tuple[int, ...] = (0,)) -> float:
    """Run one stage's command and return its peak resident set in MB.

    VmHWM is asked for until the process ends: unlike wait4's ru_maxrss it does not count what the process that
    started it held before exec.
    """
    command = [str(ensure_env(stage)), "-m", stage, *(str(each) for each in arguments)]
    child = subprocess.Popen(command, env=stage_environment(), stdout=subprocess.DEVNULL)
    status, peak_kb = Path(f"/proc/{child.pid}/status"), 0
    while child.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        peak_kb = int(found.group(1)) if found else peak_kb  # a process that is ending has none
        time.sleep(_SAMPLE_S)
    if child.returncode not in allowed:
        raise SystemExit(f"{stage} ended with exit code {child.returncode}")
    return peak_kb / 1024


def measure(clip: Path, folder: Path, box: str, frame: int) -> dict[str, float]:
    """Run posegen, tracker and evaluator on one clip; the evaluator tracks the source itself again."""
    run = folder / "run"
    peaks = {"ingest": peak_mb("tracker", "-i", clip, "--run", run, "--bbox", box, "--frame", frame, "--check")}
    peaks["posegen"] = peak_mb("posegen", "--run", run)
    peaks["tracker"] = peak_mb("tracker", "--run", run, "--backend", "embedded")
    pair = ("-original", run / "mask.mp4", "-generated", run / "source.mp4", "--output", folder / "report")
    peaks["evaluator"] = peak_mb("evaluator", *pair, allowed=(0, 1))
    return peaks


def main() -> None:
    """Measure both lengths and print the figures."""
    demo = Path(os.environ["DEMO_CLIP"])
    prompt = json.loads((demo / "truth.json").read_text())["prompt"]
    box = ",".join(str(value) for value in prompt["box"])
    results = []
    for length in LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / "clip.mp4"
            lengthen(demo / "demo.mp4", clip, length)
            results.append(measure(clip, Path(folder), box, prompt["frame"]))
        figures = ", ".join(f"{stage} {peak:.0f} MB" for stage, peak in results[-1].items())
        print(f"{length} frames: {figures}", flush=True)
    span = LENGTHS[1] - LENGTHS[0]
    summary = {
        stage: {
            **{f"mb_at_{length}": round(each[stage], 1) for length, each in zip(LENGTHS, results, strict=True)},
            "mb_per_frame": round((results[1][stage] - results[0][stage]) / span, 4),
        }
        for stage in results[0]
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    sys.exit(main())
