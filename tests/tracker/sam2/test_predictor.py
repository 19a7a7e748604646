"""Weights are loaded only when they are the right ones, and then only as data; --compile where it cannot be."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import os
import subprocess
import sys

import pytest
import torch

from handoff.errors import InputError, MissingError, UsageError
from handoff.run import Run
from runner.process import ROOT
from tests.tracker.sam2.helpers import BOXED, IMAGE_SIZE, SMALL, TINY
from tracker.sam2.predictor import fast_numerics, load_predictor, weights_cast_once


def load(path: Path, sha256: str, **changes: object) -> object:
    options = {"device": "cpu", "image_size": IMAGE_SIZE, "overrides": SMALL} | changes
    return load_predictor("tiny", path, sha256, **options)  # type: ignore[arg-type]


def test_the_weights_of_the_file_are_in_the_model(checkpoint: tuple[Path, str]) -> None:
    loaded = load(*checkpoint).state_dict()  # type: ignore[attr-defined]
    saved = torch.load(checkpoint[0], weights_only=True)["model"]
    assert set(loaded) == set(saved)
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


def test_another_digest_is_refused_with_both_shown(checkpoint: tuple[Path, str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(checkpoint[0].read_bytes()[:-1] + b"x")
    seen = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(MissingError) as refused:
        load(path, checkpoint[1])
    assert seen in str(refused.value) and checkpoint[1] in str(refused.value)


def test_nothing_is_unpickled_before_the_digest_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"anything")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    with pytest.raises(MissingError):
        load(path, "0" * 64)


def test_a_missing_file_is_exit_code_3_and_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.pt") as refused:
        load(tmp_path / "nowhere.pt", "0" * 64)
    assert refused.value.exit_code == 3


class RunsCode:
    """Unpickled, it would make a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.target,)  # type: ignore[return-value]


@pytest.mark.parametrize("save", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_a_checkpoint_with_code_in_it_is_refused_though_its_digest_matches(tmp_path: Path, save: object) -> None:
    path, target = tmp_path / "weights.pt", tmp_path / "code-ran"
    save({"model": RunsCode(target)}, path)  # type: ignore[operator]
    with pytest.raises(InputError, match=r"not a checkpoint of SAM 2\.1 tiny that may be loaded"):
        load(path, hashlib.sha256(path.read_bytes()).hexdigest())
    assert not target.exists()


def test_a_checkpoint_of_another_size_is_refused(checkpoint: tuple[Path, str]) -> None:
    with pytest.raises(InputError, match=r"not a checkpoint of SAM 2\.1 tiny"):
        load(*checkpoint, overrides=())


@pytest.mark.parametrize("content", [{"weights": {}}, {"model": {}}, [1]])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match="not a checkpoint"):
        load(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_model_that_does_not_exist_is_refused_with_the_names_that_do(checkpoint: tuple[Path, str]) -> None:
    with pytest.raises(UsageError, match="tiny, small, base_plus, large"):
        load_predictor("huge", *checkpoint, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_exit_code_3(checkpoint: tuple[Path, str]) -> None:
    with pytest.raises(MissingError, match="no CUDA GPU"):
        load_predictor("tiny", *checkpoint, "cuda")


def test_compiling_is_off_unless_asked_for(checkpoint: tuple[Path, str]) -> None:
    assert type(load(*checkpoint)).__name__ == "SAM2VideoPredictor"
    assert type(load(*checkpoint, compiled=True)).__name__ == "SAM2VideoPredictorVOS"


def test_the_fast_number_formats_of_a_gpu_are_given_back_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    matmul, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, convolution.allow_tf32
    convolution.allow_tf32 = False
    try:
        with pytest.raises(ValueError, match="inside"), fast_numerics(torch.device("cuda")):
            assert (matmul.allow_tf32, convolution.allow_tf32) == (True, True)
            raise ValueError("inside")
        assert (matmul.allow_tf32, convolution.allow_tf32) == (before[0], False)
        assert not torch.is_autocast_enabled("cuda")
    finally:
        convolution.allow_tf32 = before[1]


def test_the_cpu_stays_in_float32() -> None:
    with fast_numerics(torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")


def casts(layer: torch.nn.Module) -> int:
    """How many tensors one call under autocast converts."""
    with torch.profiler.profile() as profile, torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        layer(torch.zeros(1, 8))
    return sum(event.name == "aten::_to_copy" for event in profile.events())


def test_weights_are_cast_once_for_many_frames() -> None:
    layer = torch.nn.Linear(8, 8)
    each_time = casts(layer)
    with weights_cast_once():
        casts(layer)
        assert casts(layer) == each_time - 2  # neither the weight nor the bias again
        assert not torch.is_autocast_enabled("cpu")
    assert casts(layer) == each_time


def refusal(run: Run, cxx: Path, cache: Path) -> str:
    """Run the command with that C++ compiler and no earlier compilation; its last line, after checking its end."""
    done = subprocess.run(
        [sys.executable, "-m", "tracker", "--run", str(run.dir), *BOXED, *TINY, "--compile"],
        env=os.environ | {"CXX": str(cxx), "TORCHINDUCTOR_CACHE_DIR": str(cache), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr and not run.path("mask.mp4").exists()
    assert not list(run.dir.rglob("*.partial"))
    return done.stderr.splitlines()[-1]


def test_without_a_compiler_it_says_what_to_install_before_any_work(run: Run, tmp_path: Path) -> None:
    said = refusal(run, tmp_path / "nowhere" / "g++", tmp_path / "cache")
    assert said.startswith("error: --compile on the CPU needs a C++ compiler") and "apt install g++" in said
    assert not run.path("prompts.json").exists()


@pytest.mark.slow
def test_a_compilation_that_fails_is_said_with_its_reason(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text('#!/bin/sh\ntest "$1" = --version\n')
    broken.chmod(0o755)
    said = refusal(run, broken, tmp_path / "cache")
    assert said.startswith("error: SAM 2.1 cannot be compiled here (") and said.endswith("leave out --compile.")
