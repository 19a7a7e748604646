"""RTMW's ONNX file: checked when it is loaded, run on many crops at once where its batch axis is free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.errors import InputError, MissingError
from handoff.poses import N_KEYPOINTS
from posegen.onnx_session import Session, open_session
from posegen.rtmw.crops import Crop, Pixels
from posegen.rtmw.simcc import SPLIT, decode

Simcc = NDArray[np.float32]


class PoseNetwork:
    """A network with input (N, 3, height, width) and the two SimCC outputs (N, 133, 2 width) and (N, 133, 2 height).

    width, height: px of a crop. batch: how many crops go through it together at most; None where that is free.
    Raises InputError for a file with other inputs or outputs; it is run once to see.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int | None = None) -> None:
        self._session: Session = open_session(path, device, threads)
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

    @property
    def problem(self) -> str | None:
        """Why no GPU is used although it might be; None where that is not so."""
        return self._session.problem

    def find(self, crops: Sequence[Crop]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return keypoints (N, 133, 2), px of the frame, and scores (N, 133), 0..1, of N crops.

        As many go through the network together as its batch axis allows.
        """
        keypoints = np.empty((len(crops), N_KEYPOINTS, 2), np.float32)
        scores = np.empty((len(crops), N_KEYPOINTS), np.float32)
        for start in range(0, len(crops), self.batch or max(len(crops), 1)):
            part = slice(start, start + (self.batch or len(crops)))
            simcc_x, simcc_y = self._together([each.pixels for each in crops[part]])
            keypoints[part], scores[part] = decode(simcc_x, simcc_y, crops[part])
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
