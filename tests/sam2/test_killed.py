"""kill -9 while SAM 2.1 tracks, then the same command again: the files of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from handoff.hashing import sha256_path
from handoff.ingest import ingest
from handoff.prompts import Prompt, write_prompt
from handoff.run import Run
from runner.process import ROOT
from tests.clips import write_clip
from tests.sam2.command import environment
from tests.sam2.standin import moving_scene
from tests.sam2.test_command import BOX, OTHER

FILES = ("mask.mp4", "mask_skateboard", "human_mask.mp4", "mask_human", "prompts.json")


def start(run: Run, surroundings: dict[str, str]) -> subprocess.Popen[str]:
    options = ["--bbox", str(BOX), "--frame", "20", "--correct", f"34:{OTHER}", "--model", "tiny", "--device", "cpu"]
    return subprocess.Popen(
        [sys.executable, "-m", "tracker", "--run", str(run.dir), *options],
        env=os.environ | surroundings | {"OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_frames(run: Run, process: subprocess.Popen[str], count: int) -> None:
    """Wait until the process has written that many masks of an unfinished folder."""
    deadline = time.monotonic() + 240
    while len(list(run.dir.glob(".mask_skateboard.*.partial/*.png"))) < count:
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("frames_before", [0, 5, 30], ids=["before the first mask", "before the prompt", "after it"])
def test_the_same_command_after_a_kill_gives_the_files_of_an_undisturbed_run(
    tmp_path: Path, checkpoint: tuple[Path, str], frames_before: int
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_scene(48))
    surroundings = environment(tmp_path / "home", checkpoint)
    runs = {name: ingest(clip, tmp_path / name) for name in ("undisturbed", "killed")}
    for run in runs.values():
        write_prompt(run, "skater", Prompt(OTHER, 3, "pose"))
    with start(runs["killed"], surroundings) as process:
        try:
            while frames_before == 0 and not list(runs["killed"].dir.glob(".mask_skateboard.*.partial")):
                assert process.poll() is None, process.stdout and process.stdout.read()
                time.sleep(0.005)
            wait_for_frames(runs["killed"], process, frames_before)
        finally:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not [name for name in FILES[:-1] if runs["killed"].path(name).exists()]
    assert "tracker" not in Run.open(runs["killed"].dir).manifest["stages"]
    for run in runs.values():
        with start(run, surroundings) as process:
            said = process.communicate()[0]
        assert process.returncode == 0, said
    for name in FILES:
        assert sha256_path(runs["killed"].path(name)) == sha256_path(runs["undisturbed"].path(name))
    assert not list(runs["killed"].dir.rglob("*.partial"))
