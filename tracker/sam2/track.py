"""One object in one upstream state, stepped frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.sam2.memory import Reach, prune
from tracker.sam2.predictor import Predictor, State


class Step(NamedTuple):
    """One frame of one object."""

    logits: NDArray[np.float32]  # (H, W), of the clip's size
    small: torch.Tensor  # (S/4, S/4) on the model's device: what the model gave
    score: float  # logit of "the object is in this frame"


class ObjectTrack:
    """The passes over one object. Each call of `forward` or `backward` does the next frame of that pass.

    The order of a whole clip is `forward` over the head (the frames a backward pass attends to), `backward` to 0, then
    `forward` to the end: the logits are those of upstream's forward pass followed by its backward pass, because no
    frame after the head attends to anything that the backward pass writes.
    """

    def __init__(self, predictor: Predictor, state: State, reach: Reach, first: int, frames: int) -> None:
        self.first = first  # the earliest frame with a prompt
        self._predictor, self._state, self._reach = predictor, state, reach
        self._frames = frames
        self._next_forward: int | None = first
        self._next_backward: int | None = first - 1 if first > 0 else None
        self._passes: dict[bool, Iterator[tuple[int, list[int], Any]]] = {}

    @property
    def head(self) -> range:
        """The frames that must be tracked forward before the backward pass; empty where there is no such pass."""
        if self.first == 0:
            return range(0)
        return range(self.first, min(self.first + self._reach.pointers, self._frames))

    def forward(self) -> Step:
        """Track the next frame of the forward pass."""
        index, logits = self._advance(reverse=False)
        step = self._step(index, logits)
        self._next_forward = index + 1 if index + 1 < self._frames else None
        self._prune()
        return step

    def backward(self) -> Step:
        """Track the next frame of the backward pass, which begins at first - 1."""
        if True not in self._passes:
            self._advance(reverse=True)  # upstream gives the prompt frame once more
        index, logits = self._advance(reverse=True)
        step = self._step(index, logits)
        self._next_backward = index - 1 if index > 0 else None
        self._prune()
        return step

    def resized(self, small: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (S/4, S/4) as the model gave them to (H, W) of the clip, the way upstream does it."""
        with torch.inference_mode():
            values = torch.from_numpy(small)[None, None].to(self._state["device"])
            return as_array(self._predictor._get_orig_video_res_output(self._state, values)[1][0, 0])

    def _advance(self, *, reverse: bool) -> tuple[int, Any]:
        if reverse not in self._passes:
            self._passes[reverse] = self._predictor.propagate_in_video(
                self._state, start_frame_idx=self.first, reverse=reverse
            )
        index, _, logits = next(self._passes[reverse])
        return index, logits[0, 0]

    def _step(self, index: int, logits: torch.Tensor) -> Step:
        outputs = self._state["output_dict_per_obj"][0]
        output = outputs["cond_frame_outputs"].get(index) or outputs["non_cond_frame_outputs"][index]
        return Step(as_array(logits), output["pred_masks"][0, 0], float(output["object_score_logits"].float().item()))

    def _prune(self) -> None:
        prune(self._state, self._reach, self._next_forward, self._next_backward)


def as_array(values: torch.Tensor) -> NDArray[np.float32]:
    """A tensor of logits as a float32 array in memory."""
    return np.asarray(values.float().cpu().numpy(), np.float32)
