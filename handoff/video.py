"""Reading and writing clips with PyAV, one frame at a time.

In reading order: opening a file (`open_video`, `decode`), frames as arrays (`read_frames`) or as they are decoded
(`read_pictures`), writing (`VideoWriter`). Whether a file is cut off is in handoff/clip/truncation.py, where a reader
may begin in handoff/clip/entries.py.

Frames are counted by decoding and rates are fractions: container metadata and floats are wrong on real files
(docs/reference/run-folder.md). Only common containers are opened, from local files, so a playlist named .mp4 cannot
make the reader open other files. A reader that trusted a file cut short would silently lose the last frames.
"""

from __future__ import annotations

import contextlib
import errno
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

from handoff.clip.colours import SCALER, Colours, colours_of, complete_tags, in_full_range, stream_tags, usual_colours
from handoff.clip.entries import Entries, find_entries
from handoff.clip.orientation import orientation_of
from handoff.clip.truncation import missing_part
from handoff.errors import InputError, MissingError, MissingFileError, UsageError, storage_errors
from handoff.files import atomic_file
from handoff.links import check_way
from handoff.picture.extent import MOST_PIXELS, check_size

Frame = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8 RGB, or (H, W) uint8 gray."""

_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,yuv4mpegpipe,mxf",
}
# x264's bytes depend on its number of threads: a fixed number gives the same file on any machine
ENCODER_THREADS = 4
# nor may they depend on the process: with its macroblock tree x264 gives the same 96x72 px frames two or more encodings
REPEATABLE = {"x264-params": "mbtree=0"}
_LAST_SAMPLES = 64
"""The last bytes belong to one of so many samples that are shown last."""


@dataclass(frozen=True)
class ClipInfo:
    """What a clip is: size in px as displayed, exact rate, and the number of frames that decode."""

    width: int
    height: int
    fps: Fraction
    frames: int

    @property
    def count(self) -> int:
        """The number of frames, by its other name."""
        return self.frames


def check_is_file(path: Path) -> None:
    """Raise MissingFileError where there is no file of that name, InputError for what is no file or is empty.

    A pipe is refused too: the clip is read more than once, and who opens a pipe that nobody writes to waits for ever.
    So is a link in a confined folder (LinkError).
    """
    check_way(path)
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(f"there is no file {path}; check the path.") from error
    except (OSError, ValueError) as error:
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason.lower()}.") from error
    if stat.S_ISDIR(state.st_mode):
        raise InputError(f"{path} is a folder; give a video file.")
    if not stat.S_ISREG(state.st_mode):
        kind = "pipe" if stat.S_ISFIFO(state.st_mode) else "socket" if stat.S_ISSOCK(state.st_mode) else "device"
        raise InputError(f"{path} is a {kind} and not a file; save the clip as a file first.")
    if state.st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); copy or export the clip again.")


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a local video file and its best video stream; raise InputError when it has none."""
    check_is_file(path)
    try:
        missing = _missing_part(path, _state(path))
        container = av.open(_local(path), options=dict(_OPEN_OPTIONS))
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied.") from error
    except (av.FFmpegError, UnicodeError) as error:
        _check_room(path, error)
        raise InputError(
            f"{path} is not a video that can be read ({path.stat().st_size} bytes; it may be another kind of file, "
            "or cut off before its index was written); play it, or export it again as MP4."
        ) from error
    with container:
        stream = container.streams.best("video")
        missing = missing or (_beyond_the_end(path, stream) if isinstance(stream, VideoStream) else "")
        if missing:
            raise InputError(f"{path} is cut off: {missing}; copy or export the clip again.")
        if not isinstance(stream, VideoStream):
            kinds = ", ".join(sorted({each.type for each in container.streams})) or "none"
            raise InputError(f"{path} has no picture (its streams: {kinds}); give a clip with video.")
        if stream.codec_context is None:
            raise InputError(f"{path} is coded in a way that nothing here decodes; export it as H.264.")
        if stream.width and stream.height:  # some containers do not say, and a stream may say otherwise later
            check_size(path, stream.width, stream.height)
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        stream.thread_type = "AUTO"
        yield container, stream


def _local(path: Path) -> str:
    """Name a file for FFmpeg so that it takes no part of the name for a protocol, as in "2026-11-28T10:30:15.mp4"."""
    return f"file:{path}"


def _state(path: Path) -> tuple[int, ...]:
    """Return what changes when a file does."""
    state = path.stat()
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


@lru_cache(maxsize=64)
def _missing_part(path: Path, _state: tuple[int, ...]) -> str:
    return missing_part(path)


def _beyond_the_end(path: Path, stream: VideoStream) -> str:
    """Say how many bytes of the last samples that an index lists are not in the file, "" for none."""
    listed = len(stream.index_entries)
    last = (stream.index_entries[each] for each in range(max(0, listed - _LAST_SAMPLES), listed))
    beyond = max((each.pos + each.size for each in last), default=0) - path.stat().st_size
    return f"its last {beyond} bytes are missing" if beyond > 0 else ""


def decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode `stream` frame by frame; raise InputError that names the frame where the data breaks off."""
    return _decode(path, stream, container.demux(stream), 0)


def _decode(
    path: Path, stream: VideoStream, packets: Iterable[Packet[VideoStream]], first: int
) -> Iterator[VideoFrame]:
    index, told = first, stream_tags(stream)
    try:
        for packet in packets:
            for frame in packet.decode():
                complete_tags(frame, told)
                yield frame
                index += 1
    except av.FFmpegError as error:
        _check_room(path, error)
        raise InputError(
            f"{path} breaks off or is damaged after frame {index} ({error.strerror}); copy or export the clip again."
        ) from error


def _check_room(path: Path, error: Exception) -> None:
    """Raise MissingError where it is memory, or a thread, that FFmpeg did not get, and nothing is wrong with a clip."""
    if isinstance(error, av.FFmpegError) and error.errno in (errno.EAGAIN, errno.ENOMEM):
        raise MissingError(
            f"there is no memory, or no process, left to decode {path} with ({error.strerror}); free some, or raise "
            "the limits (ulimit -v, ulimit -u)."
        ) from error


def frame_to_rgb(frame: VideoFrame) -> Frame:
    """Convert a decoded frame to (H, W, 3) uint8 RGB as it is shown: in its colours (`colours_of`), upright.

    Raises InputError for colours that cannot be converted, and for a frame to be turned by an odd angle.
    """
    return orientation_of(frame).turn(in_full_range(frame, "rgb24"))


def probe(path: Path) -> ClipInfo:
    """Decode the whole clip, keeping nothing, and return its size, rate and frame count.

    Raises InputError for a file that is missing, no video, damaged, or without a single frame.
    """
    with open_video(path) as (container, stream):
        frames, size = 0, (0, 0)
        for frame in decode(path, container, stream):
            if frames == 0:
                size = orientation_of(frame).size(frame.width, frame.height)
            frames += 1
        if frames == 0:
            raise InputError(f"{path} has a video stream with zero frames; give a clip with at least one.")
        return ClipInfo(*size, exact_rate(stream), frames)


def clip_colours(path: Path) -> Colours:
    """Return the colours that a clip's first frame is in. Raises InputError where it has none, or unknown ones."""
    with open_video(path) as (container, stream):
        for frame in decode(path, container, stream):
            return colours_of(frame)
    raise InputError(f"{path} has a video stream with zero frames; give a clip with at least one.")


def exact_rate(stream: VideoStream) -> Fraction:
    """Return the stream's average rate; raise InputError when it states none."""
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise InputError("the video states no frame rate; convert it to one with a constant rate.")
    return Fraction(rate)


def read_frames(path: Path, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
    """Yield frames start..stop-1 as (H, W, 3) uint8 RGB, in order, one in memory at a time.

    With start > 0 the reader seeks where that is exact, and else decodes what is before.
    """
    return map(frame_to_rgb, read_pictures(path, start, stop))


def read_pictures(path: Path, start: int = 0, stop: int | None = None) -> Iterator[VideoFrame]:
    """Yield frames start..stop-1 as PyAV gives them, in order, one in memory at a time."""
    if stop is not None and stop <= start:
        return
    given = 0
    if start > 0:
        try:
            for frame in _read_from_entry(path, start, stop):
                yield frame
                given += 1
            return
        except _Astray:
            pass  # what was given is right: go on from there
    with open_video(path) as (container, stream):
        yield from islice(decode(path, container, stream), start + given, stop)


def entries_of(path: Path) -> Entries:
    """Return where a reader may begin to decode the clip; looked for once for each file as it is now."""
    return _entries_of(path, _state(path))


@lru_cache(maxsize=8)
def _entries_of(path: Path, _state: tuple[int, ...]) -> Entries:
    with open_video(path) as (container, stream):
        try:
            return find_entries(container, stream)
        except av.FFmpegError:
            return Entries()  # who reads it from the start is told where it breaks off


class _Astray(Exception):
    """A seek led elsewhere than it should."""


def _read_from_entry(path: Path, start: int, stop: int | None) -> Iterator[VideoFrame]:
    """Yield frames start..stop-1, decoded from the last entry before; raise _Astray where that gives other frames."""
    check_is_file(path)
    entries = entries_of(path)
    entry = entries.before(start)
    if entry is None:
        raise _Astray
    stop = len(entries.shown) if stop is None else min(stop, len(entries.shown))
    with open_video(path) as (container, stream):
        container.seek(entries.sought[entry], stream=stream)
        packets = container.demux(stream)
        first = next(packets)
        number = entries.number(first.pts)
        if number not in (0, *entries.numbers[: entry + 1]):
            raise _Astray
        for frame in _decode(path, stream, chain([first], packets), number):
            if frame.pts is None or frame.pts < entries.shown[number]:
                continue  # it leads, and may need what is before the entry
            if frame.pts != entries.shown[number]:
                raise _Astray
            if number >= start:
                yield frame
            number += 1
            if number >= stop:
                return
    raise _Astray


class VideoWriter:
    """Write an H.264 MP4 that gets its name only when it is complete.

    Use it as a context manager; on an exception nothing is left behind.


    Raises UsageError for a frame of another size, an odd size in mode "rgb", or no frame at all;
    StorageError when the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        fps: Fraction,
        width: int,
        height: int,
        *,
        mode: Literal["rgb", "mask"] = "rgb",
        crf: int = 14,
        preset: str = "veryfast",
        colours: Colours | None = None,
        chroma_offset: int = 0,
    ) -> None:
        if mode == "rgb" and (width % 2 or height % 2):
            raise UsageError(f"{path.name} cannot be {width}x{height} px: H.264 in yuv420p needs even sizes.")
        self.path, self.fps, self.width, self.height, self.mode = path, fps, width, height, mode
        chroma = f":chroma-qp-offset={chroma_offset}" if chroma_offset else ""
        picture = {"crf": str(crf), "x264-params": REPEATABLE["x264-params"] + chroma}
        self._options = {"preset": preset} | (picture if mode == "rgb" else {"qp": "0"})
        self._colours = (colours or usual_colours(height)).limited()
        self._count = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(atomic_file(self.path))
            # a Python file: a failed write reaches us as an OSError instead of a broken MP4
            file = stack.enter_context(partial.open("wb"))
            self._container = stack.enter_context(_closed_at_the_end(av.open(file, "w", format="mp4")))
            self._stream = self._container.add_stream("libx264", rate=self.fps, options=self._options)
            self._stream.width, self._stream.height = self.width, self.height
            self._stream.pix_fmt = "yuv420p" if self.mode == "rgb" else "gray"
            codec = self._stream.codec_context
            codec.thread_count = ENCODER_THREADS
            if self.mode == "rgb":
                ours = self._colours
                codec.colorspace, codec.color_range = ours.matrix, ours.color_range
                codec.color_primaries, codec.color_trc = ours.primaries, ours.transfer
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Add one frame."""
        expected = (self.height, self.width, 3) if self.mode == "rgb" else (self.height, self.width)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise UsageError(
                f"{self.path.name} takes uint8 frames of shape {expected}, not {frame.dtype} {frame.shape}."
            )
        frame = np.ascontiguousarray(frame)
        if self.mode == "rgb":
            picture = VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format="yuv420p",
                src_color_range=ColorRange.JPEG,
                dst_colorspace=self._colours.colorspace,
                dst_color_range=self._colours.color_range,
                interpolation=SCALER,
                threads=1,
            )
        else:
            picture = VideoFrame.from_ndarray(frame, format="gray")
        self.write_picture(picture)

    def write_picture(self, picture: VideoFrame) -> None:
        """Add one PyAV frame that is already in the stream's pixel format."""
        picture.pts = self._count
        picture.time_base = 1 / self.fps
        self._count += 1
        with storage_errors(self.path):
            self._container.mux(self._stream.encode(picture))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with storage_errors(self.path):
            if kind is None:
                try:
                    if self._count == 0:
                        raise UsageError(f"{self.path.name} would have zero frames.")
                    self._container.mux(self._stream.encode(None))
                except BaseException as late:
                    self._stack.__exit__(type(late), late, late.__traceback__)
                    raise
                self._stack.__exit__(None, None, None)
            else:
                self._stack.__exit__(kind, error, None)


@contextlib.contextmanager
def _closed_at_the_end(container: OutputContainer) -> Iterator[OutputContainer]:
    """Close the container; after an error, that one is raised and not what FFmpeg says of the half-written rest."""
    try:
        yield container
    except BaseException:
        with contextlib.suppress(OSError, av.FFmpegError):
            container.close()
        raise
    container.close()
