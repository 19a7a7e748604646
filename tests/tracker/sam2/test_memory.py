"""Nothing that a session holds grows with the clip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import torch

from handoff.places import Box
from handoff.video import Frame
from runner.process import ROOT
from tests.tracker.sam2.helpers import ArrayFrames
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session


def held(value: object) -> tuple[int, int]:
    """(bytes of tensors, number of dictionary entries) below a state."""
    if isinstance(value, torch.Tensor):
        return value.untyped_storage().nbytes(), 0
    if isinstance(value, dict | list | tuple):
        members = list(value.values() if isinstance(value, dict) else value)
        parts = [held(member) for member in members]
        return sum(part[0] for part in parts), len(members) + sum(part[1] for part in parts)
    return 0, 0


@pytest.mark.slow
@pytest.mark.parametrize("prompt_frame", [0, 30])
def test_the_state_of_a_session_stops_growing(
    predictor: Predictor, scene: list[Frame], tmp_path: Path, prompt_frame: int
) -> None:
    with Sam2Session(predictor, ArrayFrames(scene), spool_dir=tmp_path) as session:
        session.add_prompt(prompt_frame, 1, box=Box(10, 15, 40, 50))
        sizes = [held(session._states[1]) for _ in session.propagate()]
    settled = sizes[prompt_frame + 17 : -1]  # after the last frame nothing is held any more
    assert settled == [settled[0]] * len(settled)
    assert max(sizes) == settled[0]


@pytest.mark.slow
def test_the_state_stops_growing_on_the_way_back_from_a_mask_on_the_last_frame(
    predictor: Predictor, scene: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    encode = predictor.forward_image  # type: ignore[attr-defined]
    mask = np.zeros((72, 96), bool)
    mask[22:48, 24:51] = True
    with Sam2Session(predictor, ArrayFrames(scene), spool_dir=tmp_path) as session:

        def measure(image: object) -> object:
            sizes.append(held(session._states[1]))
            return encode(image)

        monkeypatch.setattr(predictor, "forward_image", measure)
        session.add_prompt(len(scene) - 1, 1, mask=mask)
        next(session.propagate())  # the whole way back is done before the first frame is handed out
    assert len(sizes) == len(scene)
    assert sizes[5] < sizes[17]  # what is measured does grow
    assert sizes[17:] == [sizes[17]] * (len(scene) - 17)


@pytest.mark.slow
def test_resident_memory_is_flat_where_upstreams_grows() -> None:
    command = [sys.executable, "-m", "bench.tracker", "--frames", "240", "--image-size", "256"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["rss_mb_per_frame"] <= 0.1
    assert result["upstream_rss_mb_per_frame"] >= 0.2
