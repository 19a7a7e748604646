"""One network, on the device that was asked for and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handoff.errors import InputError, MissingError, UsageError
from handoff.files import DigestError, sha256_file
from posegen.detect import yolox
from posegen.models import ModelFile
from posegen.onnx_session import gpu_problem, open_session
from posegen.rtmw_backend import PoseNetwork, RtmwBackend
from tests.helpers import HANG_S
from tests.posegen.helpers import write_detector, write_network

no_gpu = pytest.mark.skipif(gpu_problem() is None, reason="there is a GPU here")
only_gpu = pytest.mark.skipif(gpu_problem() is not None, reason="there is no GPU here")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("onnx") / "rtmw.onnx")


def test_it_says_what_goes_in_and_what_comes_out(network: Path) -> None:
    session = open_session(network, "cpu")
    assert list(map(str, session.inputs)) == ["input [any, 3, 384, 288] float"]
    assert list(map(str, session.outputs)) == ["simcc_x [any, 133, 576] float", "simcc_y [any, 133, 768] float"]
    shapes = [output.shape for output in session.run(np.zeros((2, 3, 384, 288), np.float32))]
    assert shapes == [(2, 133, 576), (2, 133, 768)]


def test_the_cpu_is_used_when_it_is_asked_for(network: Path) -> None:
    assert open_session(network, "cpu").device == "cpu"


def test_the_bytes_that_are_loaded_are_those_that_were_hashed(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is exchanged once it was read: what is loaded is what had the digest, and another is not loaded."""
    path, read = tmp_path / "net.onnx", Path.read_bytes
    path.write_bytes(network.read_bytes())
    digest = sha256_file(path)

    def exchanged(self: Path) -> bytes:
        found = read(self)
        self.write_bytes(b"another network")
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "read_bytes", exchanged)
        session = open_session(path, "cpu", digest)
    assert list(map(str, session.inputs)) == ["input [any, 3, 384, 288] float"]
    for load in (lambda: open_session(path, "cpu", digest), lambda: PoseNetwork(path, "cpu", digest)):
        with pytest.raises(DigestError) as refused:
            load()
        assert (refused.value.actual, refused.value.expected) == (sha256_file(path), digest)


def test_a_weight_that_is_exchanged_after_it_was_verified_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_detector(tmp_path / "net.onnx")
    found = (path, "0" * 64)
    monkeypatch.setattr(yolox, "find_with_digest", lambda name: found)
    with pytest.raises(DigestError):
        yolox.open_detector("nano", "cpu")
    backend = RtmwBackend.__new__(RtmwBackend)
    backend._file, backend._device, backend._network = ModelFile("rtmw-l", path, "0" * 64, None), "cpu", None
    with pytest.raises(DigestError):
        _ = backend.network


@no_gpu
def test_without_a_gpu_auto_is_the_cpu_and_nothing_is_printed(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert open_session(network).device == "cpu"
    assert capfd.readouterr() == ("", "")


@no_gpu
def test_without_a_gpu_cuda_is_an_error_that_says_what_to_install(network: Path) -> None:
    with pytest.raises(MissingError, match=r"--device cuda: .*NVIDIA driver.*posegen/requirements\.lock.*--device cpu"):
        open_session(network, "cuda")


@no_gpu
def test_a_required_gpu_is_one_for_auto_too_and_cpu_still_means_the_cpu(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKATE_GPU", "required")
    with pytest.raises(MissingError, match=r"^GPU=on: .*NVIDIA driver"):
        open_session(network)
    assert open_session(network, "cpu").device == "cpu"
    monkeypatch.setenv("SKATE_GPU", "")
    assert open_session(network).device == "cpu"


@only_gpu
def test_cuda_runs_on_the_gpu_and_finds_what_the_cpu_finds(network: Path) -> None:
    picture = np.random.default_rng(0).normal(size=(2, 3, 384, 288)).astype(np.float32)
    session = open_session(network, "cuda")
    assert session.device == "cuda" and open_session(network).device == "cuda"
    for here, there in zip(session.run(picture), open_session(network, "cpu").run(picture), strict=True):
        np.testing.assert_allclose(here, there, atol=0.05)


_LOAD = """
import ctypes, os, pathlib, onnxruntime
onnxruntime.preload_dlls()
libraries = pathlib.Path(onnxruntime.__file__).parent / "capi"
for name in ("shared", "cuda"):
    ctypes.CDLL(str(libraries / f"libonnxruntime_providers_{name}.so"), mode=os.RTLD_NOW | os.RTLD_GLOBAL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the library's name is Linux's")
def test_the_pinned_cuda_packages_have_all_that_the_cuda_provider_links_against() -> None:
    python = os.environ.get("POSEGEN_PYTHON", sys.executable)
    done = subprocess.run([python, "-c", _LOAD], capture_output=True, text=True, check=False, timeout=HANG_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_device_that_does_not_exist_is_named_with_those_there_are(network: Path) -> None:
    with pytest.raises(UsageError, match="no device 'gpu'; there are: auto, cuda, cpu"):
        open_session(network, "gpu")


def test_a_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"there is no network .*nothing\.onnx; run make weights"):
        open_session(tmp_path / "nothing.onnx")


@pytest.mark.parametrize("share", [0.0, 0.5], ids=["empty", "cut short"])
def test_a_file_that_is_no_network_is_refused(network: Path, tmp_path: Path, share: float) -> None:
    content = network.read_bytes()
    path = tmp_path / "broken.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"broken\.onnx is not a network that can be used"):
        open_session(path, "cpu")


def test_an_input_that_the_network_does_not_take_is_refused_with_its_shape(network: Path) -> None:
    with pytest.raises(InputError, match=r"does not take an input of \(1, 3, 100, 100\) float32"):
        open_session(network, "cpu").run(np.zeros((1, 3, 100, 100), np.float32))
