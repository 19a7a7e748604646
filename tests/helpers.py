"""What tests of every folder use: the product's commands as a user runs them, waiting, and small real clips.

Read `Product` first. `until` is how a test waits: for what it can see, with a ceiling that only a hang reaches.
The rest reads a run's manifests, and makes clips of every awkward kind with PyAV.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from handoff.clip.orientation import orientation_of
from handoff.files import sha256_path
from handoff.video import REPEATABLE, read_pictures
from runner.process import ROOT
from runner.tools import STAGES

Frame = NDArray[np.uint8]
HANG_S = 900.0
"""How long a test waits for what must happen: so long that only a hang reaches it, however busy the machine is."""


NEEDS = {"stage": ("posegen", "tracker", "reskin", "evaluator"), "server": ("comfyui",)}
"""Mark: the environments that a test with it needs, unless the mark names its own: @pytest.mark.stage("posegen")."""


def environments_of(item: pytest.Item) -> set[str]:
    """Return the environments that a test needs, by its marks and by the fixture that is a whole demo."""
    found = {name for mark, all_of in NEEDS.items() for each in item.iter_markers(mark) for name in each.args or all_of}
    return found | ({*STAGES} if "demo_run" in getattr(item, "fixturenames", ()) else set())


SOURCE = {"path": "/a.mp4", "sha256": "0" * 64, "width": 64, "height": 48, "fps": "25/1", "frames": 6}
"""What run.json says of its clip, at least."""


@dataclass(frozen=True)
class Product:
    """The root commands with a data folder of their own; settings: more of their environment."""

    data: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT

    def __call__(
        self, script: str, *arguments: object, prefix: tuple[str, ...] = (), timeout_s: float = 2 * HANG_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `script` (extract_physics.py, ... or a module) to its end and return what it printed."""
        return subprocess.run(
            [*prefix, *self.command(script, *arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=self.environment,
            cwd=self.root,
            timeout=timeout_s,
        )

    def command(self, script: str, *arguments: object) -> list[str]:
        target = [str(self.root / script)] if script.endswith(".py") else ["-m", script]
        return [sys.executable, *target, *(str(each) for each in arguments)]

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"DATA_DIR": str(self.data)} | dict(self.settings)

    def run(self, name: str) -> Path:
        return self.data / "runs" / name


@dataclass(frozen=True)
class DemoRun:
    """One `make demo` from beginning to end."""

    product: Product
    result: subprocess.CompletedProcess[str]

    @property
    def folder(self) -> Path:
        return self.product.run("demo")

    @property
    def reskin(self) -> Path:
        return next((self.folder / "reskins").glob("*/output.mp4")).parent


def records(run: Path) -> dict[str, Any]:
    """Every stage's record, by the name that its log lines have: "tracker", "reskin/drone"."""
    found = dict(json.loads((run / "run.json").read_text())["stages"])
    for manifest in run.glob("reskins/*/run.json"):
        stages = json.loads(manifest.read_text())["stages"]
        found |= {f"{stage}/{manifest.parent.name}": record for stage, record in stages.items()}
    found.pop(BY_HAND, None)
    return found


def outputs(run: Path) -> dict[str, str]:
    """Every output that a manifest lists, and its digest, which is that of what lies there."""
    listed = {each["path"]: each["sha256"] for record in records(run).values() for each in record["outputs"]}
    for path, digest in listed.items():
        assert sha256_path(run / path) == digest, path
    return listed


BY_HAND = "by-hand"


def vouch_for(*paths: Path) -> None:
    """Record files that a test puts into a run as what a stage made of its source.mp4; nothing outside a run."""
    for path in paths:
        manifest = path.parent / "run.json"
        if not manifest.is_file():
            continue
        data = json.loads(manifest.read_text())
        source = sha256_path(path.parent / "source.mp4")
        record = data["stages"].setdefault(BY_HAND, {"key": "", "inputs": {"source.mp4": source}, "outputs": []})
        for stage in data["stages"].values():
            stage["outputs"] = [each for each in stage["outputs"] if each["path"] != path.name]
        record["outputs"].append({"path": path.name, "sha256": sha256_path(path)})
        manifest.write_text(json.dumps(data))


def take_out(run: Path, *stages: str) -> None:
    """Remove the work of stages, files and records; a reskin's by "reskin" or "evaluator"."""
    for path in [run / "run.json", *run.glob("reskins/*/run.json")]:
        manifest = json.loads(path.read_text())
        for stage in [each for each in manifest["stages"] if each in stages]:
            for record in manifest["stages"].pop(stage)["outputs"]:
                output = run / record["path"]
                shutil.rmtree(output) if output.is_dir() else output.unlink()
        path.write_text(json.dumps(manifest))


def until(what: str, holds: Callable[[], bool], timeout_s: float = HANG_S) -> None:
    """Wait until `holds` does; the test fails, saying `what` was waited for, after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(0.02)


def many(examples: int) -> int:
    """How many inputs a slow fuzz tries: all with FUZZ=full in the environment, else a tenth of them."""
    return examples if os.environ.get("FUZZ") == "full" else examples // 10


def textured(height: int, width: int, seed: int = 0) -> Frame:
    """A picture with smooth random texture, (H, W, 3) uint8 RGB."""
    small = np.random.default_rng(seed).integers(30, 220, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def square_position(index: int) -> tuple[int, int]:
    """Left upper corner (x, y) of the moving square of `moving_square`."""
    return 20 + 3 * index, 40 + (index % 10)


def moving_square(frames: int, width: int = 160, height: int = 120, side: int = 32) -> Iterable[Frame]:
    """Yield a textured scene with a square of another texture that moves to the right."""
    scene, patch = textured(height, width, 1), 255 - textured(side, side, 2)
    patch[..., 0] = 220
    for index in range(frames):
        x, y = square_position(index)
        frame = scene.copy()
        visible = frame[y : y + side, x : x + side]
        visible[:] = patch[: visible.shape[0], : visible.shape[1]]
        yield frame


def encode_silence(container: OutputContainer, sound: AudioStream, blocks: int) -> None:
    """Encode `blocks` of 1024 silent samples at 8 kHz."""
    for index in range(blocks):
        silence = AudioFrame(format="fltp", layout="mono", samples=1024)
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        silence.sample_rate, silence.pts = 8000, index * 1024
        container.mux(sound.encode(silence))
    container.mux(sound.encode(None))


def read_gray(path: Path) -> Iterator[Frame]:
    """The luma of an 8-bit clip as it is stored, (H, W) uint8 a frame, upright, whatever a mask may be."""
    for frame in read_pictures(path):
        rows = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)
        yield orientation_of(frame).turn(rows[: frame.height, : frame.width])


def write_clip(
    path: Path,
    frames: Iterable[Frame],
    *,
    fps: Fraction = Fraction(25),
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
    audio: bool = False,
    index_first: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode frames (H, W, 3) uint8 RGB.

    pts in time_base: makes a variable rate. audio: adds a silent track. index_first: the MP4 can be read from its
    beginning, so that a cut-off file still opens.
    """
    encoder = (REPEATABLE if codec == "libx264" else {}) | (options or {"crf": "10"})
    with av.open(str(path), "w", options={"movflags": "+faststart"} if index_first else {}) as container:
        stream = container.add_stream(codec, rate=fps, options=encoder)
        stream.pix_fmt = pix_fmt
        if time_base is not None:
            stream.codec_context.time_base = time_base
        sound = container.add_stream("aac", rate=8000) if audio else None
        count = 0
        for index, image in enumerate(frames):
            if index == 0:
                stream.height, stream.width = image.shape[:2]
                if pixel_aspect is not None:
                    stream.codec_context.sample_aspect_ratio = pixel_aspect
            picture = VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = index if pts is None else pts[index]
            picture.time_base = time_base or 1 / fps
            container.mux(stream.encode(picture))
            count += 1
        container.mux(stream.encode(None))
        if sound is not None:
            encode_silence(container, sound, max(1, round(count / fps * 8000 / 1024)))
    return path


_MATRICES = {
    90: (0, 1, -1, 0),  # shown turned 90 degrees clockwise: how a phone held upright records
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}


def set_rotation(path: Path, clockwise: int) -> Path:
    """Write a display rotation into the track header of an MP4."""
    return set_matrix(path, _MATRICES[clockwise])


def set_matrix(path: Path, matrix_of: tuple[int, int, int, int]) -> Path:
    """Write a display matrix (a, b, c, d) into the track header of an MP4 (ISO 14496-12, tkhd, the 3x3 matrix)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    version = data[at]
    matrix = at + (52 if version == 1 else 40)
    a, b, c, d = (int(value * 65536).to_bytes(4, "big", signed=True) for value in matrix_of)
    zero = bytes(4)
    data[matrix : matrix + 36] = a + b + zero + c + d + zero + zero + zero + (1 << 30).to_bytes(4, "big")
    path.write_bytes(data)
    return path
