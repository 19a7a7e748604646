"""Pictures that are shown, not measured: PNG, JPEG and WebP, each known by its first bytes and not by its name.

The size is read from the file's own header and bounded before a decoder is given the file. OpenCV reads more kinds.
They are refused here: for JPEG 2000, TIFF and others its decoders have known holes.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from handoff.errors import InputError
from handoff.links import open_plain
from handoff.picture.extent import check_size
from handoff.picture.png import SIGNATURE, check_regular, kind_of_file, read_rgb
from handoff.video import Frame

_JPEG = b"\xff\xd8\xff"
_MOST_BYTES = 2**27
_FRAME_MARKS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def read_photo(path: Path) -> Frame:
    """Return a PNG, JPEG or WebP file as (H, W, 3) uint8 RGB, upright; alpha is left out.

    Raises InputError for another kind of file, one that is damaged, and one of more than 8K or 128 MiB.
    """
    check_regular(path)
    with open_plain(path) as file:
        head = file.read(32)
        if head.startswith(SIGNATURE):
            return read_rgb(path, upright=True)
        jpeg = head.startswith(_JPEG)
        if not jpeg and not (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
            raise InputError(
                f"{path} is not a picture that can be read ({kind_of_file(head)}); give a PNG, JPEG or WebP."
            )
        bytes_ = path.stat().st_size
        if bytes_ > _MOST_BYTES:
            raise InputError(f"{path} has {bytes_} bytes; a picture may have {_MOST_BYTES}: make it smaller.")
        size = _jpeg_size(file) if jpeg else _webp_size(head)
        if size is None:
            raise InputError(f"{path} is a picture that does not say its size; copy or export it again.")
        check_size(path, *size)
        file.seek(0)
        image = cv2.imdecode(np.frombuffer(file.read(_MOST_BYTES), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"{path} is damaged: its pixels cannot be unpacked; copy or export it again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    """Read (width, height) from the frame header, which stands after any number of other segments (T.81, B.1, B.2)."""
    file.seek(2)
    for _ in range(1000):
        mark = file.read(2)
        while mark == b"\xff\xff":  # fill bytes
            mark = mark[1:] + file.read(1)
        if len(mark) < 2 or mark[0] != 0xFF:
            return None
        if mark[1] in (0x01, *range(0xD0, 0xD8)):  # these have no length
            continue
        length = int.from_bytes(file.read(2), "big")
        if length < 2 or mark[1] in (0xD9, 0xDA):
            return None
        if mark[1] in _FRAME_MARKS:
            data = file.read(5)
            return (struct.unpack(">HH", data[1:])[1], struct.unpack(">HH", data[1:])[0]) if len(data) == 5 else None
        file.seek(length - 2, 1)
    return None


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Read (width, height) from the first part of a WebP (RFC 9649, 2.5 to 2.7)."""
    kind, data = head[12:16], head[20:32]
    if len(data) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    return None
