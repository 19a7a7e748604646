"""What torch.compile needs of the machine, and what is said where it fails (`--compile`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from handoff.errors import MissingError
from tracker.sam2.predictor import first_line


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
