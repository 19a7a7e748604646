"""Tiny checkpoints of the Wan 2.1 VACE family, with random weights, for a real ComfyUI server without a GPU.

The server's own classes give the tensors' names and shapes, so that it takes the files for the real family; the
weights are random, so that what is painted is noise. 6 MB on disk, made in some ten seconds:

    PYTHON_OF_COMFYUI tests/reskin/tinymodels.py COMFYUI_TREE MODELS_FOLDER

PYTHON_OF_COMFYUI is the interpreter of ComfyUI's environment: it has torch, safetensors and sentencepiece.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import struct
import sys
from pathlib import Path
from typing import Any

DIM, FFN, BLOCKS, VACE_BLOCKS, TEXT_DIM = 128, 256, 2, 1, 768
VAE_DIM = 4
VOCABULARY = 300
FILES = {
    "diffusion_models": "wan2.1_vace_1.3B_fp16.safetensors",
    "vae": "wan_2.1_vae.safetensors",
    "text_encoders": "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
}
"""Folder below the models' folder -> file: the names that the templates ask for."""

LORA = "tiny_lora.safetensors"
"""In loras/: changes one layer."""

_WORDS = "a video of the skater riding on board drone samurai cyberpunk photorealistic detailed blurry skateboard"


def make_models(folder: Path) -> None:
    """Write the three files below `folder`, laid out as ComfyUI/models. The same bytes at every call."""
    import torch

    torch.manual_seed(0)
    for name in (*FILES, "loras"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    paths = {name: folder / name / file for name, file in FILES.items()}
    _save(paths["diffusion_models"], _vace(), {"config": json.dumps({"transformer": {"text_dim": TEXT_DIM}})})
    _save(paths["vae"], _vae(), None)
    _write_text_encoder(paths["text_encoders"])
    layer, rank = "diffusion_model.blocks.0.self_attn.v", 4
    lora = {f"{layer}.lora_A.weight": torch.randn(rank, DIM), f"{layer}.lora_B.weight": torch.randn(DIM, rank)}
    _save(folder / "loras" / LORA, lora, None)


def _save(path: Path, tensors: dict[str, Any], metadata: dict[str, str] | None) -> None:
    from safetensors.torch import save_file

    save_file(tensors, path, metadata)


def _vace() -> dict[str, Any]:
    import comfy.ops
    from comfy.ldm.wan.model import VaceWanModel

    model = VaceWanModel(
        dim=DIM,
        ffn_dim=FFN,
        num_heads=DIM // 128,
        num_layers=BLOCKS,
        text_dim=TEXT_DIM,
        vace_layers=VACE_BLOCKS,
        vace_in_dim=96,
        operations=comfy.ops.disable_weight_init,
    )
    return _randomised(model.state_dict())


def _vae() -> dict[str, Any]:
    from comfy.ldm.wan.vae import WanVAE

    settings = {"dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [], "dropout": 0.0}
    return _randomised(WanVAE(dim=VAE_DIM, z_dim=16, temperal_downsample=[False, True, True], **settings).state_dict())


def _randomised(state: dict[str, Any]) -> dict[str, Any]:
    """Give every tensor values that keep a signal's size: normal by fan-in, biases 0, norms 1."""
    import torch

    filled = {}
    for name, tensor in state.items():
        if name.endswith("bias"):
            filled[name] = torch.zeros(tensor.shape)
        elif "norm" in name or name.endswith("gamma"):
            filled[name] = torch.ones(tensor.shape)
        else:
            fan_in = math.prod(tensor.shape[1:]) if tensor.ndim > 1 else tensor.shape[0]
            filled[name] = torch.randn(tensor.shape) / math.sqrt(fan_in)
    return filled


def _write_text_encoder(path: Path) -> None:
    """Write a umt5-base-shaped file that is sparse: all zeros but the embeddings of the few words and the last norm.

    With zeros in its blocks every word's embedding goes through unchanged, so other prompts give other conditions.
    """
    import torch
    from comfy.text_encoders.t5 import T5

    config = json.loads((Path(sys.modules[T5.__module__].__file__ or "").parent / "umt5_config_base.json").read_text())
    with torch.device("meta"):
        import comfy.ops

        state = T5(config, torch.float16, "meta", comfy.ops.disable_weight_init).state_dict()
    values = {
        "spiece_model": torch.frombuffer(bytearray(_sentencepiece()), dtype=torch.uint8),
        "encoder.final_layer_norm.weight": torch.ones(TEXT_DIM, dtype=torch.float16),
        "shared.weight": torch.randn(VOCABULARY, TEXT_DIM).to(torch.float16),
    }
    header, offset = {}, 0
    layout = {name: (tensor.shape, "F16", 2) for name, tensor in state.items()}
    layout["spiece_model"] = (values["spiece_model"].shape, "U8", 1)
    for name, (shape, dtype, size) in layout.items():
        end = offset + math.prod(shape) * size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        start = file.tell()
        for name, value in values.items():
            file.seek(start + header[name]["data_offsets"][0])
            file.write(value.contiguous().view(torch.uint8).numpy().tobytes())
        file.truncate(start + offset)


def _sentencepiece() -> bytes:
    """Train a small SentencePiece model: pad 0, end 1, unknown 2, letters, and a few words."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([_WORDS, *_WORDS.split()] * 20),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        byte_fallback=True,
        minloglevel=2,
    )
    return model.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("tree", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    # the server's modules read the command line when they are imported
    sys.argv = [sys.argv[0], "--cpu"]
    sys.path.insert(0, str(options.tree))
    import comfy.options

    comfy.options.enable_args_parsing()
    make_models(options.folder)
