"""The whole loop on a real server and with the real gate, where the setting decides whether a window passes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.loop import FRAMES, HEIGHT, NODES, WIDTH, make_run
from handoff.files import sha256_file
from handoff.poses import PoseWriter
from handoff.run import Run
from reskin.windows import FOLDER
from runner.process import ROOT
from tests.helpers import HANG_S, Product
from tests.reskin.servers import BackstageServer, backstage

pytestmark = [pytest.mark.server, pytest.mark.stage("reskin", "evaluator"), pytest.mark.slow]
WINDOWS = 2


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackstageServer]:
    with backstage(tmp_path_factory.mktemp("server"), NODES) as started:
        assert started.address
        yield started


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = make_run(tmp_path / "made", WINDOWS)
    with PoseWriter(made.dir.parent / "pose.json", made.info, {"model": "nobody is in it"}) as poses:
        for _ in range(made.info.frames):
            poses.write([])
    return made


def loop(run: Run, server: BackstageServer, *options: str) -> subprocess.CompletedProcess[str]:
    """The command as it is typed; its painter paints with cfg 1 and leaves the object as it is with cfg 0."""
    graph = json.loads((NODES / "seeded_paint" / "workflow.json").read_text())
    graph["7"]["inputs"]["cfg"] = 1.0
    workflow = run.dir.parent / "varied.json"
    workflow.write_text(json.dumps(graph))
    pose = ["--pose", str(run.dir.parent / "pose.json")]
    given = ["--run", str(run.dir), *pose, "--prompt", "drone", "--name", "drone", "--workflow", str(workflow)]
    given += ["--size", f"{WIDTH}x{HEIGHT}", "--window", str(FRAMES), "--overlap", "0", "--server", server.address]
    return subprocess.run(
        [sys.executable, str(ROOT / "generate_reskin.py"), *given, "--vary", "cfg=0,1", *options],
        cwd=run.dir.parent,
        env=Product(run.dir.parent / "data").environment,
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
        check=False,
    )


def ledger(run: Run) -> dict[str, Any]:
    return dict(json.loads(run.path("reskins/drone/takes.json").read_text()))


def test_the_setting_that_passes_is_found_kept_and_told_and_an_earlier_round_can_be_had_again(
    run: Run, server: BackstageServer
) -> None:
    before, clip = server.executions(), run.path("reskins/drone/output.mp4")
    done = loop(run, server, "--until-pass", "3")
    assert done.returncode == 0, done.stderr
    assert server.executions() - before == 2 * WINDOWS
    for line in (
        "round 2: windows 0 (cfg 1.0) and 1 (cfg 1.0) of 0-1 again",
        f"Setting cfg 0.0: 0 of {WINDOWS} takes passed",
        f"Setting cfg 1.0: {WINDOWS} of {WINDOWS} takes passed",
    ):
        assert line in done.stdout
    known = ledger(run)
    assert known["settings"] == [{"cfg": 0.0}, {"cfg": 1.0}]
    takes = [
        (each["window"], each["take"], each["setting"], not each["failing"], each["kept"]) for each in known["takes"]
    ]
    assert takes == [*((at, 1, 0, False, False) for at in range(WINDOWS)), *((at, 2, 1, True, True) for at in range(2))]
    folder = run.path(f"reskins/drone/{FOLDER}")
    assert {each.name for each in folder.iterdir()} == {each["pictures"] for each in known["takes"] if each["kept"]}
    record, digest = json.loads(run.path("reskins/drone/output.json").read_text()), sha256_file(clip)
    assert record["window_settings"] == [1, 1] and record["varied"] == known["settings"]

    again = loop(run, server, "--until-pass", "3")
    assert again.returncode == 0 and server.executions() - before == 2 * WINDOWS, "all is known and there"
    assert sha256_file(clip) == digest and ledger(run) == known

    first = loop(run, server, "--take", "1")
    assert first.returncode == 1, first.stderr
    assert "windows 0 and 1 of 0-1 must be painted again: the pictures of these takes were dropped" in first.stdout
    assert json.loads(run.path("reskins/drone/output.json").read_text())["window_settings"] == [0, 0]
    assert sha256_file(clip) != digest
    best = loop(run, server, "--take", "2")
    assert best.returncode == 0 and "must be painted again" not in best.stdout
    assert sha256_file(clip) == digest, "to the byte what it was"
    assert {each.name for each in folder.iterdir()} == {each["pictures"] for each in known["takes"] if each["kept"]}


def test_what_is_for_the_loop_alone_is_refused_without_it(run: Run, server: BackstageServer) -> None:
    for options, words in (
        ((), "error: --vary is for several takes, which --until-pass paints; leave it out, or give both."),
        (
            ("--until-pass", "2", "--vary", "window=49,81"),
            "error: --vary window cannot be: the windows are planned once",
        ),
        (("--take", "1"), "has no rounds of what this command asks for"),
    ):
        done = loop(run, server, *options)
        assert done.returncode == 2 and words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr and not run.path("reskins/drone").exists()
