"""Scenes with exact truth, textured things that move over a textured ground, and `python -m tracker` on their clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from handoff.masks import read_masks
from handoff.run import Run
from tests.helpers import textured, write_clip
from tracker.cli import command

Frame = NDArray[np.uint8]
Mask = NDArray[np.bool_]
WIDTH, HEIGHT = 160, 120


@dataclass(frozen=True)
class Scene:
    """A clip in memory, the object's exact mask in each of its frames, and a box around it on any frame."""

    frames: list[Frame]
    truth: list[Mask]

    def box(self, index: int, margin: int = 3) -> tuple[int, int, int, int]:
        """The truth's box on a frame, grown by `margin` px, inside the frame."""
        x, y, width, height = cv2.boundingRect(self.truth[index].astype(np.uint8))
        return max(0, x - margin), max(0, y - margin), min(WIDTH, x + width + margin), min(HEIGHT, y + height + margin)

    def write(self, path: Path) -> Path:
        """Encode the clip."""
        return write_clip(path, self.frames)


def board(index: int) -> Mask:
    """A board, 44 x 14 px, that rolls to the right by 3 px a frame and out of the frame after frame 43."""
    return _ellipse(30 + 3 * index, 70)


def bouncing_board(index: int) -> Mask:
    """A board that rolls to the right and back again, inside the frame for ever."""
    phase = index % 40
    return _ellipse(40 + 2 * (phase if phase < 20 else 40 - phase), 70)


def _ellipse(x: int, y: int) -> Mask:
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(canvas, (x, y), (22, 7), 5, 0, 360, (255,), -1)
    return canvas > 0


def _ground(height: int, width: int) -> Frame:
    """Texture with light and dark in it and, as real ground has, few hues."""
    texture = textured(height, width, 1).astype(np.float32)
    gray = texture.mean(-1, keepdims=True)
    return np.asarray(np.clip(0.9 * gray + 0.1 * texture + np.array([0, 12, -12]), 0, 255), np.uint8)


def make_scene(count: int, where: Callable[[int], Mask] = board, hidden: range = range(0), pan: int = 0) -> Scene:
    """Build `count` frames. In the frames of `hidden` a wall stands before the object; `pan`: px a frame of camera."""
    ground, paint = _ground(HEIGHT, WIDTH + 8 * count), textured(HEIGHT, WIDTH, 2)
    paint = np.clip(paint.astype(np.int16) // 3 + np.array([140, 10, 90]), 0, 255).astype(np.uint8)
    frames, truth = [], []
    for index in range(count):
        mask = where(index)
        frame = ground[:, pan * index : pan * index + WIDTH].copy()
        frame[mask] = paint[mask]
        if index in hidden:
            frame[50:90] = textured(40, WIDTH, 3) // 4 + 60
            mask = np.zeros_like(mask)
        frames.append(frame)
        truth.append(mask)
    return Scene(frames, truth)


def repaint(frames: list[Frame], masks: list[Mask], colour: tuple[int, int, int]) -> Iterator[Frame]:
    """Frames with another colour inside the masks, a third of the shading kept."""
    for frame, mask in zip(frames, masks, strict=True):
        shade = frame.astype(np.float32).mean(-1, keepdims=True)
        painted = np.clip(0.65 * np.array(colour) + 0.35 * shade, 0, 255)
        yield np.where(mask[..., None], painted, frame).astype(np.uint8)


def invoke(run: Run, *options: str) -> Result:
    """Run the command to its end; what it raises is raised here."""
    return CliRunner().invoke(command, ["--run", str(run.dir), *options], catch_exceptions=False, standalone_mode=False)


def text(scene: Scene, frame: int) -> str:
    """The object's box on a frame as --bbox takes it."""
    return ",".join(str(value) for value in scene.box(frame))


def masks_of(run: Run, name: str = "mask.mp4") -> Mask:
    """All masks of a file or folder of the run, (frames, H, W) bool."""
    return np.array(list(read_masks(run.path(name))))


def stage_of(run: Run) -> dict[str, Any]:
    """The tracker's record in run.json."""
    stage: dict[str, Any] = json.loads((run.dir / "run.json").read_text())["stages"]["tracker"]
    return stage


def notes(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = stage_of(run)["notes"]
    return found


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union, by its plain definition; 1.0 for two empty masks."""
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else np.count_nonzero(a & b) / union


_ENTRY = """
[weights.sam2-1-hiera-{name}]
file = "sam2/sam2.1_hiera_{file}.pt"
url = "https://weights.example/sam2.1_hiera_{file}.pt"
sha256 = "{sha256}"
licence = "Apache-2.0"
licence_url = "https://weights.example/LICENSE"
profiles = ["tracker-{name}"]
"""
_FILES = {"tiny": "tiny", "small": "small", "base-plus": "base_plus", "large": "large"}


def write_registry(path: Path, **known: str) -> Path:
    """Write a weights.toml with the four sizes of SAM 2.1: the digests that are known, else those of their names."""
    text = "schema = 1\ndefault = []\n[profiles]\n" + "".join(f'tracker-{name} = "a size"\n' for name in _FILES)
    for name, file in _FILES.items():
        sha256 = known.get(file, hashlib.sha256(name.encode()).hexdigest())
        text += _ENTRY.format(name=name, file=file, sha256=sha256)
    path.write_text(text)
    return path
