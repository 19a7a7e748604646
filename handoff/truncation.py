"""Is a file shorter than it says it is? A reader that trusts it would silently lose the last frames."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(path: Path) -> int:
    """Return how many bytes an MP4/MOV or Matroska/WebM file states beyond its end; 0 when whole or of another kind.

    MP4: the top-level boxes' sizes (ISO/IEC 14496-12, 4.2). Matroska: the Segment's size (RFC 8794, RFC 9559).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return max(0, _end_of_boxes(file, size) - size)
        if head[:4] == _EBML:
            return max(0, _end_of_segment(file) - size)
    return 0


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 0:  # the last box, to the end of the file
            return size
        if length == 1:  # the real length follows
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return position
        position += length
    return position


def _variable_int(file: BinaryIO) -> int | None:
    """Read an EBML size; None when it is unknown (all ones) or not there."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    value = (first[0] & ((1 << (7 - extra)) - 1)) << (8 * extra) | int.from_bytes(file.read(extra), "big")
    return None if value == (1 << (7 * (extra + 1))) - 1 else value


def _end_of_segment(file: BinaryIO) -> int:
    file.seek(4)
    header = _variable_int(file)
    if header is None:
        return 0
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _variable_int(file)
    return 0 if length is None else file.tell() + length
