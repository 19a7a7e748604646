"""What a container is shown: the files that arguments name, where they lie, read-only unless they are written."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from runner.docker import images
from runner.docker.mounts import named_paths, volumes
from runner.process import ROOT, RunnerError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "runs/a/mask.mp4", "models/x.pt", "a b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def test_existing_files_and_folders_are_found_however_they_are_given(here: Path) -> None:
    arguments = ["-i", "clip.mp4", "--mask=runs/a/mask.mp4", str(here / "models"), "a b.mp4", "runs/../clip.mp4"]
    found = [path.resolve() for path in named_paths(arguments)]
    assert found == [here / name for name in ("clip.mp4", "runs/a/mask.mp4", "models", "a b.mp4", "clip.mp4")]
    assert all(path.is_absolute() for path in named_paths(arguments))


def test_what_is_no_path_is_not_one(here: Path) -> None:
    texts = ["", "--force", "--frame", "7", "1,2,3,4", "nowhere.mp4", "--mask=", "=", "x" * 5000, "a\0b", "/", "--to=/"]
    assert named_paths(texts) == []


def test_a_value_with_an_equals_sign_is_a_path_only_as_a_whole(here: Path) -> None:
    (here / "a=clip.mp4").write_text("")
    assert named_paths(["a=clip.mp4"]) == [here / "a=clip.mp4"]


def test_reads_are_read_only_and_writes_are_not(here: Path) -> None:
    options = volumes([here / "clip.mp4"], [here / "runs" / "a"])
    assert options == [
        *("--volume", f"{here}/runs/a:{here}/runs/a"),
        *("--volume", f"{here}/clip.mp4:{here}/clip.mp4:ro"),
    ]


def test_what_lies_in_a_shown_folder_is_not_shown_again(here: Path) -> None:
    run, models = here / "runs" / "a", here / "models"
    reads = [run / "mask.mp4", run, models / "x.pt", models, models]
    assert volumes(reads, [run, run / "report", run]) == [
        *("--volume", f"{run}:{run}"),
        *("--volume", f"{models}:{models}:ro"),
    ]


def test_a_folder_that_is_written_inside_one_that_is_read_is_shown_for_itself(here: Path) -> None:
    options = volumes([here], [here / "runs" / "a"])
    assert options == ["--volume", f"{here}/runs/a:{here}/runs/a", "--volume", f"{here}:{here}:ro"]


def test_a_colon_cannot_be_shown_and_is_said(here: Path) -> None:
    with pytest.raises(RunnerError, match=r"cannot mount '.*/a:b', because of its colon; rename it") as caught:
        volumes([here / "a:b"], [])
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("path", ["/tmp", "/usr", "/opt"])
def test_a_folder_that_would_hide_the_containers_own_is_refused(path: str) -> None:
    with pytest.raises(RunnerError, match=f"'{path}' cannot be shown to a container, which has a {path} of") as told:
        volumes([], [Path(path)])
    assert told.value.exit_code == 2
    assert volumes([Path("/tmp/clip.mp4")], [Path("/tmp/skate")])


DOCKER = """#!/bin/sh
case "$*" in
  "version "*) echo 27.5.1;;
  "compose version"*) echo 2.32.4;;
  "image inspect"*) echo '[{"Config": {"Labels": {"skate-physics.code": "%s"}}}]';;
  *" run "*) printf '%%s\\n' "$@" >"$TOLD"; exit 1;;
  *) exit 1;;
esac
"""


@pytest.mark.parametrize("named", [False, True])
def test_the_gate_writes_to_the_run_and_the_reports_folder_and_not_beside_a_clip_elsewhere(
    here: Path, named: bool
) -> None:
    program = here / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(DOCKER % images.code("evaluator"))
    program.chmod(0o755)
    for name in ("runs/a/run.json", "clips/output.mp4", "clips/output.json", "clips/private.txt"):
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text("")
    report = here / "reports" if named else here / "clips" / "report"
    clip = here / "clips" / "output.mp4"
    options = ["-original", "runs/a/mask.mp4", "-generated", "clips/output.mp4", "--no-pose"]
    told = {"PATH": f"{program.parent}:{os.environ['PATH']}", "TOLD": str(here / "told"), "RUNNER": "docker"}
    marks = here / "state" / "skate-physics-preserver"  # of this machine's verdicts
    told |= {"XDG_STATE_HOME": str(marks.parent)}
    done = subprocess.run(
        [sys.executable, ROOT / "evaluate_iou.py", *options, *(["--output", "reports"] if named else [])],
        env=os.environ | told | {"DATA_DIR": str(here / "data"), "MODELS_DIR": str(here / "models"), "GPU": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3 and "the engine did not start the container" in done.stderr
    lines = (here / "told").read_text().splitlines()
    shown = {value for option, value in pairwise(lines) if option == "--volume"}
    assert shown == {
        f"{here}/runs/a:{here}/runs/a",
        f"{report}:{report}",
        f"{clip}:{clip}:ro",
        f"{clip.with_suffix('.json')}:{clip.with_suffix('.json')}:ro",
        f"{here}/models:{here}/models:ro",
        f"{marks}:{marks}",
    }
    assert not report.exists(), "nothing was written, so nothing is left"
