"""Whole run folders from strangers: every file, link, type and size changed, and nothing outside of them touched.

Each folder is judged and asked for work in a process of its own, which is forked from one that has loaded the stages.
It must end in time, with an exit code that says something, with little memory, and without a look at what lies beside
the folder: the files there have the same bytes, names and times after it, also the time of the last reading.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings

from evaluator.cli import command as evaluator_command
from handoff.command import FAULT, main
from handoff.ingest import ingest
from handoff.masks import read_masks
from handoff.poses import PoseWriter
from handoff.video import read_frames
from reskin.cli import command as reskin_command
from tests.evaluator.helpers import BLUE, stick_figure, write_output
from tests.helpers import HANG_S, many, vouch_for
from tests.product.oddities import Oddity, make_outside, oddities, seen
from tests.tracker.helpers import bouncing_board, invoke, make_scene, repaint, text

FRAMES = 3
QUICK, ALL = 24, many(2000)
"""Folders: in make test, and in all tests."""
MOST_MEMORY = 1_000_000
"""kB that a process may have had in memory."""
ADDRESSES = 8 * 2**30
"""Bytes of addresses, most of them never used; it keeps a process that takes all memory from ending the tests."""
SAYS_SOMETHING = {"evaluator": {0, 1, 2, 3}, "reskin": {0, 2, 3, 4}}
COMMANDS: dict[str, click.Command] = {"evaluator": evaluator_command, "reskin": reskin_command}

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.product.test_odd_folders", "evaluator.stage", "reskin.stage"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was extracted, painted and judged, with everything in it that a command looks at."""
    folder = tmp_path_factory.mktemp("odd")
    scene = make_scene(FRAMES, bouncing_board)
    run = ingest(scene.write(folder / "clip.mp4"), folder / "run")
    with PoseWriter(run.path("pose.json"), run.info, {"model": {"name": "test"}}) as poses:
        for index in range(FRAMES):
            poses.write([stick_figure(index)])
    vouch_for(run.path("pose.json"))
    invoke(run, "--bbox", text(scene, 1), "--frame", "1", "--backend", "embedded")
    masks = list(read_masks(run.path("mask.mp4")))
    for name in ("human_mask.mp4", "person_mask.mp4", "pose.mp4"):
        shutil.copy(run.path("mask.mp4"), run.path(name))
    shutil.copytree(run.path("mask_skateboard"), run.path("pose_skater"))
    vouch_for(*(run.path(name) for name in ("human_mask.mp4", "person_mask.mp4", "pose.mp4", "pose_skater")))
    output = write_output(run, repaint(list(read_frames(run.source)), masks, BLUE))
    shutil.copytree(run.path("mask_skateboard"), output.parent / ".windows" / "0000-0123456789abcdef")
    shutil.copy(run.path("pose.json"), output.with_name("pose.json"))
    done = CliRunner().invoke(evaluator_command, lines(run.dir)["evaluator"], catch_exceptions=False)
    assert (output.with_name("report") / "iou.json").is_file(), done.output
    (run.path("reskins") / ".latest").write_text("drone\n")
    run.path("comfyui.log").write_text("[INFO] started\n")
    return run.dir


def lines(run: Path) -> dict[str, list[str]]:
    """The command lines, by stage."""
    output, pose = run / "reskins" / "drone" / "output.mp4", run / "reskins" / "drone" / "pose.json"
    judge = ["-original", run / "mask.mp4", "-generated", output, "--generated-pose", pose, "--backend", "embedded"]
    paint = ["--run", run, "--prompt", "drone", "--name", "drone", "--workflow", "draft", "--check"]
    return {"evaluator": [str(each) for each in judge], "reskin": [str(each) for each in paint]}


def places(run: Path) -> list[str]:
    return sorted(str(each.relative_to(run)) for each in run.rglob("*"))


def documents(run: Path) -> dict[str, Any]:
    return {each: json.loads((run / each).read_text()) for each in places(run) if each.endswith(".json")}


def work(stage: str, line: list[str], said: Path, state: str) -> None:
    """Run a command in this process, with its output in `said`, and the memory that it took at the end of it."""
    os.environ["XDG_STATE_HOME"] = state
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    try:
        main(COMMANDS[stage], line)
    finally:
        sys.stdout.flush()
        os.write(1, f"\npeak: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n".encode())


def judge(whole: Path, folder: Path, changes: list[Oddity]) -> None:
    """Change a copy of the run, and have it judged and asked for work."""
    shutil.rmtree(folder, ignore_errors=True)
    run, outside = folder / "run", folder / "outside"
    make_outside(outside)
    shutil.copytree(whole, run)
    for change in changes:
        change.apply(run, outside)
    before, beside = seen(outside), sorted(folder.iterdir())
    for stage, line in lines(run).items():
        said = folder.parent / f"{folder.name}-{stage}.txt"
        process = processes.Process(target=work, args=(stage, line, said, os.environ["XDG_STATE_HOME"]))
        process.start()
        process.join(HANG_S)
        assert process.exitcode is not None, f"{stage} hangs on {changes}"
        told = said.read_text(errors="replace")
        assert process.exitcode in SAYS_SOMETHING[stage] and process.exitcode != FAULT, (stage, changes, told)
        if process.exitcode in (2, 3):
            assert "error: " in told and "Traceback" not in told, (stage, changes, told)
        peak = int(told.rsplit("peak: ", 1)[1])
        assert peak < MOST_MEMORY, (stage, changes, peak)
        assert seen(outside) == before, (stage, changes, told)
        assert sorted(folder.iterdir()) == beside, (stage, changes)


def fuzz(whole: Path, folder: Path, examples: int) -> None:
    @settings(max_examples=examples, database=None)
    @given(oddities(places(whole), documents(whole)))
    def one(changes: list[Oddity]) -> None:
        judge(whole, folder, changes)

    one()


@pytest.mark.parametrize("name", ["folder", 'it\'s "a" $HOME; %s `x` \\n'])
def test_what_was_not_changed_is_judged(whole: Path, tmp_path: Path, name: str) -> None:
    judge(whole, tmp_path / name, [])
    assert "Gate: " in (tmp_path / f"{name}-evaluator.txt").read_text()


def test_odd_folders_end_in_a_verdict_or_a_sentence(whole: Path, tmp_path: Path) -> None:
    fuzz(whole, tmp_path / "folder", QUICK)


@pytest.mark.slow
def test_many_odd_folders(whole: Path, tmp_path: Path) -> None:
    fuzz(whole, tmp_path / "folder", ALL)
