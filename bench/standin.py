"""A small SAM 2.1 with fixed random weights as a real checkpoint file, for a machine without the real ones.

It is the architecture, the configuration files and the code of SAM 2.1; its masks mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from sam2.build_sam import build_sam2_video_predictor

from handoff.files import sha256_file
from tracker.sam2.predictor import Predictor, load_predictor
from tracker.sam2.sizes import CONFIGS

SMALL = (
    "++model.image_encoder.trunk.embed_dim=24",
    "++model.image_encoder.trunk.stages=[1,1,2,1]",
    "++model.image_encoder.trunk.global_att_blocks=[3]",
    "++model.image_encoder.neck.backbone_channel_list=[192,96,48,24]",
    "++model.memory_attention.num_layers=2",
)
"""Hydra overrides that make hiera-tiny smaller still: for a CPU."""


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


def small_predictor(path: Path, sha256: str, image_size: int) -> Predictor:
    """The predictor of a checkpoint that `write_checkpoint` made."""
    return load_predictor("tiny", path, sha256, "cpu", image_size=image_size, overrides=SMALL)
