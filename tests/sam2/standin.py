"""A small SAM 2.1 with fixed random weights as a real checkpoint file, and upstream's own plain loop to compare with.

It is the architecture, the configuration files and the code of SAM 2.1; its masks mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sam2.build_sam import build_sam2_video_predictor

from handoff.files import sha256_file
from handoff.video import Frame
from tests.helpers import textured
from tracker.sam2.predictor import CONFIGS, Predictor, load_predictor

SMALL = (
    "++model.image_encoder.trunk.embed_dim=24",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.neck.backbone_channel_list=[192,96,48,24]",
    "++model.memory_attention.num_layers=2",
)
"""Hydra overrides that make hiera-tiny smaller still: for tests on a CPU."""


def write_checkpoint(path: Path, image_size: int, overrides: Sequence[str] = SMALL, seed: int = 3) -> str:
    """Save random weights as a checkpoint of model "tiny" with these overrides; returns its SHA-256.

    The object score of random weights hardly varies and says "absent"; it is spread about 0 so that objects come and
    go and masks hold both values.
    """
    torch.manual_seed(seed)
    model = build_sam2_video_predictor(
        CONFIGS["tiny"], None, "cpu", hydra_overrides_extra=[f"++model.image_size={image_size}", *overrides]
    )
    weights = model.state_dict()
    last = "sam_mask_decoder.pred_obj_score_head.layers.2."
    weights[last + "weight"] *= 100
    weights[last + "bias"] = weights[last + "bias"] * 100 + 9.65
    torch.save({"model": weights}, path)
    return sha256_file(path)


class ArrayFrames:
    """Frames that are already in memory, as a source."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.height, self.width = frames[0].shape[:2]
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        return iter(self.frames[start:stop])


def moving_scene(count: int, width: int = 96, height: int = 72) -> list[Frame]:
    """Frames in which a textured square crosses a textured ground that pans."""
    ground, patch = textured(height, width + 2 * count, 1), 255 - textured(24, 24, 2)
    frames = []
    for index in range(count):
        frame = ground[:, index : index + width].copy()
        x, y = (7 * index) % (width - 24), 20 + index % 17
        frame[y : y + 24, x : x + 24] = patch
        frames.append(frame)
    return frames


def write_frame_folder(folder: Path, frames: Sequence[Frame]) -> Path:
    """A folder as upstream wants it, without loss: PNG data in files named .jpg (Pillow goes by the content)."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{index:05d}.jpg").write_bytes(data.tobytes())
    return folder


Logits = dict[int, dict[int, NDArray[np.float32]]]  # frame to object to (H, W)


def upstream_logits(predictor: Predictor, folder: Path, prompts: Sequence[dict[str, object]]) -> Logits:
    """Upstream's plain loop: all prompts into one state, forward from the first one, then backward."""
    state = predictor.init_state(str(folder))  # type: ignore[attr-defined]
    for prompt in prompts:
        add = predictor.add_new_mask if "mask" in prompt else predictor.add_new_points_or_box
        add(state, **prompt)
    result: Logits = {}
    for reverse in (False, True):
        for index, ids, logits in predictor.propagate_in_video(state, start_frame_idx=None, reverse=reverse):  # type: ignore[arg-type]
            result[index] = {identity: logits[row, 0].numpy().copy() for row, identity in enumerate(ids)}
    return result


def small_predictor(path: Path, sha256: str, image_size: int) -> Predictor:
    """The predictor of a checkpoint that `write_checkpoint` made."""
    return load_predictor("tiny", path, sha256, "cpu", image_size=image_size, overrides=SMALL)
