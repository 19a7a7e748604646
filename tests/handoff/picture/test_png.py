"""A PNG is looked through before a decoder sees it: signature, size, checksums; the decoder gets nothing else."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from handoff.errors import InputError
from handoff.masks import read_masks, read_png
from handoff.picture.png import read_samples
from runner.process import ROOT
from tests.maskfiles import GRAY, PALETTE, RGB, chunk, encode, header, pillow

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
WHOLE = encode(PICTURE, RGB)
END = chunk(b"IEND", b"")


def saved(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("TIFF", "a TIFF"),
        ("JPEG2000", "a JPEG 2000"),
        ("JPEG", "a JPEG"),
        ("WEBP", "a WebP"),
        ("GIF", "a GIF"),
        ("BMP", "a BMP"),
        ("PDF", "a PDF"),
        ("PPM", "another kind of file"),
    ],
)
def test_another_kind_of_file_is_named_and_reaches_no_decoder(
    tmp_path: Path, kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("a decoder was given it"))
    monkeypatch.setattr(cv2, "imread", lambda *_: pytest.fail("a decoder was given it"))
    (tmp_path / "00000.png").write_bytes(saved(kind))
    for read in (read_png, read_samples, lambda path: list(read_masks(path.parent))):
        with pytest.raises(InputError, match=rf"00000\.png is {said}, and not a PNG; save it as PNG\."):
            read(tmp_path / "00000.png")


BOMB = header(60_000, 60_000) + chunk(b"IDAT", b"x") + END
BROKEN = {
    "nothing": (b"", "is an empty file"),
    "the signature alone": (WHOLE[:8], "cut off after 8 bytes"),
    "half": (WHOLE[: len(WHOLE) // 2], r"cut off: \d+ bytes are there"),
    "no end": (WHOLE[:-12], "cut off after"),
    "a wrong checksum": (WHOLE[:-20] + bytes([WHOLE[-20] ^ 1]) + WHOLE[-19:], "checksum of its part IDAT is wrong"),
    "a bomb": (BOMB, "says that it is 60000x60000 px"),
    "too long": (header(9000, 2) + END, "says that it is 9000x2 px"),
    "too narrow": (header(8000, 2) + END, "says that it is 8000x2 px"),
    "more than 8K": (header(8192, 8192) + END, "says that it is 8192x8192 px"),
    "no width": (header(0, 2) + END, "says that it is 0x2 px"),
    "no such type": (header(4, 4, 8, 5) + END, "colour type 5 of 8 bits"),
    "no such depth": (header(4, 4, 4, RGB) + END, "colour type 2 of 4 bits"),
    "no pixels": (header(4, 4) + END, "it has no pixels"),
    "no palette": (header(4, 4, 8, PALETTE) + chunk(b"IDAT", b"x") + END, "its palette has 0 bytes"),
    "a palette that is too short": (encode(np.full((4, 4), 3), PALETTE, PLTE=bytes(6)), "entry 3 of a palette of 2"),
    "two headers": (header(4, 4) + header(4, 4)[8:] + END, "it has two headers"),
    "another first part": (WHOLE[:8] + END, "does not begin with a PNG's header"),
    "an unknown part": (header(4, 4) + chunk(b"ABcD", b"") + END, r"it has a part b'ABcD'"),
    "too few pixels": (header(32, 24) + encode(PICTURE[:5, :, 0])[33:], "its pixels cannot be unpacked"),
    "more pixels than there can be": (
        header(4, 4) + chunk(b"IDAT", bytes(70_000)) + END, "70000 bytes in its part IDAT, too many"
    ),
    "many small parts": (header(4, 4) + chunk(b"teXt", b"") * 100_001 + END, "more than 100000 parts"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_or_too_large_is_refused_in_a_sentence(tmp_path: Path, what: str) -> None:
    data, message = BROKEN[what]
    (tmp_path / "00000.png").write_bytes(data)
    for read in (read_samples, lambda path: list(read_masks(path.parent))):
        with pytest.raises(InputError, match=message) as error:
            read(tmp_path / "00000.png")
        assert error.value.exit_code == 2 and str(error.value).endswith(".") and "\n" not in str(error.value)


@settings(max_examples=200)
@given(st.binary(max_size=80) | st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)))
def test_whatever_stands_in_a_file_it_is_a_picture_or_refused(
    tmp_path_factory: pytest.TempPathFactory, change: bytes | tuple[int, int]
) -> None:
    """Any byte changed, or the end of the file replaced."""
    data = bytearray(WHOLE)
    if isinstance(change, bytes):
        data[33:] = change
    else:
        data[change[0]] ^= change[1]
    path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(data)
    try:
        assert read_png(path).shape == PICTURE.shape
    except InputError as error:
        assert str(path) in str(error)


def test_a_pipe_and_a_folder_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "folder.png"):
        with pytest.raises(InputError, match=f"{name} is not a file with a picture"):
            read_samples(tmp_path / name)


def test_a_large_size_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """With 700 MB of address space beyond what Python and OpenCV take; the picture would be of 3.6 GB."""
    (tmp_path / "00000.png").write_bytes(BOMB)
    code = (
        "import resource, sys, cv2\n"
        "from pathlib import Path\n"
        "from handoff.errors import InputError\n"
        "from handoff.masks import read_masks\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 700_000_000,) * 2)\n"
        "try:\n    list(read_masks(Path(sys.argv[1])))\n"
        "except InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "60000x60000 px" in done.stdout
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_an_8k_frame_is_read(tmp_path: Path) -> None:
    mask = np.zeros((4320, 8192), bool)
    mask[100:2000, 300:400] = True
    (tmp_path / "00000.png").write_bytes(pillow(Image.fromarray(mask)))
    (found,) = read_masks(tmp_path)
    assert np.array_equal(found, mask)


def test_a_frames_colours_are_those_in_the_file_whatever_stands_beside_them(tmp_path: Path) -> None:
    """A profile, a gamma, an orientation and a second picture (APNG) change nothing."""
    turned = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\1\0\6\0\0\0\0\0\0"
    extra = {"gAMA": b"\0\0\xff\xff", "eXIf": turned, "teXt": b"a\0b", "acTL": b"\0\0\0\2\0\0\0\0"}
    (tmp_path / "a.png").write_bytes(encode(PICTURE, RGB, **extra))
    assert np.array_equal(read_png(tmp_path / "a.png"), PICTURE)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "I;16", "1"])
def test_what_pillow_writes_is_read_as_the_same_colours(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(PICTURE)
    picture = Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    picture.save(tmp_path / "a.png")
    shown = np.array(picture) // 257 if mode == "I;16" else np.array(picture.convert("RGB"))
    if mode == "LA":
        shown = np.array(picture)[..., 0]
    shown = np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown
    assert np.array_equal(read_png(tmp_path / "a.png"), shown)


def test_interlaced_pixels_are_read_in_their_places(tmp_path: Path) -> None:
    """Written by hand: one pixel in the first pass, one in the sixth, two in the seventh."""
    passes = zlib.compress(b"\0\x01" + b"\0\x02" + b"\0\x03\x04")
    (tmp_path / "a.png").write_bytes(header(2, 2, 8, GRAY, b"\0\0\1") + chunk(b"IDAT", passes) + END)
    assert read_samples(tmp_path / "a.png").values.tolist() == [[1, 2], [3, 4]]
