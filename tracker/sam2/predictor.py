"""Loading SAM 2.1: upstream's own builder, and weights that were verified first.

Then what the model needs around it: a compiler (`--compile`), memory, and number formats: bfloat16 and TF32 on CUDA,
only while the model runs; plain float32 on the CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import sam2.sam2_video_predictor as upstream
import torch
from sam2.build_sam import build_sam2_video_predictor

from handoff.errors import InputError, MissingError, MissingWeightsError, UsageError
from handoff.files import DigestError
from tracker.sam2.sizes import CONFIGS

State = dict[str, Any]
"""Upstream's inference state: what `SAM2VideoPredictor.init_state` returns."""


class Predictor(Protocol):
    """The part of sam2's SAM2VideoPredictor that is used here (sam2 1.1.0, sam2_video_predictor.py, sam2_base.py)."""

    image_size: int  # px: frames are resized to image_size x image_size
    device: Any
    fill_hole_area: int
    num_maskmem: int  # memories a frame attends to, its conditioning frame among them
    max_obj_ptrs_in_encoder: int
    memory_temporal_stride_for_eval: int

    def add_new_points_or_box(self, inference_state: State, **prompt: Any) -> Any: ...
    def add_new_mask(self, inference_state: State, **prompt: Any) -> Any: ...
    def propagate_in_video(
        self, inference_state: State, *, start_frame_idx: int, reverse: bool
    ) -> Iterator[tuple[int, list[int], Any]]: ...
    def _get_orig_video_res_output(self, inference_state: State, any_res_masks: Any) -> tuple[Any, Any]: ...


def load_predictor(
    model: str,
    checkpoint: Path,
    sha256: str,
    device: str = "cuda",
    *,
    image_size: int | None = None,
    compiled: bool = False,
    overrides: Sequence[str] = (),
) -> Predictor:
    """Build the SAM 2.1 predictor of that size and load its verified weights.

    `model`: a key of CONFIGS. `sha256`: what the checkpoint must have, in hex; nothing is unpickled before it does.
    `device`: "cuda", "cuda:1", "cpu". `image_size`: px, the model's own 1024 where it is left out.
    `compiled`: upstream's vos_optimized (torch.compile of everything): faster after minutes of compiling, and users
    run out of GPU memory with it (sam2 issues 501, 592). `overrides`: further Hydra overrides, for tests.

    Raises UsageError for a name that is no size, MissingWeightsError for a checkpoint that is not there, DigestError if
    it has another digest, MissingError for a CUDA device that this machine does not have; InputError for a verified
    file that is no checkpoint of this model.
    """
    if model not in CONFIGS:
        raise UsageError(f"there is no SAM 2.1 model '{model}'; there are: {', '.join(CONFIGS)}.")
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise MissingError(
            f"device '{device}' was asked for, but torch sees no CUDA GPU here; use a GPU, or device cpu."
        )
    changes = [*overrides] if image_size is None else [*overrides, f"++model.image_size={image_size}"]
    # upstream draws a progress bar of its own for every pass, across ours
    upstream.tqdm = lambda frames, **_: frames
    with open_verified(checkpoint, sha256) as file:
        try:
            # with weights_only=True, from the very file whose bytes were hashed, not from its name
            predictor: Predictor = build_sam2_video_predictor(
                CONFIGS[model], file, device, vos_optimized=compiled, hydra_overrides_extra=changes
            )
        except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError, EOFError) as error:
            raise InputError(
                f"{checkpoint} is not a checkpoint of SAM 2.1 {model} that may be loaded "
                f"({type(error).__name__}: {first_line(error)}); get the official file again."
            ) from error
    if predictor.memory_temporal_stride_for_eval != 1:
        raise InputError("this configuration attends to every n-th frame only; use one of sam2's own.")
    # filling needs the compiled operator of sam2, which is not built: without this it fails, and warns, in every frame
    predictor.fill_hole_area = 0
    return predictor


def open_verified(checkpoint: Path, sha256: str) -> BinaryIO:
    """Open a file whose SHA-256 is `sha256`, at its beginning.

    It is read through this one handle, so that what was hashed is what is loaded. Raises MissingWeightsError where it
    cannot be opened, DigestError where it is another file.
    """
    try:
        file = checkpoint.open("rb")
    except OSError as error:
        raise MissingWeightsError(
            f"the SAM 2.1 weights {checkpoint} cannot be read: {error.strerror}; get them first."
        ) from error
    seen = hashlib.file_digest(file, "sha256").hexdigest()
    if seen != sha256.lower():
        file.close()
        raise DigestError(str(checkpoint), seen, sha256.lower(), "it was not loaded; remove it and get it again")
    file.seek(0)
    return file


def first_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters."""
    return (str(error).strip().splitlines() or ["no message"])[0][:200]


def check_compiler(device: str) -> None:
    """Raise MissingError where torch.compile cannot work: on the CPU it makes C++ and needs a compiler for it.

    Also keeps it from printing its timings of every kernel, hundreds of lines.
    """
    import torch._inductor.config
    from torch._inductor.cpp_builder import get_cpp_compiler

    torch._inductor.config.autotune_num_choices_displayed = 0
    torch._inductor.config.max_autotune_report_choices_stats = False
    if device != "cpu":
        return
    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise MissingError(
            "--compile on the CPU needs a C++ compiler and there is none ($CXX, else g++); "
            "install one (Debian and Ubuntu: apt install g++), or leave out --compile."
        ) from error


@contextlib.contextmanager
def compile_errors() -> Iterator[None]:
    """Turn a failed compilation within the block into a MissingError."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        raise MissingError(f"SAM 2.1 cannot be compiled here ({first_line(error)}); leave out --compile.") from error


@contextlib.contextmanager
def memory_errors(model: str, device: str) -> Iterator[None]:
    """Turn memory that runs out within the block into a MissingError that says what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_exhaustion(error):
            raise
        elsewhere = "end what else uses the GPU, or use --device cpu" if device == "cuda" else "end what else runs"
        raise MissingError(
            f"SAM 2.1 {model} found no memory on {device} ({first_line(error)}); {elsewhere}, or a smaller --model "
            f"(tiny, small, base_plus), or a clip of fewer pixels."
        ) from error


def _is_exhaustion(error: Exception) -> bool:
    """Say whether memory ran out; the allocator of the CPU raises a plain RuntimeError with these words."""
    said = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("not enough memory" in said or "can't allocate memory" in said)
    )


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
