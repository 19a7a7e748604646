"""The footage: out of the pinned wheel, cropped and scaled to the clip's size."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.video import exact_rate, open_video, read_frames

WHEEL_SHA256 = "733b6db70742636ae9c35d870c22bd416582f579abd5881bee93a14bb0e2655d"
VIDEO_IN_WHEEL = "Sports2D/Demo/demo.mp4"

WIDTH, HEIGHT = 640, 360
# Source pixels kept: below the man on the container (a second person), left of the tree trunk.
CROP_X, CROP_Y, CROP_WIDTH, CROP_HEIGHT = 505, 465, 940, 529
# The woman is alone and fully in view; the camera's exposure jumps from frame 165 on.
FIRST_FRAME, FRAME_COUNT = 62, 92
# The temporal median of every so many frames shows the scene without her: she is never long in one place.
PLATE_STEP = 3


@dataclass(frozen=True)
class Footage:
    """`frames` (N, H, W, 3) uint8 RGB; `plate` (H, W, 3) uint8 RGB, the scene with nobody in it; `fps` exact."""

    frames: NDArray[np.uint8]
    plate: NDArray[np.uint8]
    fps: Fraction


def load_footage(wheel: Path) -> Footage:
    """Read the clip's frames out of the wheel.

    Raises InputError when the file is missing, is not the pinned wheel (by SHA-256) or does not decode to the end.
    """
    _check_wheel(wheel)
    with tempfile.TemporaryDirectory(prefix="democlip-") as folder:
        video = Path(folder) / "demo.mp4"
        with zipfile.ZipFile(wheel) as archive:
            video.write_bytes(archive.read(VIDEO_IN_WHEEL))
        frames = _decode(video)
        with open_video(video) as (_, stream):
            fps = exact_rate(stream)
    if len(frames) != FRAME_COUNT:
        raise InputError(f"{VIDEO_IN_WHEEL} gave {len(frames)} frames, the demo clip needs {FRAME_COUNT}.")
    plate = np.median(frames[::PLATE_STEP], axis=0).astype(np.uint8)
    return Footage(frames, plate, fps)


def _check_wheel(wheel: Path) -> None:
    if not wheel.is_file():
        raise InputError(f"no wheel at {wheel}: fetch it with demo/source.lock.")
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise InputError(f"{wheel} has SHA-256 {found}, the pinned sports2d wheel has {WHEEL_SHA256}.")


def _decode(video: Path) -> NDArray[np.uint8]:
    """The clip's frames (N, H, W, 3), cropped and scaled."""
    wide = read_frames(video, FIRST_FRAME, FIRST_FRAME + FRAME_COUNT)
    rows, columns = slice(CROP_Y, CROP_Y + CROP_HEIGHT), slice(CROP_X, CROP_X + CROP_WIDTH)
    return np.stack([_scaled(frame[rows, columns]) for frame in wide])


def _scaled(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scaled = cv2.resize(crop, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled, dtype=np.uint8)
