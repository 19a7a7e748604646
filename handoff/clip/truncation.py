"""Whether a clip's file is shorter than it says it is: a reader that trusted it would lose the last frames in silence.

Most containers say how long their parts are. What lies behind the last whole part is no part of the clip: cameras and
programs append what they like there. A container that is only a sequence of parts (MPEG-TS, Ogg) tells a cut within a
part, and cannot tell one between two.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from handoff.links import open_plain

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_OF_A_SEGMENT = "114d9b74 1549a966 1654ae6b 1c53bb6b 1254c367 1043a770 1941a469 ec bf"
"""SeekHead, Info, Tracks, Cues, Tags, Chapters, Attachments, Void, CRC-32."""
_OF_A_CLUSTER = "e7 5854 a7 ab a3 a0 af"
"""Timestamp, SilentTracks, Position, PrevSize, SimpleBlock, BlockGroup, EncryptedBlock."""
_ELEMENTS = {_EBML, _SEGMENT, _CLUSTER, *map(bytes.fromhex, f"{_OF_A_SEGMENT} {_OF_A_CLUSTER}".split())}
_NEEDED_BOXES = (b"moov", b"mdat", b"moof")
_FRAGMENT_BOXES = (b"moof", b"mdat", b"styp", b"sidx", b"emsg", b"prft")
"""What fragments are made of: where one of these is cut, pictures are missing."""
_AS_IT_IS = "ffmpeg -i CLIP -c copy NEW.mkv takes it as it is"
_LARGEST = 64 << 20
"""Bytes of an index that are looked at, at most."""
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MXF_KEY = bytes.fromhex("060e2b34")
_PACK, _PROGRAM_END = b"\0\0\1\xba", b"\0\0\1\xb9"
_TS_SYNC, _TS_PACKET = 0x47, 188
_TS_KINDS = ((188, 0), (192, 4), (204, 0))
"""Bytes from packet to packet, and those before each."""
_TS_HEAD, _TS_TAIL = 1 << 20, 8 << 20
"""Bytes in which a picture begins, and that the last picture has at most."""

Header = tuple[bytes, int, int]
"""A part's kind, where its content begins and where it ends."""


def missing_part(path: Path) -> str:
    """Say what is missing at the end of a clip's file, e.g. "its last 1200 bytes are missing"; "" when it is whole.

    Also "" for a kind of file that does not say how long it is.
    """
    size = path.stat().st_size
    with open_plain(path) as file:
        head = file.read(512)
        for fits, check in _KINDS:
            if fits(head):
                found = check(file, size)
                return found if isinstance(found, str) else _bytes_missing(found - size)
    return ""


def _bytes_missing(count: int) -> str:
    return f"its last {count} bytes are missing" if count > 0 else ""


# MP4 and MOV: boxes (ISO/IEC 14496-12, 4.2)


def _check_boxes(file: BinaryIO, size: int) -> int | str:
    """Return where the last box that is needed ends, or what is missing besides."""
    seen: set[bytes] = set()
    fragmented = by_lavf = False
    end = last = 0
    for kind, begin, stop in _boxes(file, 0, size):
        parts = _FRAGMENT_BOXES if fragmented else _NEEDED_BOXES
        if stop > size and (kind in parts or not {b"moov", b"mdat"} <= seen):
            return stop
        if kind == b"moov":
            fragmented = any(inner == b"mvex" for inner, _, _ in _boxes(file, begin, stop))
            file.seek(begin)
            by_lavf = b"Lavf" in file.read(min(stop - begin, _LARGEST))
        if kind == b"sidx" and stop <= size:
            file.seek(begin)
            end = max(end, _end_of_index(file.read(min(stop - begin, _LARGEST)), stop))
        seen.add(kind)
        last = stop
    if end > size:
        return end
    if fragmented and b"mfra" not in seen:
        if 0 < size - last < 8:  # not even a header
            return last + 8
        # FFmpeg's muxer ends with an index of the fragments; segments that were joined have a box before each
        if by_lavf and not seen & {b"styp", b"sidx"}:
            return f"the index after its last fragment is missing, there may have been more ({_AS_IT_IS})"
    return size


def _boxes(file: BinaryIO, begin: int, stop: int) -> Iterator[Header]:
    """Yield the boxes that begin from `begin` to `stop`, until what is there is no box."""
    while begin + 8 <= stop:
        file.seek(begin)
        header = file.read(16)
        length, kind, content = int.from_bytes(header[:4], "big"), header[4:8], begin + 8
        if length == 0:  # the last box, to the end of the file
            length = stop - begin
        elif length == 1:  # the real length follows
            length, content = int.from_bytes(header[8:16], "big"), begin + 16
        if length < content - begin or not all(32 <= each < 127 or each == 0xA9 for each in kind):
            return
        yield kind, content, begin + length
        begin += length


def _end_of_index(content: bytes, anchor: int) -> int:
    """Return where the last segment of a "sidx" box (ISO/IEC 14496-12, 8.16.3) ends."""
    wide = 8 if content[:1] == b"\x01" else 4
    at = 12 + wide
    first = int.from_bytes(content[at : at + wide], "big")
    count = int.from_bytes(content[at + wide + 2 : at + wide + 4], "big")
    sizes = range(at + wide + 4, at + wide + 4 + 12 * count, 12)
    return anchor + first + sum(int.from_bytes(content[each : each + 4], "big") & 0x7FFFFFFF for each in sizes)


# Matroska and WebM: elements (RFC 8794, RFC 9559)


def _check_elements(file: BinaryIO, size: int) -> int:
    """Return where the segment ends; where it does not say so, as in live recordings, where its last element does."""
    end = 0
    while end < size:
        file.seek(end)
        kind = _element_id(file)
        if kind not in _ELEMENTS:  # something appended, or a cut within the kind itself
            return size + 1 if end + len(kind) == size and _begins_any(kind, _ELEMENTS) else size
        length = _variable_int(file)
        content = file.tell()
        if length is None and kind not in (_SEGMENT, _CLUSTER):
            return size + 1 if content >= size else size
        if kind == _SEGMENT and length is not None:
            return content + length
        end = content if length is None else content + length
    return end


def _element_id(file: BinaryIO) -> bytes:
    first = file.read(1)
    return first + file.read(8 - first[0].bit_length())


def _begins_any(start: bytes, known: Iterable[bytes]) -> bool:
    return any(each.startswith(start) for each in known)


def _variable_int(file: BinaryIO) -> int | None:
    """Read an EBML size; None when it is unknown (all ones) or not there."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    value = (first[0] & ((1 << (7 - extra)) - 1)) << (8 * extra) | int.from_bytes(file.read(extra), "big")
    return None if value == (1 << (7 * (extra + 1))) - 1 else value


# the others


def _check_riff(file: BinaryIO, size: int) -> int:
    """AVI: one RIFF chunk, in long files followed by others (OpenDML)."""
    end = 0
    while True:
        file.seek(end)
        header = file.read(12)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] != b"RIFF" or header[8:12] not in (b"AVI ", b"AVIX") or length in (0, 0xFFFFFFFF):
            return min(end, size)  # a length that was never filled in says nothing
        end += 8 + length + length % 2
        if end > size:
            return end - length % 2 if end == size + 1 else end


def _check_transport(file: BinaryIO, size: int) -> str:
    """MPEG-TS: packets of 188 bytes, of 192 in cameras' files, of 204 in broadcasts.

    A picture's last packet is filled up, but for the one in 184 that it fits into exactly.
    """
    file.seek(0)
    head = file.read(_TS_HEAD)
    length, sync = next(kind for kind in _TS_KINDS if _is_transport(head, *kind))
    whole, rest = divmod(size, length)
    file.seek(max(0, whole - _TS_TAIL // length) * length)
    last = file.read()
    tail = last[len(last) - rest :][sync:] if rest else b""
    packets = [last[at : at + _TS_PACKET] for at in range(sync, len(last) - rest, length)]
    if len(tail) >= 3 and tail[0] == _TS_SYNC and _stream_of(tail) in {_stream_of(each) for each in packets}:
        return f"its last packet has {rest} of {length} bytes"
    begun = (head[at : at + _TS_PACKET] for at in range(sync, len(head) - _TS_PACKET, length))
    video = next((_stream_of(each) for each in begun if _begins_picture(each)), None)
    stated = given = 0
    full = False
    for packet in packets:
        if packet[0] == _TS_SYNC and _stream_of(packet) == video and packet[3] & 0x10:
            content, full = _content_of(packet)
            if _begins_picture(packet):
                stated, given = int.from_bytes(content[4:6], "big"), -6
            given += len(content)
    if given < stated if stated else full:
        return f"its last picture is not whole ({_AS_IT_IS})"
    return ""


def _is_transport(head: bytes, length: int, sync: int) -> bool:
    return len(head) > 2 * length and all(head[sync + at] == _TS_SYNC for at in (0, length))


def _begins_picture(packet: bytes) -> bool:
    """Say whether a packet begins a PES packet of video (ISO/IEC 13818-1, 2.4.3)."""
    content = _content_of(packet)[0]
    return packet[0] == _TS_SYNC and packet[1] & 0x40 != 0 and content[:3] == b"\0\0\1" and 0xE0 <= content[3] <= 0xEF


def _content_of(packet: bytes) -> tuple[bytes, bool]:
    """Return what a packet carries, and whether it is full: nothing was added to fill it up."""
    if not packet[3] & 0x20:
        return packet[4:], True
    extra, flags = packet[4], packet[5]
    clocks = 1 + 6 * (flags >> 4 & 1) + 6 * (flags >> 3 & 1) + (flags >> 2 & 1)
    return packet[5 + extra :], 0 < extra <= clocks


def _stream_of(packet: bytes) -> int:
    return int.from_bytes(packet[1:3], "big") & 0x1FFF


def _check_program(file: BinaryIO, size: int) -> int:
    """MPEG-PS: packs, and packets that say their length."""
    end = 0
    while end + 6 <= size:
        file.seek(end)
        head = file.read(14)
        if head[:3] != b"\0\0\1" or head[3] < 0xB9 or head[:4] == _PROGRAM_END:
            return size
        if head[:4] == _PACK:
            end += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12
        else:
            end += 6 + int.from_bytes(head[4:6], "big")
    file.seek(min(end, size))
    return max(end, end + 6 if b"\0\0\1".startswith(file.read(3)) and end < size else size)


def _check_flash(file: BinaryIO, size: int) -> int:
    """FLV: tags, each followed by its size; the first one may say how long the file is."""
    end, stated = 13, 0
    while end < size:
        file.seek(end)
        head = file.read(11)
        if head[0] not in (8, 9, 18):
            return max(size, stated)
        length = int.from_bytes(head[1:4], "big")
        if end == 13 and head[0] == 18:
            stated = _stated_size(file.read(length))
        end += 15 + length if len(head) == 11 else 12
    return max(end, stated)


def _stated_size(metadata: bytes) -> int:
    key = b"\0\x08filesize\0"
    at = metadata.find(key)
    value = metadata[at + len(key) :][:8] if at >= 0 else b""
    stated = struct.unpack(">d", value)[0] if len(value) == 8 else 0.0
    return int(stated) if 0 < stated < 2**53 else 0


def _check_asf(file: BinaryIO, size: int) -> int:
    """ASF and WMV: the header says how long the file is, unless it was broadcast."""
    file.seek(24)
    count = int.from_bytes(file.read(6)[:4], "little")
    begin = 30
    for _ in range(min(count, 100)):
        file.seek(begin)
        head = file.read(92)
        if (head[:16] == _ASF_FILE and not head[88:89]) or head[88] & 1 == 0:
            return int.from_bytes(head[40:48], "little")
        begin += int.from_bytes(head[16:24], "little")
    return size


def _check_mxf(file: BinaryIO, size: int) -> int:
    """MXF: keys, lengths and values; the header says where the footer begins."""
    end, footer = 0, 0
    while end + 17 <= size:
        file.seek(end)
        head = file.read(25)
        if head[:4] != _MXF_KEY:
            break
        extra = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + extra], "big") if extra else head[16]
        if head[4:14] == bytes.fromhex("020501010d0102010102") and not footer:
            file.seek(end + 17 + extra + 24)
            footer = int.from_bytes(file.read(8), "big")
        end += 17 + extra + length
    return max(end, footer + 1)


def _check_ogg(file: BinaryIO, size: int) -> int:
    """Ogg: pages."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(27)
        if head[:4] != b"OggS"[: len(head)]:
            return size
        if len(head) < 27:
            return end + 27
        table = file.read(head[26])
        end += 27 + head[26] + sum(table)
    return end


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int | str]], ...] = (
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"), _check_boxes),
    (lambda head: head[:4] == _EBML, _check_elements),
    (lambda head: head[:4] == b"RIFF" and head[8:12] == b"AVI ", _check_riff),
    (lambda head: any(_is_transport(head, *kind) for kind in _TS_KINDS), _check_transport),
    (lambda head: head[:4] == _PACK, _check_program),
    (lambda head: head[:3] == b"FLV", _check_flash),
    (lambda head: head[:16] == _ASF_HEADER, _check_asf),
    (lambda head: head[:4] == _MXF_KEY, _check_mxf),
    (lambda head: head[:4] == b"OggS", _check_ogg),
)
