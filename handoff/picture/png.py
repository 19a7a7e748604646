"""PNG files: what they hold is checked here, and only then is a decoder given it.

A picture comes from anyone. So its signature is read first: whatever a file is called, no decoder of another kind of
file sees it. The size is read next, and bounded before any memory is taken for pixels. Then the parts of the file are
gone through, with their checksums. The decoder gets the header and the pixels, and nothing else that stands there.

The numbers are those of the PNG specification (W3C, third edition): 5 for parts, 11.2.1 for the header's values.
"""

from __future__ import annotations

import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, MissingFileError
from handoff.links import check_way, open_plain
from handoff.picture.extent import check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGB_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGB_ALPHA: 4}
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGB_ALPHA: (8, 16),
}
_HEADER = struct.Struct(">IIBBBBB")
_PART = struct.Struct(">I4s")
_KNOWN = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"eXIf": 2**16, b"IDAT": 0, b"IEND": 0}
"""The parts that are read, and the most bytes that one may have; those of the pixels follow from the size."""
_MOST_PARTS = 100_000

_KINDS = (
    (b"\xff\xd8\xff", "a JPEG"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"8BPS", "a Photoshop file"),
    (b"v/1\x01", "an OpenEXR"),
    (b"#?RADIANCE", "a Radiance HDR"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
)


class PngHeader(NamedTuple):
    """What a picture file says of itself; width and height in px, depth in bits a sample, kind: PNG's colour type."""

    width: int
    height: int
    depth: int
    kind: int
    interlaced: int


class Samples(NamedTuple):
    """The numbers that a picture file holds, not yet a picture.

    values: (H, W), gray levels or numbers of palette entries; (H, W, 3) BGR. uint8 or uint16, 0..top.
    alpha: (H, W) of 0..alpha_top, or None. palette: (N, 3) uint8 RGB, or None.
    """

    values: NDArray[Any]
    top: int
    alpha: NDArray[Any] | None = None
    alpha_top: int = 255
    palette: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class _Parts:
    header: PngHeader
    palette: bytes
    clear: bytes | None
    exif: bytes
    pixels: bytes

    def as_png(self, kind: int, *, upright: bool = False) -> bytes:
        """Return a PNG of these parts alone, of that colour type; upright: with what says how it is to be turned."""
        given = self.header
        header = _HEADER.pack(given.width, given.height, given.depth, kind, 0, 0, given.interlaced)
        palette = _chunk(b"PLTE", self.palette) if kind == _PALETTE else b""
        exif = _chunk(b"eXIf", self.exif) if upright and self.exif else b""
        pixels = _chunk(b"IDAT", self.pixels) + _chunk(b"IEND", b"")
        return SIGNATURE + _chunk(b"IHDR", header) + palette + exif + pixels


def kind_of_file(head: bytes) -> str:
    """Name the kind of a file by its first 16 bytes."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP"
    if head[4:8] == b"ftyp":
        return f"a file of the kind {head[8:12].decode('ascii', 'replace').strip()!r}"
    known = next((kind for magic, kind in _KINDS if head.startswith(magic)), None)
    return known or ("an empty file" if not head else "another kind of file")


def check_regular(path: Path) -> None:
    """Raise MissingFileError where nothing is there, InputError for a folder, a pipe or a device, before opening it."""
    check_way(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}; check the path.") from error
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is not a file with a picture (a folder, a pipe or a device); take it away.")


def read_samples(path: Path) -> Samples:
    """Read a PNG file as the numbers that it holds; InputError when it is none, cut off, damaged or too large."""
    parts = _read_parts(path)
    header = parts.header
    # a palette's numbers are asked for, not its colours; OpenCV fans few bits out to 0..255
    values = _decode(path, parts.as_png(_GRAY if header.kind == _PALETTE else header.kind), cv2.IMREAD_UNCHANGED)
    top = 2**header.depth - 1
    if header.depth < 8:
        values = values // np.uint8(255 // top)
    if header.kind == _PALETTE:
        return _with_palette(path, values, parts)
    alpha = None
    if header.kind in (_GRAY_ALPHA, _RGB_ALPHA):
        alpha = np.ascontiguousarray(values[..., 3])
        values = values[..., 0] if header.kind == _GRAY_ALPHA else values[..., :3]
    elif parts.clear is not None:
        key = np.frombuffer(parts.clear, ">u2")[::-1] & np.uint16(top)  # RGB, and the values are BGR
        is_clear = (values == key).all(axis=2) if values.ndim == 3 else values == key
        alpha = np.where(is_clear, 0, top).astype(values.dtype)
    return Samples(np.ascontiguousarray(values), top, alpha, top)


def read_rgb(path: Path, *, upright: bool = False) -> NDArray[np.uint8]:
    """Read a PNG file as (H, W, 3) uint8 RGB, without its alpha; the errors are those of `read_samples`.

    upright: turned as its EXIF says, which is for pictures that are shown, not for frames.
    """
    parts = _read_parts(path)
    image = _decode(path, parts.as_png(parts.header.kind, upright=upright), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _with_palette(path: Path, numbers: NDArray[Any], parts: _Parts) -> Samples:
    palette = np.frombuffer(parts.palette, np.uint8).reshape(-1, 3)
    if numbers.size and int(numbers.max()) >= len(palette):
        raise InputError(
            f"{path} names entry {int(numbers.max())} of a palette of {len(palette)} colours; make it again."
        )
    alpha = None
    if parts.clear is not None:
        table = np.full(256, 255, np.uint8)
        table[: len(parts.clear)] = np.frombuffer(parts.clear, np.uint8)
        alpha = table[numbers]
    return Samples(numbers, 255, alpha, 255, palette)


def _decode(path: Path, png: bytes, flags: int) -> NDArray[Any]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), flags)
    if image is None:
        raise InputError(f"{path} is damaged: its pixels cannot be unpacked; make it again.")
    return image


def _read_parts(path: Path) -> _Parts:
    check_regular(path)
    with open_plain(path) as file:
        head = file.read(16)
        if not head.startswith(SIGNATURE):
            raise InputError(f"{path} is {kind_of_file(head)}, and not a PNG; save it as PNG.")
        file.seek(len(SIGNATURE))
        return _gather(path, file, path.stat().st_size)


def _gather(path: Path, file: BinaryIO, size: int) -> _Parts:
    header: PngHeader | None = None
    palette, clear, exif, pixels, most = b"", None, b"", bytearray(), 0
    for _ in range(_MOST_PARTS):
        start = file.read(_PART.size)
        if len(start) < _PART.size:
            raise InputError(f"{path} is cut off after {size} bytes; copy or export it again.")
        length, name = _PART.unpack(start)
        if file.tell() + length + 4 > size:
            raise InputError(f"{path} is cut off: {size} bytes are there of a longer file; copy or export it again.")
        if header is None and (name != b"IHDR" or length != _HEADER.size):
            raise InputError(f"{path} is damaged: it does not begin with a PNG's header; make it again.")
        if name not in _KNOWN:
            if not name.isalpha() or name[:1].isupper():
                raise InputError(f"{path} is damaged, or no common PNG: it has a part {name!r}; make it again.")
            file.seek(length + 4, 1)  # what is said beside the picture: text, profiles, further pictures
            continue
        if length > (most if name == b"IDAT" else _KNOWN[name]):
            raise InputError(f"{path} has {length} bytes in its part {name.decode()}, too many; make it again.")
        data = file.read(length)
        if zlib.crc32(data, zlib.crc32(name)) != int.from_bytes(file.read(4), "big"):
            raise InputError(f"{path} is damaged: the checksum of its part {name.decode()} is wrong; copy it again.")
        if name == b"IHDR":
            if header is not None:
                raise InputError(f"{path} is damaged: it has two headers; make it again.")
            header = _checked_header(path, data)
            most = _most_bytes(header)
        elif name == b"PLTE":
            palette = data
        elif name == b"tRNS":
            clear = data
        elif name == b"eXIf":
            exif = data
        elif name == b"IDAT":
            pixels += data
            most -= length
        elif header is not None:  # IEND
            return _checked_parts(path, _Parts(header, palette, clear, exif, bytes(pixels)))
    raise InputError(f"{path} has more than {_MOST_PARTS} parts; make it again.")


def _checked_header(path: Path, data: bytes) -> PngHeader:
    width, height, depth, kind, compression, filters, interlaced = _HEADER.unpack(data)
    check_size(path, width, height)
    if depth not in _DEPTHS.get(kind, ()) or compression or filters or interlaced > 1:
        raise InputError(f"{path} is damaged: its header says colour type {kind} of {depth} bits; make it again.")
    return PngHeader(width, height, depth, kind, interlaced)


def _checked_parts(path: Path, parts: _Parts) -> _Parts:
    kind, palette, clear = parts.header.kind, parts.palette, parts.clear
    if kind == _PALETTE and (not palette or len(palette) % 3):
        raise InputError(f"{path} is damaged: its palette has {len(palette)} bytes; make it again.")
    if clear is not None and kind in (_GRAY, _RGB) and len(clear) != 2 * _CHANNELS[kind]:
        raise InputError(f"{path} is damaged: its part tRNS has {len(clear)} bytes; make it again.")
    if clear is not None and kind == _PALETTE and len(clear) > len(palette) // 3:
        raise InputError(f"{path} is damaged: its part tRNS has {len(clear)} bytes; make it again.")
    if not parts.pixels:
        raise InputError(f"{path} is damaged: it has no pixels; make it again.")
    return parts


def _most_bytes(header: PngHeader) -> int:
    """The most that the packed pixels may have: noise grows by a little; interlacing has up to twice the rows."""
    row = (header.width * header.depth * _CHANNELS[header.kind] + 7) // 8 + 1
    raw = (row + 8) * header.height * (1 + header.interlaced)
    return raw + raw // 100 + 2**16


def _chunk(name: bytes, data: bytes) -> bytes:
    return _PART.pack(len(data), name) + data + zlib.crc32(data, zlib.crc32(name)).to_bytes(4, "big")
