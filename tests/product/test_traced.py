"""What the evaluator really opens and writes on a stranger's run, as the kernel was asked (by strace)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.ingest import ingest
from handoff.masks import read_masks
from handoff.video import read_frames
from runner.process import ROOT, stage_environment
from tests.evaluator.helpers import BLUE, write_output
from tests.helpers import HANG_S
from tests.product.oddities import Oddity
from tests.tracker.helpers import bouncing_board, invoke, make_scene, repaint, text

CHANGES = [
    [],
    [Oddity("reskins/drone/report", "link", "folder"), Oddity(".lock", "link", "thesis.tex")],
    [Oddity("reskins/drone/report", "link", "folder")],
    [Oddity("reskins/drone", "link", "folder")],
    [Oddity("reskins/drone/.lock", "link", "thesis.tex")],
    [Oddity("mask.mp4", "link", "thesis.tex")],
    [Oddity("source.mp4", "link", "/dev/zero")],
    [Oddity("reskins/drone/.x.0a.partial", "link", "folder")],
]
CALL = re.compile(r"^\d+ +(\w+)\((.*)\) += (\d+)(?:<(.*)>)?$", re.M)
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
CHANGING = "mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,truncate,rmdir,mknod"
SYSTEM = ("/dev/null", "/dev/tty", "/dev/shm", "/proc/self", "/proc/thread-self")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("traced")
    scene = make_scene(3, bouncing_board)
    run = ingest(scene.write(folder / "clip.mp4"), folder / "run")
    invoke(run, "--bbox", text(scene, 1), "--frame", "1", "--backend", "embedded")
    write_output(run, repaint(list(read_frames(run.source)), list(read_masks(run.path("mask.mp4"))), BLUE))
    return run.dir


@pytest.mark.skipif(shutil.which("strace") is None, reason="this system has no strace")
@pytest.mark.parametrize("changes", CHANGES, ids=[str(index) for index in range(len(CHANGES))])
def test_nothing_is_written_outside_of_a_run_and_nothing_beside_it_is_opened(
    whole: Path, tmp_path: Path, changes: list[Oddity]
) -> None:
    run, outside, state, log = (tmp_path / name for name in ("run", "outside", "state", "calls"))
    state.mkdir()
    shutil.copytree(whole, run)
    (outside / "folder").mkdir(parents=True)
    (outside / "thesis.tex").write_text("precious")
    for change in changes:
        change.apply(run, outside)
    files = ["-original", run / "mask.mp4", "-generated", run / "reskins" / "drone" / "output.mp4"]
    calls = f"open,openat,openat2,creat,{CHANGING}"
    command = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={calls}", "-o", log, sys.executable, "-m", "evaluator"]
    environment = stage_environment() | {
        "XDG_STATE_HOME": str(state),
        "TMPDIR": str(state),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [str(each) for each in (*command, *files)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("processes may not be traced here")
    refused = any(change.place != "reskins/drone/.x.0a.partial" for change in changes)
    assert done.returncode == (2 if refused else 0), done.stderr + done.stdout
    opened, allowed = 0, (str(run), str(state), *SYSTEM)
    for name, arguments, _result, found in CALL.findall(log.read_text(errors="replace")):
        if name.startswith(("open", "creat")):
            opened += 1
            assert not found.startswith(str(outside)), (name, arguments)
            assert found.startswith(allowed) or not WRITES.search(arguments), (name, arguments, found)
        else:
            folders, names = re.findall(r"<([^>]*)>", arguments), re.findall(r'"([^"]*)"', arguments)
            names = [each for each in names if each.startswith("/") or not folders]
            assert all(each.startswith(allowed) for each in (*folders, *names)), (name, arguments)
    assert opened > 100, "something was traced"
    assert (outside / "thesis.tex").read_text() == "precious" and os.listdir(outside / "folder") == []
