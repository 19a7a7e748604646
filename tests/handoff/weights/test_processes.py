"""Downloads in processes of their own: killed in the middle, two at once, quiet where nobody watches."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

from runner.process import ROOT
from tests.handoff.weights.helpers import CONTENT, Fault, FileServer, Get
from tests.helpers import HANG_S, until


def start(server: FileServer, target: Path, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path; from handoff.weights.download import download\n"
        "download(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3], size_bytes=int(sys.argv[4]))"
    )
    arguments = [server.url, str(target), server.sha256, str(len(server.content))]
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stderr=stderr, text=True)


def has(path: Path, length: int) -> bool:
    return path.exists() and path.stat().st_size >= length


def test_a_killed_download_goes_on_where_it_was(server: FileServer, target: Path, get: Get) -> None:
    server.faults = [Fault(stall_after=2_000_000)]
    process = start(server, target)
    part = target.with_name("model.bin.part")
    # less than was sent: the last bytes may still be in the dying process
    until("1900000 bytes are kept", lambda: has(part, 1_900_000))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = part.stat().st_size
    assert process.returncode == -signal.SIGKILL and not target.exists() and kept >= 1_900_000
    get()
    assert target.read_bytes() == CONTENT and server.ranges == [None, f"bytes={kept}-"]


def test_two_at_once_fetch_the_file_once(server: FileServer, target: Path) -> None:
    server.faults = [Fault(hold_after=1_000_000)]
    first = start(server, target)
    assert server.sent.wait(HANG_S)
    second = start(server, target)
    assert second.stderr and "another process is downloading it" in second.stderr.readline()
    server.release.set()
    _, first_says = first.communicate(timeout=HANG_S)
    _, second_says = second.communicate(timeout=HANG_S)
    assert (first.returncode, second.returncode) == (0, 0), first_says + second_says
    assert target.read_bytes() == CONTENT and len(server.requests) == 1 and first_says == ""


def test_a_bar_is_shown_on_a_terminal_only(server: FileServer, target: Path) -> None:
    _, silent = start(server, target).communicate(timeout=HANG_S)
    assert silent == ""
    target.unlink()
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    process = start(server, target, stderr=slave)
    os.close(slave)
    assert process.wait(HANG_S) == 0
    shown = os.read(master, 65536).decode()
    os.close(master)
    assert "model.bin: 100%" in shown and "3.00M/3.00M" in shown
