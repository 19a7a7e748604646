"""What evaluating and `reskin --check` really open and write on a stranger's run, as the kernel was asked (strace)."""

from __future__ import annotations

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
from runner.reskin import WORK_TO_DO
from tests.evaluator.helpers import BLUE, write_output
from tests.helpers import HANG_S
from tests.product.oddities import Oddity, make_outside, seen
from tests.tracker.helpers import bouncing_board, invoke, make_scene, repaint, text

BOTH, EVALUATOR, RESKIN = {"evaluator", "reskin"}, {"evaluator"}, {"reskin"}
CHANGES: list[tuple[list[Oddity], set[str]]] = [
    ([], set()),
    ([Oddity("reskins/drone/report", "link", "folder"), Oddity(".lock", "link", "thesis.tex")], BOTH),
    ([Oddity("reskins/drone/report", "link", "folder")], EVALUATOR),
    ([Oddity("reskins", "link", "folder")], BOTH),
    ([Oddity("reskins/drone", "link", "folder")], BOTH),
    ([Oddity("reskins/drone/.lock", "link", "thesis.tex")], BOTH),
    ([Oddity("reskins/drone/run.json", "link", "folder/run.json")], BOTH),
    ([Oddity("run.json", "link", "folder/run.json")], BOTH),
    ([Oddity("mask.mp4", "link", "thesis.tex")], BOTH),
    ([Oddity("source.mp4", "link", "/dev/zero")], BOTH),
    ([Oddity("human_mask.mp4", "link", "thesis.tex")], BOTH),
    ([Oddity("reskins/drone/output.mp4", "link", "folder/output.mp4")], EVALUATOR),
    ([Oddity("reskins/drone/.x.0a.partial", "link", "folder")], set()),
    ([Oddity("reskins/drone/.windows", "link", "folder")], set()),
    ([Oddity("reskins/drone/error.log", "link", "thesis.tex")], set()),
    ([Oddity("reskins/.latest", "link", "thesis.tex")], set()),
]
"""Changes to the run, and who has to refuse it then."""
QUICK = 5
"""So many of them are tried in make test."""
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
@pytest.mark.parametrize("stage", ["evaluator", "reskin"])
@pytest.mark.parametrize(("changes", "refused"), [
    pytest.param(*each, id=str(index), marks=pytest.mark.slow if index >= QUICK else ())
    for index, each in enumerate(CHANGES)
])  # fmt: skip
def test_nothing_is_written_outside_of_a_run_and_nothing_beside_it_is_opened(
    whole: Path, tmp_path: Path, stage: str, changes: list[Oddity], refused: set[str]
) -> None:
    run, outside, state, log = (tmp_path / name for name in ("run", "outside", "state", "calls"))
    state.mkdir()
    shutil.copytree(whole, run)
    make_outside(outside)
    before = seen(outside)
    for change in changes:
        change.apply(run, outside)
    lines = {
        "evaluator": ["-original", run / "mask.mp4", "-generated", run / "reskins" / "drone" / "output.mp4"],
        "reskin": ["--run", run, "--prompt", "drone, cat", "--name", "drone", "--workflow", "draft", "--check"],
    }
    calls = f"open,openat,openat2,creat,{CHANGING}"
    command = ["strace", "-f", "-y", "-s", "4096", "-e", f"trace={calls}", "-o", log, sys.executable, "-m", stage]
    environment = stage_environment() | {
        "XDG_STATE_HOME": str(state),
        "TMPDIR": str(state),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [str(each) for each in (*command, *lines[stage])],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    if "PTRACE" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("processes may not be traced here")
    does = {"evaluator": 0, "reskin": WORK_TO_DO}[stage]
    assert done.returncode == (2 if stage in refused else does), done.stderr + done.stdout
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
    assert seen(outside) == before
