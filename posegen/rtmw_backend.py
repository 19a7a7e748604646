"""RTMW behind the extractor: one person a frame, in the box that the detector found, with rtmlib's arithmetic.

In the order of the data: a box of a frame becomes a `Crop`, the network's input, bit for bit as rtmlib makes it;
`PoseNetwork` is the ONNX file, checked when it is loaded and run on many crops at once where its batch axis is free;
`decode_simcc` reads its output (SimCC: for each keypoint a score for every half pixel of the crop, along x and along
y); `RtmwBackend` does it for a clip.

Frames stay RGB: RTMW was trained on RGB pictures (bgr_to_rgb in its configuration), with ImageNet's mean and deviation
in that order. rtmlib does not turn channels round; whoever hands it OpenCV's BGR frames gives the network another
picture (rtmlib #48).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from handoff.command import asked_by, asked_device
from handoff.errors import InputError, MissingError, UsageError
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person
from handoff.threads import Ahead
from handoff.video import Frame
from posegen.backend import Boxes, FramePose, PoseModel, box_on
from posegen.keypoints import is_person
from posegen.models import DEFAULT_MODEL, find_model, unpacked
from posegen.onnx_session import OnnxSession, gpu_problem, open_session, runtime_version

Vector = NDArray[np.float64]
Pixels = NDArray[np.float32]

PADDING = 1.25
"""How much larger than the box the crop is: what the model was trained with."""

MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)

try:
    from rtmlib.tools.pose_estimation.pre_processings import bbox_xyxy2cs, top_down_affine
except ImportError as _error:
    raise MissingError(
        f"RTMW needs rtmlib ({_error}); install posegen/requirements.lock (make extract does)."
    ) from _error


@dataclass(frozen=True)
class Crop:
    """A network's input. pixels: (3, height, width) float32, normalised RGB. centre, size: (2,), px of the frame."""

    pixels: Pixels
    centre: Vector
    size: Vector


# rtmlib normalises each pixel in float64 and rounds to float32 at the end; a byte has 256 values, so a table has all
_TABLE = ((np.arange(256)[:, None] - np.array(MEAN)) / np.array(STD)).astype(np.float32)[None]


def crop(frame: Frame, box: Box, width: int, height: int) -> Crop:
    """Return the crop of width x height px around `box` (it may reach beyond the frame: black there).

    frame: (H, W, 3) uint8 RGB. The box must have an area.
    """
    centre, size = bbox_xyxy2cs(np.array([box.x1, box.y1, box.x2, box.y2], np.float64), padding=PADDING)
    picture, size = top_down_affine((width, height), size, centre, frame)
    normalised = cv2.LUT(picture, _TABLE)
    return Crop(np.ascontiguousarray(normalised.transpose(2, 0, 1)), centre, size)


SPLIT = 2
"""Places a pixel of the crop."""


def decode_simcc(
    simcc_x: NDArray[np.float32], simcc_y: NDArray[np.float32], crops: Sequence[Crop]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return keypoints (N, 133, 2), px of the frame, and scores (N, 133), 0..1, of N crops at once.

    simcc_x: (N, 133, SPLIT * width). simcc_y: (N, 133, SPLIT * height).
    A keypoint lies where both scores are highest, as rtmlib has it. Its score is the mean of the two, cut to 0..1:
    they are no probabilities, and a keypoint that is seen well has several (rtmlib's own threshold of 0.3 is on them).
    Where an output is not a number the keypoint has score 0.
    """
    from rtmlib.tools.pose_estimation.post_processings import get_simcc_maximum

    with np.errstate(invalid="ignore", over="ignore"):
        places, values = get_simcc_maximum(simcc_x, simcc_y)
    broken = ~np.isfinite(values)  # a NaN anywhere along an axis is that axis's maximum
    places[broken], values[broken] = -1, 0
    grid = np.array([simcc_x.shape[2], simcc_y.shape[2]]) / SPLIT
    size = np.stack([each.size for each in crops])[:, None]
    centre = np.stack([each.centre for each in crops])[:, None]
    keypoints = places / SPLIT / grid * size + centre - size / 2
    return keypoints.astype(np.float32), np.clip(values, 0, 1).astype(np.float32)


Simcc = NDArray[np.float32]


class PoseNetwork:
    """A network with input (N, 3, height, width) and the two SimCC outputs (N, 133, 2 width) and (N, 133, 2 height).

    width, height: px of a crop. batch: how many crops go through it together at most; None where that is free.
    Raises InputError for a file with other inputs or outputs; it is run once to see.
    """

    def __init__(self, path: Path, device: str = "auto", sha256: str | None = None) -> None:
        self._session: OnnxSession = open_session(path, device, sha256)
        inputs, outputs = self._session.inputs, self._session.outputs
        shape = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else ()
        if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[3] is None:
            raise self._wrong(f"its input is {', '.join(map(str, inputs))}, not [any, 3, height, width] float")
        if len(outputs) != 2:
            raise self._wrong(f"it has {len(outputs)} outputs ({', '.join(map(str, outputs))}), not two")
        self.batch, self.height, self.width = shape[0], shape[2], shape[3]
        self._try()

    @property
    def device(self) -> str:
        """Where it runs: "cuda" or "cpu"."""
        return self._session.device

    def find(self, crops: Sequence[Crop]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return keypoints (N, 133, 2), px of the frame, and scores (N, 133), 0..1, of N crops.

        As many go through the network together as its batch axis allows.
        """
        keypoints = np.empty((len(crops), N_KEYPOINTS, 2), np.float32)
        scores = np.empty((len(crops), N_KEYPOINTS), np.float32)
        for start in range(0, len(crops), self.batch or max(len(crops), 1)):
            part = slice(start, start + (self.batch or len(crops)))
            simcc_x, simcc_y = self._together([each.pixels for each in crops[part]])
            keypoints[part], scores[part] = decode_simcc(simcc_x, simcc_y, crops[part])
        return keypoints, scores

    def _together(self, crops: list[Pixels]) -> tuple[Simcc, Simcc]:
        count = self.batch or len(crops)
        pixels = np.zeros((count, 3, self.height, self.width), np.float32)  # a fixed batch is filled up with nothing
        for place, each in zip(pixels, crops, strict=False):
            place[...] = each
        outputs = self._session.run(pixels)
        wanted = [(count, N_KEYPOINTS, SPLIT * size) for size in (self.width, self.height)]
        if [output.shape for output in outputs] != wanted:
            found = " and ".join(str(list(output.shape)) for output in outputs)
            raise self._wrong(
                f"its outputs are {found} for {count} crop(s), not {list(wanted[0])} and {list(wanted[1])}"
            )
        return outputs[0][: len(crops)], outputs[1][: len(crops)]

    def _try(self) -> None:
        """Run it on nothing: the outputs must be right before a clip is begun, and so must the batch axis."""
        blank = [np.zeros((3, self.height, self.width), np.float32)] * 2
        if self.batch is None:
            try:
                self._together(blank)
                return
            except (InputError, MissingError):
                self.batch = 1  # the axis is free by its name alone
        self._together(blank[:1])

    def _wrong(self, why: str) -> InputError:
        return InputError(f"{self._session.path} is not an RTMW network of {N_KEYPOINTS} keypoints: {why}.")


BATCH = {"cuda": 16, "cpu": 4}
"""Crops that go through the network together, where its batch axis is free."""

WAITING = 64
"""Frames without anybody that are kept at most while a batch is not full."""


class _CroppedFrame(NamedTuple):
    """A frame on its way: the box cut to the frame, and its crop; None where nobody is."""

    box: Box | None
    crop: Crop | None


class RtmwBackend:
    """RTMW (rtmlib's arithmetic, ONNX Runtime) behind the extractor.

    model: "rtmw-l", "rtmw-x" or "rtmw-m". device: "auto", "cuda" or "cpu".
    Raises MissingError for weights, packages or a GPU that are not there. The network itself is loaded by the first
    `extract` or `device`; InputError then for a file that is not RTMW.
    """

    def __init__(self, model: str = DEFAULT_MODEL, device: str = "auto") -> None:
        self._file = find_model(model)
        if asked_device(device) == "cuda" and (problem := gpu_problem()):
            raise MissingError(f"{asked_by(device)}: {problem}; see what nvidia-smi says, or use --device cpu.")
        self._device = device
        self._network: PoseNetwork | None = None
        self.model = PoseModel(
            f"RTMW-{model.removeprefix('rtmw-')}",
            f"rtmlib {version('rtmlib')}, ONNX Runtime {runtime_version()}",
            embedded=False,
            makes_masks=False,
            sha256=self._file.sha256,
        )

    @property
    def network(self) -> PoseNetwork:
        """The loaded network; its `device` says where it runs."""
        if self._network is None:
            with tempfile.TemporaryDirectory(prefix="rtmw-") as scratch:
                file = self._file
                path = unpacked(file.path, file.onnx_sha256, Path(scratch))
                sha256 = file.sha256 if path == file.path else file.onnx_sha256
                self._network = PoseNetwork(path, self._device, sha256)  # reads all of it
        return self._network

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        """Yield one FramePose a frame; see SkaterPoseExtractor.extract. Raises UsageError without boxes.

        Decoding and cropping go on beside the network, on a thread. What is kept is bounded by the batch, not the clip.
        """
        if boxes is None:
            raise UsageError("RTMW needs to know where the person is: give extract the boxes.")
        network = self.network
        batch = BATCH[network.device] if network.batch is None else network.batch
        waiting: list[_CroppedFrame] = []
        ahead = Ahead(_cropped(frames, boxes, network), depth=batch)
        try:
            for each_frame in ahead:
                waiting.append(each_frame)
                if sum(each.crop is not None for each in waiting) == batch or len(waiting) == WAITING:
                    yield from _poses(network, waiting)
                    waiting = []
            yield from _poses(network, waiting)
        finally:
            ahead.close()


def _cropped(frames: Iterable[Frame], boxes: Boxes, network: PoseNetwork) -> Iterator[_CroppedFrame]:
    for index, frame in enumerate(frames):
        box = box_on(boxes, index)
        inside = None if box is None else _inside(box, frame.shape[1], frame.shape[0])
        if box is None or inside is None:
            yield _CroppedFrame(None, None)
        else:
            yield _CroppedFrame(inside, crop(frame, box, network.width, network.height))


def _inside(box: Box, width: int, height: int) -> Box | None:
    """Return the part of a box that lies in a frame of width x height px; None where that is less than a pixel."""
    corners = np.array([[box.x1, box.y1], [box.x2, box.y2]], np.float64)
    if not np.isfinite(corners).all():
        return None
    (x1, y1), (x2, y2) = np.clip(corners, 0, [width, height]).round(2).tolist()
    return Box(x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None


def _poses(network: PoseNetwork, frames: Sequence[_CroppedFrame]) -> Iterator[FramePose]:
    crops = [each.crop for each in frames if each.crop is not None]
    keypoints, scores = network.find(crops)
    place = 0
    for each in frames:
        people = []
        if each.box is not None:
            if is_person(scores[place]):
                people.append(Person(each.box, keypoints[place], scores[place]))
            place += 1
        yield FramePose(people)
