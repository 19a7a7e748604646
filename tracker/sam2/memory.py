"""What a SAM 2.1 state must still hold: everything that a frame to come can attend to, and nothing else.

From sam2 1.1.0, `SAM2Base._prepare_memory_conditioned_features`: a frame reads, besides all conditioning frames (those
with a prompt), the memory features of the num_maskmem - 1 = 6 frames before it and the object pointers of the
max_obj_ptrs_in_encoder - 1 = 15 frames before it, where "before" is after in a backward pass. Upstream keeps the
outputs of every frame for ever. `tests/tracker/sam2/test_session.py` shows that these reaches are exact: nothing
changes with them, and one frame less changes the logits.

`LogitSpool` keeps what is tracked before it is its turn to be handed out: low-resolution logits on disk.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.errors import storage_errors
from tracker.sam2.frames import LazyFrames
from tracker.sam2.predictor import Predictor, State


@dataclass(frozen=True)
class Reach:
    """How many frames back a frame looks."""

    features: int
    pointers: int


def reach_of(predictor: Predictor) -> Reach:
    """The reach of a model (with memory stride 1, which `load_predictor` makes sure of)."""
    return Reach(predictor.num_maskmem - 1, predictor.max_obj_ptrs_in_encoder - 1)


def lazy_state(predictor: Predictor, images: LazyFrames, width: int, height: int) -> State:
    """The twin of upstream's `init_state` for frames that are decoded when needed; sizes in px of the clip."""
    per_object = (
        "point_inputs_per_obj",
        "mask_inputs_per_obj",
        "output_dict_per_obj",
        "temp_output_dict_per_obj",
        "frames_tracked_per_obj",
    )
    return {
        "images": images,
        "num_frames": len(images),
        "offload_video_to_cpu": True,  # the frames; everything else stays on the model's device
        "offload_state_to_cpu": False,
        "video_height": height,
        "video_width": width,
        "device": predictor.device,
        "storage_device": predictor.device,
        "cached_features": {},
        "constants": {},
        "obj_id_to_idx": {},
        "obj_idx_to_id": {},
        "obj_ids": [],
    } | {key: {} for key in per_object}


def prune(state: State, reach: Reach, next_forward: int | None, next_backward: int | None) -> None:
    """Drop what no frame to come reads.

    `next_forward` and `next_backward` are the frames that a forward and a backward pass will do next, None for a pass
    that is over. Both can be pending at once: a backward pass attends to forward frames next to the prompt.
    """
    for outputs in state["output_dict_per_obj"].values():
        frames = outputs["non_cond_frame_outputs"]
        for index in list(frames):
            distance = min(
                next_forward - index if next_forward is not None and index < next_forward else sys.maxsize,
                index - next_backward if next_backward is not None and index > next_backward else sys.maxsize,
            )
            if distance > reach.pointers:
                del frames[index]
                continue
            frames[index].update(pred_masks=None, object_score_logits=None)  # read by this frame's caller only
            if distance > reach.features:
                frames[index].update(maskmem_features=None, maskmem_pos_enc=None)
    for tracked in state["frames_tracked_per_obj"].values():
        tracked.clear()  # only a prompt after tracking would read it


class LogitSpool:
    """Frame number to (logits, object score), exact, in an unnamed file that goes with the process however it ends.

    The logits are the model's own, (S/4, S/4) float32, before they are resized to the clip: 262 kB a frame for
    S = 1024. Nothing is held in memory. StorageError when the disk is full.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._record_bytes = 4 * (size * size + 1)
        with storage_errors(folder):
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed in close()

    def put(self, index: int, logits: NDArray[np.float32], score: float) -> None:
        """Keep a frame's logits (S/4, S/4) and score."""
        with storage_errors(self._folder):
            self._file.seek(index * self._record_bytes)
            self._file.write(np.append(logits.ravel(), np.float32(score)).tobytes())
            self._file.flush()

    def get(self, index: int) -> tuple[NDArray[np.float32], float]:
        """What was put for that frame."""
        self._file.seek(index * self._record_bytes)
        record = np.frombuffer(self._file.read(self._record_bytes), np.float32).copy()
        return record[:-1].reshape(self._size, self._size), float(record[-1])

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
