"""A picture that is shown may be a PNG, JPEG or WebP; its size is bounded before it is decoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handoff.errors import InputError
from handoff.picture.photo import read_photo

PICTURE = cv2.resize(np.random.default_rng(0).integers(0, 256, (3, 4, 3)).astype(np.uint8), (64, 48))


def saved(kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (picture or Image.fromarray(PICTURE)).save(file, kind, **options)
    return file.getvalue()


KINDS = {
    "PNG": saved("PNG"),
    "JPEG": saved("JPEG", quality=95),
    "progressive JPEG": saved("JPEG", quality=95, progressive=True, icc_profile=bytes(70_000)),
    "WebP": saved("WEBP", quality=95),
    "lossless WebP": saved("WEBP", lossless=True),
    "WebP with alpha": saved("WEBP", Image.fromarray(np.dstack([PICTURE, PICTURE[..., 0] | 128])), quality=95),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_whatever_it_is_called(tmp_path: Path, kind: str) -> None:
    (tmp_path / "drone.dat").write_bytes(KINDS[kind])
    back = read_photo(tmp_path / "drone.dat")
    assert back.shape == PICTURE.shape and np.abs(back.astype(int) - PICTURE).mean() < 12


@pytest.mark.parametrize("kind", ["TIFF", "JPEG2000", "GIF", "BMP", "PPM", "HDR"])
def test_the_other_kinds_that_opencv_reads_reach_no_decoder(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"#?RADIANCE\n" if kind == "HDR" else saved(kind)
    (tmp_path / "drone.jpg").write_bytes(data)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a decoder was given it"))
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("a decoder was given it"))
    with pytest.raises(InputError, match=r"drone\.jpg is not a picture that can be read \(.*\); give a PNG, JPEG or"):
        read_photo(tmp_path / "drone.jpg")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_it_is_upright_as_the_file_says(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    (tmp_path / "a").write_bytes(saved(kind, exif=exif))
    assert read_photo(tmp_path / "a").shape == (64, 48, 3)


def large(kind: str) -> bytes:
    """The same file with another size in its header."""
    data = bytearray(KINDS[kind])
    if "JPEG" in kind:
        place = next(data.find(b"\xff" + mark) for mark in (b"\xc0", b"\xc2") if b"\xff" + mark in data) + 5
        data[place : place + 4] = b"\xea\x60\xea\x60"
    elif kind == "WebP":
        place = data.find(b"\x9d\x01\x2a") + 3
        data[place : place + 4] = b"\xff\x3f\xff\x3f"
    elif kind == "lossless WebP":
        data[21:25] = b"\xff\xff\xff\x0f"
    else:
        data[24:30] = b"\xff\xff\x00\xff\xff\x00"
    return bytes(data)


@pytest.mark.parametrize("kind", list(KINDS)[1:])
def test_a_large_one_is_refused_by_its_header(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a decoder was given it"))
    (tmp_path / "a").write_bytes(large(kind))
    with pytest.raises(InputError, match=r"says that it is (60000x60000|16383x16383|16384x16384|65536x65536) px"):
        read_photo(tmp_path / "a")


@settings(max_examples=150)
@given(st.sampled_from(list(KINDS)), st.integers(0, 2**20), st.integers(0, 255), st.integers(0, 2**20))
def test_a_damaged_one_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, value: int, length: int
) -> None:
    data = bytearray(KINDS[kind])
    data[place % min(len(data), 200)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data[: 1 + length % len(data)])
    try:
        picture = read_photo(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert picture.ndim == 3 and picture.dtype == np.uint8
