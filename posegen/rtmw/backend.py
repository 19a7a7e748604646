"""RTMW behind the extractor: one person a frame, in the box that somebody else found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np

from handoff.box import Box
from handoff.device import asked_by, asked_device
from handoff.errors import InputError, MissingError, UsageError
from handoff.poses import Person
from handoff.threads import Ahead
from handoff.video import Frame
from posegen.extractor import FramePose, PoseModel
from posegen.onnx_session import gpu_problem, runtime_version
from posegen.people import is_person
from posegen.rtmw.archive import unpacked
from posegen.rtmw.crops import Crop, crop
from posegen.rtmw.models import DEFAULT_MODEL, find_model
from posegen.rtmw.network import PoseNetwork

BATCH = {"cuda": 16, "cpu": 4}
"""Crops that go through the network together, where its batch axis is free."""

WAITING = 64
"""Frames without anybody that are kept at most while a batch is not full."""


class _Look(NamedTuple):
    """A frame on its way: the box cut to the frame, and its crop; None where nobody is."""

    box: Box | None
    crop: Crop | None


class RtmwBackend:
    """RTMW (rtmlib's arithmetic, ONNX Runtime) behind the extractor.

    model: "rtmw-l", "rtmw-x" or "rtmw-m". device: "auto", "cuda" or "cpu". boxes: the person's box in each frame of
    the clip, px, None where nobody is; may be set later, before `extract`. threads: of the network on the CPU.
    Raises MissingError for weights, packages or a GPU that are not there. The network itself is loaded by the first
    `extract` or `device`; InputError then for a file that is not RTMW.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        device: str = "auto",
        boxes: Sequence[Box | None] | None = None,
        threads: int | None = None,
    ) -> None:
        self._file = find_model(model)
        if asked_device(device) == "cuda" and (problem := gpu_problem()):
            raise MissingError(f"{asked_by(device)}: {problem}; see what nvidia-smi says, or use --device cpu.")
        self._device, self._threads = device, threads
        self._network: PoseNetwork | None = None
        self.boxes = boxes
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
                path = unpacked(self._file.path, self._file.onnx_sha256, Path(scratch))
                self._network = PoseNetwork(path, self._device, self._threads)  # reads all of it
        return self._network

    def extract(self, frames: Iterable[Frame]) -> Iterator[FramePose]:
        """Yield one FramePose a frame; see SkaterPoseExtractor.extract.

        Decoding and cropping go on beside the network, on a thread. What is kept is bounded by the batch, not the clip.
        """
        if self.boxes is None:
            raise UsageError("RTMW needs to know where the person is: set the boxes before extract.")
        network = self.network
        batch = BATCH[network.device] if network.batch is None else network.batch
        waiting: list[_Look] = []
        ahead = Ahead(self._looks(frames, network), depth=batch)
        try:
            for look in ahead:
                waiting.append(look)
                if sum(each.crop is not None for each in waiting) == batch or len(waiting) == WAITING:
                    yield from _poses(network, waiting)
                    waiting = []
            yield from _poses(network, waiting)
        finally:
            ahead.close()

    def _looks(self, frames: Iterable[Frame], network: PoseNetwork) -> Iterator[_Look]:
        boxes = self.boxes or ()
        for index, frame in enumerate(frames):
            if index >= len(boxes):
                raise InputError(f"the clip has more frames than the {len(boxes)} that the person was looked for in.")
            box = boxes[index]
            inside = None if box is None else _inside(box, frame.shape[1], frame.shape[0])
            if box is None or inside is None:
                yield _Look(None, None)
            else:
                yield _Look(inside, crop(frame, box, network.width, network.height))


def _inside(box: Box, width: int, height: int) -> Box | None:
    """Return the part of a box that lies in a frame of width x height px; None where that is less than a pixel."""
    corners = np.array([[box.x1, box.y1], [box.x2, box.y2]], np.float64)
    if not np.isfinite(corners).all():
        return None
    (x1, y1), (x2, y2) = np.clip(corners, 0, [width, height]).round(2).tolist()
    return Box(x1, y1, x2, y2) if x2 - x1 >= 1 and y2 - y1 >= 1 else None


def _poses(network: PoseNetwork, looks: Sequence[_Look]) -> Iterator[FramePose]:
    crops = [look.crop for look in looks if look.crop is not None]
    keypoints, scores = network.find(crops)
    place = 0
    for look in looks:
        people = []
        if look.box is not None:
            if is_person(scores[place]):
                people.append(Person(look.box, keypoints[place], scores[place]))
            place += 1
        yield FramePose(people)
