"""Measure the pose stage's RTMW against rtmlib's own loop: the same ONNX files, clip and cores, in the same run.

    python -m bench.posegen [--clip clip.mp4] [--yolox yolox_nano.onnx] [--gmacs 17.7]

The last line is one JSON object:
    throughput_ratio        frames/s of ours over frames/s of rtmlib's loop, with a pose network that costs what RTMW-l
                            does (17.7 GMACs a crop); model loading not counted
    throughput_ratio_light  the same with a network of 0.15 GMACs: what is left when the network itself takes a few
                            milliseconds, as on a GPU
    rss_mb_per_frame        growth of our peak resident memory a frame, MB, from 200 to 1,000 frames; the real command,
                            with every file that it writes

rtmlib's loop is its example's: OpenCV's reader, YOLOX on every frame, RTMPose on every person, one crop a call. Ours is
the stage's own code: detections.json of every N-th frame, the skater's boxes, RtmwBackend. Both get ONNX Runtime's own
number of threads. Each runs in a process of its own; the two take turns of two seconds, one frozen while the other
works. The pose network's weights are random: time and memory do not depend on them. The detector is the real one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import cv2

from bench.memory import lengthen
from bench.rtmw_net import HEIGHT, WIDTH, write_network
from bench.turns import ROOT, answer, start, take_turns
from handoff.errors import GateFailed, MissingError
from handoff.ingest import ingest
from handoff.run import Run
from handoff.video import probe, read_frames
from posegen.choice import EVERY
from posegen.detect.sampling import detect_clip
from posegen.detect.yolox import open_detector
from posegen.extractor import SkaterPoseExtractor
from posegen.models import DETECTORS
from posegen.rtmw_backend import RtmwBackend
from posegen.stage import find

SHARED = ROOT.parent / "shared"
NAMES = ("ours", "rtmlib")
LIGHT_GMACS = 0.15
LENGTHS = (200, 1000)
PERSON_SCORE = 0.3


def ours(folder: Path) -> dict[str, int]:
    """The stage's code, from the clip to every frame's keypoints."""
    run = Run.open(folder / "run")
    detector = open_detector("nano", "auto")
    backend = RtmwBackend()
    _ = backend.network  # loaded now
    begin()
    detections, _ = detect_clip(run, DETECTORS["nano"], detector, EVERY)
    boxes = find(run, detections, "skateboard").skater.boxes
    poses = list(SkaterPoseExtractor(backend).extract(read_frames(run.source), boxes))
    crops = sum(box is not None for box in boxes)
    return {"frames": len(poses), "crops": crops, "detections": -(-len(poses) // EVERY)}


def rtmlibs(folder: Path) -> dict[str, int]:
    """rtmlib's loop; where it sees nobody no pose is asked for, as its Wholebody would."""
    from rtmlib import YOLOX, RTMPose

    models = folder / "models"
    detect = YOLOX(str(models / "detect/yolox_nano.onnx"), model_input_size=(416, 416), score_thr=PERSON_SCORE)
    estimate = RTMPose(str(models / "pose/rtmw.onnx"), model_input_size=(WIDTH, HEIGHT))
    begin()
    clip = cv2.VideoCapture(str(folder / "run" / "source.mp4"))
    frames = crops = 0
    while True:
        there, frame = clip.read()
        if not there:
            return {"frames": frames, "crops": crops, "detections": frames}
        boxes = detect(frame)
        if len(boxes):
            crops += len(estimate(frame, boxes)[0])
        frames += 1


def begin() -> None:
    """Say that the models are loaded, and wait for the word."""
    print("ready", file=sys.__stdout__, flush=True)
    sys.stdin.readline()


def child(name: str, folder: Path) -> None:
    """One measured run, in a process of its own."""
    with contextlib.redirect_stdout(sys.stderr):  # what the two print on their way is none of the measurement's
        result = (ours if name == "ours" else rtmlibs)(folder)
    print("done", flush=True)
    print(json.dumps(result), flush=True)


def prepare(folder: Path, clip: Path, yolox: Path, gmacs: float, frames: int) -> dict[str, str]:
    """Put clip, weights and their registry into `folder`; returns the environment that finds them."""
    models = folder / "models"
    for name in ("detect", "pose"):
        (models / name).mkdir(parents=True)
    (models / "detect/yolox_nano.onnx").write_bytes(yolox.read_bytes())
    write_network(models / "pose/rtmw.onnx", gmacs)
    entries = ""
    for name, file in (("yolox-nano", "detect/yolox_nano.onnx"), ("rtmw-l-384x288", "pose/rtmw.onnx")):
        digest = hashlib.sha256((models / file).read_bytes()).hexdigest()
        entries += f'[weights.{name}]\nfile = "{file}"\nurl = "https://example.invalid/"\nsha256 = "{digest}"\n'
        entries += 'licence = "Apache-2.0"\nlicence_url = "https://example.invalid/"\nprofiles = ["pose"]\n'
    registry = folder / "weights.toml"
    registry.write_text(f'schema = 1\ndefault = ["pose"]\n[profiles]\npose = "measured"\n{entries}')
    lengthen(clip, folder / "clip.mp4", frames)
    return os.environ | {"MODELS_DIR": str(models), "WEIGHTS_TOML": str(registry), "TQDM_DISABLE": "1"}


def throughput(clip: Path, yolox: Path, gmacs: float, frames: int) -> float:
    """Return frames/s of ours over frames/s of rtmlib's loop."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        folder = Path(scratch)
        environment = prepare(folder, clip, yolox, gmacs, frames)
        ingest(folder / "clip.mp4", folder / "run", False)
        children = start(stack, NAMES, "bench.posegen", [str(folder)], environment)
        seconds = take_turns(children)
        for name, process in children.items():
            found: dict[str, Any] = json.loads(answer(process))
            if found["frames"] != frames:
                raise GateFailed(f"{name} read {found['frames']} of {frames} frames.")
            click.echo(
                f"{gmacs:5.2f} GMACs {name:7} {frames / seconds[name]:6.2f} frames/s; {found['detections']} detections "
                f"and {found['crops']} crops in {frames} frames",
                err=True,
            )
        return seconds["rtmlib"] / seconds["ours"]


def peak_mb(clip: Path, yolox: Path, frames: int) -> float:
    """Return the peak resident memory of the real command over that many frames, MB."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = prepare(folder, clip, yolox, LIGHT_GMACS, frames)
        started = time.perf_counter()
        command = [sys.executable, "-m", "bench.posegen", "--command", str(folder)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise GateFailed(f"the pose stage ended with exit code {done.returncode}: {done.stderr[-500:]}")
        peak = float(done.stdout.splitlines()[-1])
        click.echo(f"{frames} frames: {peak:.1f} MB at most, {time.perf_counter() - started:.0f} s", err=True)
        return peak


def real_command(folder: Path) -> None:
    """Run the stage's command in this process and print the most memory that it had, MB (Linux)."""
    from posegen.cli import command

    command.main(["--run", str(folder / "run"), "-i", str(folder / "clip.mp4")], standalone_mode=False)
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024)


@click.command()
@click.option("--clip", type=click.Path(path_type=Path), default=SHARED / "clips" / "skateboarder.mp4")
@click.option("--yolox", type=click.Path(path_type=Path), default=SHARED / "weights" / "yolox_nano.onnx")
@click.option("--gmacs", default=17.7, show_default=True, help="What the pose network costs a crop.")
@click.option("--frames", default=40, show_default=True, help="Frames with that network.")
@click.option("--light-frames", default=200, show_default=True, help="Frames with the light one.")
@click.option("--memory/--no-memory", default=True, help="Measure peak memory at 200 and 1,000 frames.")
def main(clip: Path, yolox: Path, gmacs: float, frames: int, light_frames: int, memory: bool) -> None:
    """Throughput and memory of the pose stage, as ratios to rtmlib's own loop."""
    for path in (clip, yolox):
        if not path.is_file():
            raise MissingError(f"there is no {path}; name a clip with --clip and a YOLOX-nano file with --yolox.")
    width, height = probe(clip).width, probe(clip).height
    click.echo(f"{clip.name}, {width}x{height}; {os.cpu_count()} cores", err=True)
    result = {
        "throughput_ratio": round(throughput(clip, yolox, gmacs, frames), 3),
        "throughput_ratio_light": round(throughput(clip, yolox, LIGHT_GMACS, light_frames), 3),
    }
    if memory:
        short, full = (peak_mb(clip, yolox, length) for length in LENGTHS)
        result["rss_mb_per_frame"] = round((full - short) / (LENGTHS[1] - LENGTHS[0]), 4)
    click.echo(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--command"]:
        real_command(Path(sys.argv[2]))
    else:
        main()
