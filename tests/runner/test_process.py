"""What becomes of a stage when its command is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from runner.process import ROOT
from tests.helpers import HANG_S, until

STAGE = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path("report").write_text("cut short")
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
pathlib.Path("at-work").touch()
time.sleep(3600)
"""
COMMAND = """
import sys
from pathlib import Path
from runner import process, stages
process.ROOT = Path.cwd()  # where the module of this test lies
sys.exit(stages.run_module(Path(sys.executable), "stage", []))
"""


def test_sigterm_to_a_command_lets_the_stage_write_its_report_before_the_command_ends(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", COMMAND], cwd=tmp_path, env=environment) as root:
        try:
            until("the stage is at work", (tmp_path / "at-work").exists)
            root.send_signal(signal.SIGTERM)
            assert root.wait(HANG_S) == 130
            assert (tmp_path / "report").read_text() == "cut short"
        finally:
            root.kill()
