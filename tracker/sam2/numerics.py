"""bfloat16 and TF32 on CUDA, only while the model runs; plain float32 on the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def fast_numerics(device: torch.device) -> Iterator[None]:
    """Run the block with bfloat16 autocast and TF32 where `device` is a GPU that has them in hardware.

    On leaving, the process-wide TF32 switches are what they were. On the CPU nothing changes: results there are
    those of upstream's predictor, bit for bit.
    """
    if device.type != "cuda":
        yield
        return
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    matmul.allow_tf32 = convolution.allow_tf32 = True
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=torch.cuda.is_bf16_supported(including_emulation=False)):
            yield
    finally:
        matmul.allow_tf32, convolution.allow_tf32 = before


@contextlib.contextmanager
def weights_cast_once() -> Iterator[None]:
    """Until the block ends, keep the bfloat16 copies of weights that autocast makes within it.

    Autocast forgets them when its outermost block is left; `fast_numerics` is left after every frame, so that a
    caller's own code between two frames runs in its own precision.
    """
    torch.autocast_increment_nesting()
    try:
        yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
