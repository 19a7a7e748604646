"""Reading and writing clips with PyAV, one frame at a time.

In reading order: opening a file (`open_video`, `decode`), frames as arrays (`read_frames`, `read_gray`), writing
(`VideoWriter`), and whether a file is shorter than it says it is (`missing_bytes`).

Frames are counted by decoding and rates are fractions: container metadata and floats are wrong on real files
(docs/reference/run-folder.md). Only common containers are opened, from local files, so a playlist named .mp4 cannot
make the reader open other files. A reader that trusted a file cut short would silently lose the last frames.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

from handoff.clip.colours import SCALER, Colours, colours_of, complete_tags, stream_tags, usual_colours
from handoff.clip.orientation import orientation_of
from handoff.errors import InputError, MissingFileError, UsageError, storage_errors
from handoff.files import atomic_file

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
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


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
    """Raise MissingFileError where there is no file of that name, InputError where it is a folder."""
    if not path.exists():
        raise MissingFileError(f"there is no file {path}; check the path.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give a video file.")


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a local video file and its best video stream; raise InputError when it has none."""
    check_is_file(path)
    try:
        missing = missing_bytes(path)
        container = av.open(str(path), options=dict(_OPEN_OPTIONS))
    except PermissionError as error:
        raise InputError(f"{path} cannot be read: permission denied.") from error
    except av.FFmpegError as error:
        raise InputError(
            f"{path} is not a video that can be read ({path.stat().st_size} bytes; it may be another kind of file, "
            "or cut off before its index was written); play it, or export it again as MP4."
        ) from error
    with container:
        if missing:
            raise InputError(f"{path} is cut off: its last {missing} bytes are missing; copy or export the clip again.")
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream):
            kinds = ", ".join(sorted({each.type for each in container.streams})) or "none"
            raise InputError(f"{path} has no picture (its streams: {kinds}); give a clip with video.")
        if stream.codec_context is None:
            raise InputError(f"{path} is coded in a way that nothing here decodes; export it as H.264.")
        stream.thread_type = "AUTO"
        yield container, stream


def decode(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Decode `stream` frame by frame; raise InputError that names the frame where the data breaks off."""
    index, told = 0, stream_tags(stream)
    try:
        for frame in container.decode(stream):
            complete_tags(frame, told)
            yield frame
            index += 1
    except av.FFmpegError as error:
        raise InputError(
            f"{path} breaks off or is damaged after frame {index} ({error.strerror}); copy or export the clip again."
        ) from error


def frame_to_rgb(frame: VideoFrame) -> Frame:
    """Convert a decoded frame to (H, W, 3) uint8 RGB as it is shown: in its colours (`colours_of`), upright.

    Raises InputError for colours that cannot be converted, and for a frame to be turned by an odd angle.
    """
    found = colours_of(frame)
    picture = frame.reformat(
        format="rgb24",
        src_colorspace=found.colorspace,
        src_color_range=found.color_range,
        dst_colorspace=found.colorspace,
        dst_color_range=ColorRange.JPEG,
        interpolation=SCALER,
        threads=1,
    )
    return orientation_of(frame).turn(picture.to_ndarray().astype(np.uint8, copy=False))


def frame_to_gray(frame: VideoFrame) -> Frame:
    """Return the luma of a frame, (H, W) uint8, its levels as stored, upright.

    Anything but 8-bit planar YUV or gray is converted, in the colours of `colours_of`. Raises what `frame_to_rgb` does.
    """
    if frame.format.name.startswith(("yuv", "gray")) and frame.format.components[0].bits == 8:
        plane = frame.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        return orientation_of(frame).turn(np.array(rows[: frame.height, : frame.width], np.uint8))
    found = colours_of(frame)
    picture = frame.reformat(
        format="gray",
        src_colorspace=found.colorspace,
        src_color_range=found.color_range,
        dst_colorspace=found.colorspace,
        dst_color_range=found.color_range,
        interpolation=SCALER,
        threads=1,
    )
    return orientation_of(frame).turn(picture.to_ndarray().astype(np.uint8, copy=False))


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

    With start > 0 the reader seeks, which is exact only for a constant rate, such as source.mp4's.
    """
    return map(frame_to_rgb, _read(path, start, stop))


def read_gray(path: Path, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
    """Yield the luma of frames start..stop-1 as (H, W) uint8, in order, one in memory at a time."""
    return map(frame_to_gray, _read(path, start, stop))


def _read(path: Path, start: int, stop: int | None) -> Iterator[VideoFrame]:
    if stop is not None and stop <= start:
        return
    with open_video(path) as (container, stream):
        index = 0
        sought = start > 0 and stream.time_base is not None
        if sought and stream.time_base is not None:
            origin = stream.start_time or 0
            step = 1 / (exact_rate(stream) * stream.time_base)
            container.seek(origin + int(start * step), stream=stream)
        for frame in decode(path, container, stream):
            if sought:
                if frame.pts is None:
                    raise InputError(f"{path} has frames without time stamps; run it through extract first.")
                index = round((frame.pts - origin) / step)
            if stop is not None and index >= stop:
                return
            if index >= start:
                yield frame
            index += 1


class VideoWriter:
    """Write an H.264 MP4 that gets its name only when it is complete.

    Use it as a context manager; on an exception nothing is left behind.

    mode "rgb":  `write` takes (H, W, 3) uint8 RGB; yuv420p in `colours`, else those of `usual_colours`, `crf` 0..51.
                 chroma_offset: of chroma's quantiser to that of luma; below 0 it is better.
    mode "mask": `write` takes (H, W) uint8; gray, lossless (qp 0), bit-exact through `read_gray`.

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


def _variable_int(file: BinaryIO) -> int | None:
    """Read an EBML size; None when it is unknown (all ones) or not there."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    extra = 8 - first[0].bit_length()
    value = (first[0] & ((1 << (7 - extra)) - 1)) << (8 * extra) | int.from_bytes(file.read(extra), "big")
    return None if value == (1 << (7 * (extra + 1))) - 1 else value
