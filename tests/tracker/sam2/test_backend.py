"""python -m tracker with SAM 2.1: every option does what it says, and what is recorded is what was done."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import torch

from handoff.errors import MissingError
from handoff.files import DigestError
from handoff.run import Run
from tests.tracker.helpers import invoke, masks_of, stage_of
from tests.tracker.sam2.helpers import BOX, BOXED, CLIP_FRAMES, TINY, expected
from tracker.sam2 import predictor as predictor_module
from tracker.sam2.predictor import Predictor
from tracker.sam2.sizes import CONFIGS, MODELS
from tracker.selection import make_backend


def models(run: Run) -> Path:
    return run.dir.parent / "home" / "models"


def test_a_box_gives_the_masks_and_scores_of_sam_2_and_run_json_says_with_what(
    run: Run, predictor: Predictor, checkpoint: tuple[Path, str]
) -> None:
    said = invoke(run, *BOXED, *TINY).output
    assert "SAM 2.1 Hiera tiny on cpu" in said and checkpoint[1][:12] in said
    assert np.array_equal(masks_of(run), expected(predictor, run, [{"frame": 5, "box": BOX}])[0])
    stage = stage_of(run)
    chosen = {"backend": "sam2", "model": "tiny", "weights": checkpoint[1], "device": "cpu", "compiled": False}
    assert chosen.items() <= stage["params"].items()
    assert stage["tools"]["sam2"] == "1.1.0" and "SAM 2.1" in stage["tools"]["tracker"]
    scores, seen = stage["notes"]["status"]["scores"], masks_of(run).any(axis=(1, 2))
    assert len(scores) == CLIP_FRAMES and len(set(scores)) > CLIP_FRAMES // 2
    assert not any(visible and score <= 0 for visible, score in zip(seen, scores, strict=True))
    assert "nothing has changed" in invoke(run, *TINY).output


def test_the_largest_model_is_the_default_and_auto_takes_it_where_its_weights_are(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (models(run) / "sam2.1_hiera_large.pt").write_bytes(b"large")  # the file that the tests' registry describes
    backend = make_backend("auto")
    assert (backend.name, backend.params["model"]) == ("sam2", "large")


def test_auto_without_weights_is_the_embedded_tracker_and_says_so_in_one_line(run: Run) -> None:
    said = invoke(run, *BOXED).output.splitlines()
    line = next(line for line in said if "sam2.1_hiera_large.pt" in line)
    assert "the embedded tracker does the work" in line and "make weights PROFILE=tracker-large" in line
    assert stage_of(run)["params"]["backend"] == "embedded"


@pytest.mark.parametrize(
    ("options", "file", "profile"),
    [
        (("--backend", "sam2"), "sam2.1_hiera_large.pt", "tracker-large"),
        (("--model", "small"), "sam2.1_hiera_small.pt", "tracker-small"),
        (("--model", "base_plus"), "sam2.1_hiera_base_plus.pt", "tracker-base-plus"),
        (("--compile",), "sam2.1_hiera_large.pt", "tracker-large"),
    ],
)
def test_sam_2_by_name_never_falls_back(run: Run, options: tuple[str, ...], file: str, profile: str) -> None:
    with pytest.raises(MissingError, match=rf"{file} .*make weights PROFILE={profile}") as refused:
        invoke(run, *BOXED, *options)
    assert refused.value.exit_code == 3
    assert not run.path("mask.mp4").exists() and not run.path("prompts.json").exists()


def test_weights_with_another_digest_are_refused_and_auto_does_not_hide_it(run: Run) -> None:
    (models(run) / "sam2.1_hiera_large.pt").write_bytes(b"rotten")
    with pytest.raises(DigestError):
        invoke(run, *BOXED)
    assert not run.path("mask.mp4").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_by_name_or_required_is_exit_code_3_where_there_is_none(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingError, match="--device cuda was asked for") as refused:
        invoke(run, *BOXED, "--model", "tiny", "--device", "cuda")
    assert refused.value.exit_code == 3
    monkeypatch.setenv("SKATE_GPU", "required")
    with pytest.raises(MissingError, match="GPU=on was asked for"):
        invoke(run, *BOXED, "--model", "tiny", "--device", "auto")
    monkeypatch.delenv("SKATE_GPU")
    invoke(run, *BOXED, "--model", "tiny", "--device", "auto")
    assert stage_of(run)["params"]["device"] == "cpu"


@pytest.mark.skipif(shutil.which("g++") is None, reason="this machine has no C++ compiler")
@pytest.mark.parametrize(("options", "compiled"), [((), False), (("--compile",), True)])
def test_compile_reaches_the_model(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], compiled: bool
) -> None:
    seen: list[object] = []

    def stop(*_: object, **chosen: object) -> None:
        seen.append(chosen["compiled"])
        raise MissingError("far enough")

    monkeypatch.setattr(predictor_module, "load_predictor", stop)
    with pytest.raises(MissingError, match="far enough"):
        invoke(run, *BOXED, *TINY, *options)
    assert seen == [compiled]


def test_every_size_has_a_configuration_and_weights() -> None:
    assert list(MODELS) == list(CONFIGS)
