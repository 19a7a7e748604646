"""What a decoded frame of a mask clip holds, as numbers: its luma as it is stored, and whether it has colours or alpha.

A mask's levels are what the file says. A conversion of colours would move them: limited range becomes full, a blue
object on black becomes nearly black.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from handoff.clip.colours import SCALER, colours_of
from handoff.clip.orientation import orientation_of
from handoff.errors import InputError
from handoff.picture.levels import NOISE
from handoff.picture.png import Samples
from handoff.video import open_video


def check_alpha_is_decoded(path: Path) -> None:
    """Raise InputError for a WebM whose alpha is a second stream of its own, which the decoder does not give."""
    with open_video(path) as (_, stream):
        if {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode") == "1":
            raise InputError(
                f"{path} has its alpha beside the {stream.codec_context.name} video, where it cannot be read; give PNG "
                "files, or a clip in ProRes 4444, or of black and white only."
            )


def frame_to_samples(frame: VideoFrame, where: str) -> Samples:
    """Return a frame's luma (H, W), or its colours (H, W, 3) where it stores RGB or has an alpha plane, upright.

    Raises InputError, with `where`, for luma that has colours beside it: a mask clip is black and white.
    """
    stored, turn = _stored_samples(frame, where), orientation_of(frame).turn
    return stored._replace(values=turn(stored.values), alpha=None if stored.alpha is None else turn(stored.alpha))


def _stored_samples(frame: VideoFrame, where: str) -> Samples:
    form = frame.format
    if form.has_palette or any(each.is_alpha for each in form.components):
        image = _converted(frame, "bgra")
        return Samples(np.ascontiguousarray(image[..., :3]), 255, np.ascontiguousarray(image[..., 3]))
    if form.is_rgb:
        return Samples(_converted(frame, "bgr24"), 255)
    if form.is_bit_stream:
        return Samples(_converted(frame, "gray"), 255)
    bits, planes = form.components[0].bits, {each.plane for each in form.components}
    if not form.name.startswith(("yuv", "gray")) or len(planes) < len(form.components) or bits > 16:
        frame, bits = frame.reformat(format="yuv444p", interpolation=SCALER, threads=1), 8
    top = 2**bits - 1
    for index in range(1, len(frame.format.components)):
        chroma, middle, noise = _plane(frame, index, bits), (top + 1) // 2, NOISE * top // 255
        coloured = chroma.size - cv2.countNonZero(
            cv2.inRange(chroma, np.array([middle - noise]), np.array([middle + noise]))
        )
        if coloured:
            raise InputError(
                f"{where} has colours ({coloured} of its {chroma.size} colour samples), so which of its pixels are the "
                "object is not known; give a clip of black and white only, or PNG files."
            )
    return Samples(_plane(frame, 0, bits), top)


def _converted(frame: VideoFrame, form: str) -> NDArray[np.uint8]:
    found = colours_of(frame)
    picture = frame.reformat(
        format=form,
        src_colorspace=found.colorspace,
        src_color_range=found.color_range,
        dst_colorspace=found.colorspace,
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALER,
        threads=1,
    )
    return picture.to_ndarray().astype(np.uint8, copy=False)


def _plane(frame: VideoFrame, index: int, bits: int) -> NDArray[Any]:
    """One plane as it is stored, (H, W) uint8 or uint16."""
    kind = np.dtype(np.uint8 if bits == 8 else ">u2" if frame.format.is_big_endian else "<u2")
    plane = frame.planes[index]
    rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // kind.itemsize)
    return rows[: plane.height, : plane.width].astype(np.uint8 if bits == 8 else np.uint16)
