"""The frames of a clip as SAM 2.1 wants them, decoded when they are asked for.

Upstream loads the whole clip first: 12.6 MB a frame at 1024 px. `LazyFrames` stands in for that tensor with the same
values, bit for bit, and holds a few frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from handoff.errors import InputError
from handoff.threads import Ahead
from handoff.video import ClipInfo, Frame, read_frames

_MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # sam2/utils/misc.py, load_video_frames
_STD = np.array((0.229, 0.224, 0.225), np.float32)
_AHEAD = 3  # prepared frames that wait: 12.6 MB each at 1024 px
_CHUNK_BYTES = 48 << 20  # resized frames held while reading backward,
_CHUNK_FRAMES = 64  # at most so many


class FrameSource(Protocol):
    """Pictures by number."""

    width: int  # px
    height: int

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        """Yield frames start..stop-1, each (height, width, 3) uint8 RGB, in order."""
        ...


class ClipFrames:
    """Frames start..stop-1 of a clip (constant rate, as ingest writes it), counted from 0: a whole clip or one shot."""

    def __init__(self, path: Path, info: ClipInfo, start: int = 0, stop: int | None = None) -> None:
        self.width, self.height = info.width, info.height
        self._path, self._start = path, start
        self._stop = info.frames if stop is None else stop

    def __len__(self) -> int:
        return self._stop - self._start

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        """See `FrameSource.read`."""
        return read_frames(self._path, self._start + start, self._start + stop)


def value_table() -> NDArray[np.float32]:
    """(3, 256) float32: what upstream's loader makes of each value of each channel.

    In its order and precisions: divided by 255 in float64, rounded to float32, then mean and deviation in float32.
    """
    unit = (np.arange(256) / 255.0).astype(np.float32)
    return np.asarray((unit - _MEAN[:, None]) / _STD[:, None], np.float32)


_TABLE = value_table()


def resized(frame: Frame, image_size: int) -> Frame:
    """(H, W, 3) uint8 RGB to (image_size, image_size, 3), with Pillow's own filter, as upstream does it."""
    return np.array(Image.fromarray(frame).resize((image_size, image_size)))


def normalised(picture: Frame) -> torch.Tensor:
    """(S, S, 3) uint8 RGB to the model's input, (3, S, S) float32."""
    values = np.empty((3, *picture.shape[:2]), np.float32)
    for channel in range(3):
        values[channel] = _TABLE[channel][picture[..., channel]]
    return torch.from_numpy(values)


def normalised_there(picture: Frame, device: torch.device) -> torch.Tensor:
    """The same values on a GPU, by the same table: a quarter of the bytes travel."""
    pixels = torch.from_numpy(picture).to(device).permute(2, 0, 1).flatten(1).long()
    return torch.from_numpy(_TABLE).to(device).gather(1, pixels).view(3, *picture.shape[:2])


class LazyFrames:
    """`frames[index]`, (3, S, S) float32 on `device`, in place of upstream's tensor of all frames.

    Made for runs of neighbouring frames in either direction; a thread prepares the next ones. A jump anywhere works
    and costs a seek. InputError when the source has fewer frames than it said.
    """

    def __init__(self, source: FrameSource, image_size: int, device: torch.device | str = "cpu") -> None:
        self._source, self._image_size, self._device = source, image_size, torch.device(device)
        self._index, self._frame = -1, torch.empty(0)  # the newest frame handed out
        self._stream: Ahead[torch.Tensor] | None = None
        self._next, self._step = -1, 1  # what the stream gives next, and its direction

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == self._index:
            return self._frame
        stream = self._stream
        if stream is None or index != self._next:
            stream = self._open(index)
        frame = next(stream, None)
        if frame is None:
            raise InputError(f"the clip has no frame {index} although it has {len(self)} frames; was it replaced?")
        self._index, self._next, self._frame = index, index + self._step, frame
        return frame

    def _open(self, index: int) -> Ahead[torch.Tensor]:
        self.close()
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        self._step = -1 if index == self._index - 1 else 1
        self._stream = stream = Ahead(self._forward(index) if self._step == 1 else self._backward(index), _AHEAD)
        self._next = index
        return stream

    def _forward(self, start: int) -> Iterator[torch.Tensor]:
        for frame in self._source.read(start, len(self)):
            yield self._input(resized(frame, self._image_size))

    def _backward(self, last: int) -> Iterator[torch.Tensor]:
        """From `last` down to 0, decoded forward in chunks of bounded size."""
        chunk = max(4, min(_CHUNK_FRAMES, _CHUNK_BYTES // (3 * self._image_size**2)))
        for stop in range(last + 1, 0, -chunk):
            start = max(0, stop - chunk)
            pictures = [resized(frame, self._image_size) for frame in self._source.read(start, stop)]
            if len(pictures) != stop - start:
                return
            for picture in reversed(pictures):
                yield self._input(picture)

    def _input(self, picture: Frame) -> torch.Tensor:
        return normalised(picture) if self._device.type == "cpu" else normalised_there(picture, self._device)

    def close(self) -> None:
        """Stop decoding ahead."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None
