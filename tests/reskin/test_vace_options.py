"""The options of Wan VACE on a real ComfyUI server with tiny random checkpoints, and `make reskin` as users have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.places import Box, Detected, Prompt, write_prompt
from handoff.poses import PoseWriter
from handoff.run import Run
from handoff.video import Frame, probe, read_frames
from runner.process import ROOT
from tests.helpers import HANG_S, vouch_for
from tests.reskin.helpers import HEIGHT, NAME, SMALL, WIDTH, paint_vace

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def plain(comfy_server: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Frame]]:
    """Paint five frames with further options, unlocked; return what the model did."""

    def paint(run: Run, name: str, *options: str) -> list[Frame]:
        given = ("--workflow", "wan_vace_locked", "--no-lock", "--name", name, *options)
        result = paint_vace(run, comfy_server, *given, prompt="drone")
        assert "wan_vace (" in result.output, "without a skater the object's pass alone does it"
        return list(read_frames(run.path(f"reskins/{name}/output.mp4")))

    return paint


def differ(first: list[Frame], second: list[Frame]) -> bool:
    return bool(np.mean(np.abs(np.subtract(first, second, dtype=np.int16)) > 20) > 0.05)


def test_reference_lora_and_prompt_change_what_the_model_does(
    make_run: MakeRun, plain: Callable[..., list[Frame]], tmp_path: Path
) -> None:
    run = make_run(5, skater=False)
    reference = tmp_path / "drone.png"
    picture = np.zeros((40, 90, 3), np.uint8)
    picture[:, 30:] = (250, 30, 90)
    cv2.imwrite(str(reference), picture)
    base = plain(run, "base")
    record = json.loads(run.path("reskins/base/output.json").read_text())
    assert record["replaces"] is None and "board" not in record["texts"]["negative prompt"][""]
    assert record["pixels"]["changed_outside_px"] > 0.9 * 5 * (WIDTH * HEIGHT - 32 * 32), (
        "unlocked: nothing is put back"
    )
    for name, *options in (
        ("lora", "--lora", "tiny_lora.safetensors:0.7"),
        ("reference", "--reference", str(reference)),
        ("words", "--object-prompt", "a red board"),
    ):
        assert differ(base, plain(run, name, *options)), name


def test_make_reskin_takes_the_locked_workflow_where_its_models_are(
    make_run: MakeRun, comfy_server: str, tiny_models: Path, tmp_path: Path
) -> None:
    run = make_run(5, "clip")
    with PoseWriter(run.path("pose.json"), run.info, {}) as poses:
        for _ in range(5):
            poses.write([])
    vouch_for(run.path("pose.json"))
    detected = Detected("snowboard", 0.8, "yolox-nano")
    write_prompt(run, "object", Prompt(Box(20, 40, 52, 72), 0, "detector", detected=detected))
    (tmp_path / "data" / "runs").mkdir(parents=True)
    run.dir.rename(tmp_path / "data" / "runs" / "clip")
    given = {"DATA_DIR": str(tmp_path / "data"), "MODELS_DIR": str(tiny_models), "RUNNER": "local"}
    words = ["PROMPT=drone, samurai", "RUN=clip", f"PYTHON={sys.executable}"]
    options = f"ARGS=--server {comfy_server} {' '.join(SMALL)}"
    done = subprocess.run(
        ["make", "--no-print-directory", "reskin", *words, options],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stderr
    assert "workflow wan_vace_locked (wan2.1_vace_1.3B_fp16.safetensors)" in done.stdout
    assert "5 frames; 0 px changed outside the regions" in done.stdout
    folder = tmp_path / "data" / "runs" / "clip" / NAME
    assert probe(folder / "output.mp4").frames == 5
    record = json.loads((folder / "output.json").read_text())
    assert record["replaces"] == "snowboard" and "snowboard" in record["texts"]["negative prompt"]["object"]
    left = sorted(path.name for path in folder.iterdir())
    assert left == [".lock", "output.json", "output.mp4", "run.json"], "no window is left behind"
