"""What moves on a terminal while the tracker works: a bar for every pass over the frames, and only for those."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

from handoff.run import Run
from runner.process import ROOT
from tests.tracker.helpers import Scene, text


def shown(run: Run, *options: str) -> dict[str, tuple[int, int]]:
    """Run the command with a terminal for its standard error: each bar's name, how far it was last seen, its total."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [sys.executable, "-m", "tracker", "--run", str(run.dir), "--backend", "embedded", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # the other end was closed
            pass
    os.close(ours)
    assert process.returncode == 0, said
    lines = re.findall(r"([a-z][a-z ]*): +\d+%.*?(\d+)/(\d+)", said.decode())
    return {name: (int(done), int(total)) for name, done, total in lines}


@pytest.mark.parametrize(
    ("cuts", "backward", "names"),
    [("auto", 13, {"cuts", "tracker"}), ("none", 13, {"tracker"}), ("9", 4, {"tracker"})],
)
def test_every_pass_has_its_bar_and_the_bar_gets_to_its_end(
    run: Run, scene: Scene, cuts: str, backward: int, names: set[str]
) -> None:
    bars = shown(run, "--bbox", text(scene, 12), "--frame", "12", "--cuts", cuts)
    assert bars.pop("back from the prompt")[1] == backward  # and is gone before its end is drawn
    assert bars == dict.fromkeys(names, (24, 24))
