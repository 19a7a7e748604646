"""kill -9 while SAM 2.1 tracks, then the same command again: the files of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from handoff.files import sha256_path
from handoff.ingest import ingest
from handoff.places import Prompt, write_prompt
from handoff.run import Run
from runner.process import ROOT
from tests.helpers import until, write_clip
from tests.tracker.sam2.helpers import BOX, OTHER, environment, moving_scene

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
    """Wait until the process has begun a folder of masks and written that many."""

    def has_written() -> bool:
        folders = list(run.dir.glob(".mask_skateboard.*.partial"))
        return bool(folders) and len(list(folders[0].rglob("*.png"))) >= count

    until("masks are written", lambda: has_written() or process.poll() is not None)
    assert process.poll() is None, process.stdout and process.stdout.read()


def make_run(folder: Path, checkpoint: tuple[Path, str]) -> tuple[Run, dict[str, str]]:
    """A run that waits for its tracker, and the environment that the tracker needs."""
    surroundings = environment(folder / "home", checkpoint)
    run = ingest(write_clip(folder / "clip.mp4", moving_scene(40)), folder / "run")
    write_prompt(run, "skater", Prompt(OTHER, 3, "pose"))
    return run, surroundings


def to_the_end(run: Run, surroundings: dict[str, str]) -> dict[str, str]:
    """Track without a disturbance; the digests of the files."""
    with start(run, surroundings) as process:
        said = process.communicate()[0]
    assert process.returncode == 0, said
    return {name: sha256_path(run.path(name)) for name in FILES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, checkpoint: tuple[Path, str]) -> dict[str, str]:
    return to_the_end(*make_run(tmp_path_factory.mktemp("undisturbed"), checkpoint))


@pytest.mark.slow
@pytest.mark.parametrize("frames_before", [0, 5, 30], ids=["before the first mask", "before the prompt", "after it"])
def test_the_same_command_after_a_kill_gives_the_files_of_an_undisturbed_run(
    tmp_path: Path, checkpoint: tuple[Path, str], undisturbed: dict[str, str], frames_before: int
) -> None:
    run, surroundings = make_run(tmp_path, checkpoint)
    with start(run, surroundings) as process:
        try:
            wait_for_frames(run, process, frames_before)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not [name for name in FILES if name != "prompts.json" and run.path(name).exists()]
    assert "tracker" not in Run.open(run.dir).manifest["stages"]
    assert to_the_end(run, surroundings) == undisturbed
    assert not list(run.dir.rglob("*.partial"))
