"""ONNX Runtime for the pose stage: one network, on the device that was asked for and no other. Read `open_session`.

ONNX Runtime by itself goes on on the CPU where CUDA does not work, at loading and again in the middle of a run; both
are switched off or checked here.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handoff.command import asked_by, asked_device
from handoff.errors import InputError, MissingError, UsageError
from handoff.files import DigestError
from posegen.choice import DEVICES

_CUDA = "CUDAExecutionProvider"
_INSTALL = "install posegen/requirements.lock (make extract does)"
_ERRORS_ONLY = 3  # ONNX Runtime's log level


@dataclass(frozen=True)
class Tensor:
    """An input or output of a network. shape: None where the size is free (a batch axis, most often)."""

    name: str
    shape: tuple[int | None, ...]
    type: str

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{self.name} [{sizes}] {self.type.removeprefix('tensor(').removesuffix(')')}"


class OnnxSession:
    """A loaded network. device: "cuda" or "cpu", what it really runs on."""

    def __init__(self, path: Path, runtime_session: Any) -> None:
        self.path = path
        self.device = "cuda" if _CUDA in runtime_session.get_providers() else "cpu"
        self.inputs = tuple(map(_tensor, runtime_session.get_inputs()))
        self.outputs = tuple(map(_tensor, runtime_session.get_outputs()))
        self._session = runtime_session

    def run(self, batch: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return all outputs for `batch` given to the first input.

        Raises InputError when the network does not take it, MissingError when the device fails (a full GPU, say).
        """
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        try:
            outputs: list[NDArray[np.float32]] = self._session.run(None, {self.inputs[0].name: batch})
        except (state.InvalidArgument, state.InvalidGraph, state.NotImplemented) as error:
            raise InputError(
                f"{self.path} does not take an input of {batch.shape} {batch.dtype} ({_short(error)}); it is not the "
                "network that it should be."
            ) from error
        except (state.Fail, state.RuntimeException, state.EPFail, state.EngineError) as error:
            raise MissingError(
                f"{self.path} failed on {self.device} ({_short(error)}); if the GPU's memory is full, free some, or "
                "use --device cpu."
            ) from error
        return outputs


def open_session(path: Path, device: str = "auto", sha256: str | None = None) -> OnnxSession:
    """Load the ONNX file at `path`.

    sha256: what it must have, in hex, where that is known; then the very bytes that were hashed are loaded.
    device: "cuda": the GPU or MissingError, never the CPU; "auto": the GPU where there is one that works, else the
    CPU (see handoff.command); "cpu".
    Raises InputError for a file that is no network, MissingError for a missing file, package or GPU, DigestError (a
    MissingError, with both digests) for another file.
    """
    if device not in DEVICES:
        raise UsageError(f"there is no device '{device}'; there are: {', '.join(DEVICES)}.")
    if not path.is_file():
        raise MissingError(f"there is no network {path}; run make weights.")
    runtime, network = _runtime(), None if sha256 is None else _verified(path, sha256)
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # threads that spin while they wait would take the cores from decoding, which goes on beside the network
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    problem = _prepare_cuda(runtime, device)
    try:
        loaded = _open(runtime, path, network, options, cuda=device != "cpu" and problem is None)
    except runtime.capi.onnxruntime_pybind11_state.EPFail as error:
        problem = _short(error)
        loaded = _open(runtime, path, network, options, cuda=False)
    if device != "cpu" and _CUDA not in loaded.get_providers():
        problem = problem or "ONNX Runtime could not load its CUDA libraries"
    session = OnnxSession(path, loaded)
    if asked_device(device) == "cuda" and session.device != "cuda":
        raise MissingError(
            f"{asked_by(device)}: {problem}; it needs an NVIDIA driver for CUDA 12 (nvidia-smi shows it) and the CUDA "
            f"packages: {_INSTALL}. Or use --device cpu."
        )
    return session


def gpu_problem() -> str | None:
    """Return why the NVIDIA driver has no GPU for this process, or None when it has one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver here (libcuda.so.1 cannot be loaded)"
    count = ctypes.c_int(0)
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code:
        return f"the NVIDIA driver has no GPU for this process (its error code is {code})"
    return None if count.value else "the NVIDIA driver sees no GPU"


def runtime_version() -> str:
    """Return ONNX Runtime's version; MissingError where it is not installed."""
    return str(_runtime().__version__)


def _runtime() -> Any:
    try:
        import onnxruntime
        import onnxruntime.capi.onnxruntime_pybind11_state
    except ImportError as error:
        raise MissingError(f"this needs ONNX Runtime ({error}); {_INSTALL}.") from error
    return onnxruntime


def _prepare_cuda(runtime: Any, device: str) -> str | None:
    """Load CUDA's libraries from the packages; return why that is of no use here, or None."""
    if device == "cpu":
        return None
    # asked first: without a GPU the libraries would take memory, and ONNX Runtime would write its errors to stderr
    problem = gpu_problem()
    if problem is None and _CUDA not in runtime.get_available_providers():
        problem = "the ONNX Runtime that is installed is the one without CUDA (onnxruntime, not onnxruntime-gpu)"
    if problem is not None:
        return problem
    # it prints what it cannot load; whether that matters, the session's providers say
    with contextlib.redirect_stdout(io.StringIO()):
        runtime.preload_dlls()
    return None


def _verified(path: Path, sha256: str) -> bytes:
    network = path.read_bytes()
    actual = hashlib.sha256(network).hexdigest()
    if actual != sha256:
        raise DigestError(str(path), actual, sha256, "it was not loaded; remove it and run make weights")
    return network


def _open(runtime: Any, path: Path, network: bytes | None, options: Any, cuda: bool) -> Any:
    state = runtime.capi.onnxruntime_pybind11_state
    # a search for the fastest convolution at each new batch size would cost more than a short clip
    providers: list[Any] = [(_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"})] if cuda else []
    try:
        session = runtime.InferenceSession(
            str(path) if network is None else network,
            options,
            providers=[*providers, "CPUExecutionProvider"],
            enable_fallback=0,
        )
    except (state.InvalidProtobuf, state.InvalidGraph, state.InvalidArgument, state.NotImplemented) as error:
        raise InputError(f"{path} is not a network that can be used ({_short(error)}).") from error
    except (state.Fail, state.RuntimeException) as error:
        if cuda and "CUDA" in str(error):
            raise state.EPFail(str(error)) from error
        raise InputError(f"{path} is not a network that can be used ({_short(error)}).") from error
    session.disable_fallback()
    return session


def _tensor(argument: Any) -> Tensor:
    # a free axis is a name or None
    shape = tuple(size if isinstance(size, int) and size > 0 else None for size in argument.shape)
    return Tensor(argument.name, shape, argument.type)


def _short(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200]
