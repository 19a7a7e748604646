"""Mask clips as other tools write them: the levels that are stored, and no colours beside them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from handoff.errors import InputError
from handoff.masks import read_masks
from tests.maskfiles import Bools, coloured, noise, with_alpha

WHITE = (255, 255, 255)
WITH_ALPHA = [("ffv1", "bgra"), ("png", "rgba"), ("qtrle", "argb"), ("prores_ks", "yuva444p10le"), ("utvideo", "gbrap")]
NAMES = {"ffv1": "a.mkv", "utvideo": "a.avi"}


def masks() -> list[Bools]:
    made = []
    for index in range(3):
        mask = np.zeros((48, 64), bool)
        mask[16:32, 8 + 4 * index : 28 + 4 * index] = True
        made.append(mask)
    return made


def write(path: Path, pictures: list[NDArray[Any]], form: str, codec: str, pixels: str, **options: str) -> Path:
    """A clip of these pictures, given as `form`, stored as `pixels`."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for picture in pictures:
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture.astype(np.uint8)), format=form)
            container.mux(stream.encode(frame if form == pixels else frame.reformat(format=pixels)))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("codec", "pixels", "name", "options"),
    [
        ("libx264", "gray", "a.mp4", {"qp": "0"}),
        ("libx264", "gray10le", "a.mp4", {"qp": "0"}),
        ("libx264", "yuv420p", "a.mp4", {"crf": "18"}),
        ("libx264", "yuvj420p", "a.mp4", {"qp": "0"}),
        ("libx264", "yuv422p10le", "a.mov", {"qp": "0"}),
        ("libx264", "yuv444p", "a.mkv", {"qp": "0"}),
        ("libx264", "nv12", "a.mp4", {"qp": "0"}),
        ("ffv1", "gray16le", "a.mkv", {}),
        ("ffv1", "yuv444p12le", "a.mkv", {}),
        ("ffv1", "bgr0", "a.mkv", {}),
        ("ffv1", "gbrp10le", "a.mkv", {}),
        ("png", "rgb24", "a.mov", {}),
        ("png", "monob", "a.mov", {}),
        ("png", "gray", "a.mov", {}),
        ("qtrle", "rgb24", "a.mov", {}),
        ("rawvideo", "yuyv422", "a.avi", {}),
        ("rawvideo", "gray", "a.avi", {}),
        ("mpeg4", "yuv420p", "a.avi", {"qscale": "1"}),
    ],
)
def test_black_and_white_is_the_same_mask_in_every_format(
    tmp_path: Path, codec: str, pixels: str, name: str, options: dict[str, str]
) -> None:
    pictures = [coloured(mask, WHITE) for mask in masks()]
    assert np.array_equal(
        list(read_masks(write(tmp_path / name, pictures, "rgb24", codec, pixels, **options))), masks()
    )


@pytest.mark.parametrize(("codec", "pixels"), WITH_ALPHA)
@pytest.mark.parametrize("colours", ["a cut-out", "white", "premultiplied"])
def test_an_alpha_that_varies_is_the_mask(tmp_path: Path, codec: str, pixels: str, colours: str) -> None:
    def picture(mask: Bools) -> NDArray[Any]:
        inside = {
            "a cut-out": noise(mask),
            "white": coloured(mask | True, WHITE),
            "premultiplied": coloured(mask, WHITE),
        }
        return with_alpha(inside[colours], mask)

    path = write(tmp_path / NAMES.get(codec, "a.mov"), [picture(mask) for mask in masks()], "rgba", codec, pixels)
    assert np.array_equal(list(read_masks(path)), masks())


@pytest.mark.parametrize(("codec", "pixels"), WITH_ALPHA)
def test_an_opaque_alpha_says_nothing(tmp_path: Path, codec: str, pixels: str) -> None:
    pictures = [with_alpha(coloured(mask, WHITE), mask | True) for mask in masks()]
    path = write(tmp_path / NAMES.get(codec, "a.mov"), pictures, "rgba", codec, pixels)
    assert np.array_equal(list(read_masks(path)), masks())


@pytest.mark.parametrize("colour", [(0, 0, 255), (255, 0, 0), (255, 255, 0), (0, 255, 255)])
@pytest.mark.parametrize("ground", [(0, 0, 0), WHITE])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv422p10le"])
def test_a_coloured_object_or_ground_is_refused(
    tmp_path: Path, colour: tuple[int, ...], ground: tuple[int, ...], pixels: str
) -> None:
    """Blue is as dark as noise, and yellow nearly as light as white: the luma alone would be a guess."""
    pictures = [coloured(mask, colour, ground) for mask in masks()]
    path = write(tmp_path / "a.mp4", pictures, "rgb24", "libx264", pixels, qp="0")
    with pytest.raises(InputError, match=r"frame 0 of .*a\.mp4 has colours \(\d+ of its \d+ colour samples\)"):
        list(read_masks(path))


def test_one_colour_on_black_is_a_mask_where_rgb_is_stored(tmp_path: Path) -> None:
    pictures = [coloured(mask, (0, 0, 255)) for mask in masks()]
    assert np.array_equal(list(read_masks(write(tmp_path / "a.mkv", pictures, "rgb24", "ffv1", "bgr0"))), masks())


@pytest.mark.parametrize(("form", "codec", "pixels"), [("rgb24", "libx264", "yuv420p"), ("rgb24", "png", "rgb24")])
def test_a_clip_of_something_is_no_mask(tmp_path: Path, form: str, codec: str, pixels: str) -> None:
    path = write(tmp_path / "a.mov", [noise(mask) for mask in masks()], form, codec, pixels)
    with pytest.raises(InputError, match=r"frame 0 of .*a\.mov has \d* ?(colours|px of gray levels)"):
        list(read_masks(path))


@pytest.mark.parametrize(("form", "top"), [("gray", 255), ("gray16le", 65535)])
def test_numbers_of_objects_are_refused_with_what_was_seen(tmp_path: Path, form: str, top: int) -> None:
    kind = np.uint8 if top == 255 else np.uint16
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        for mask in masks():
            container.mux(stream.encode(VideoFrame.from_ndarray(np.where(mask, 3, 0).astype(kind), format=form)))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=f"levels from 0 to 3 only, none near {top}"):
        list(read_masks(tmp_path / "a.mkv"))


def test_an_alpha_that_the_decoder_leaves_out_is_refused(tmp_path: Path) -> None:
    """VP9's is coded beside the pictures, which are white throughout."""
    pictures = [with_alpha(coloured(mask | True, WHITE), mask) for mask in masks()]
    path = write(tmp_path / "a.webm", pictures, "rgba", "libvpx-vp9", "yuva420p")
    with pytest.raises(InputError, match=r"a\.webm has its alpha beside the vp9 video, where it cannot be read; give"):
        list(read_masks(path))
