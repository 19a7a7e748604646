"""--compile where it cannot be: one sentence and exit code 3, not a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from handoff.run import Run
from runner.process import ROOT
from tests.tracker.sam2.helpers import BOXED, TINY


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
