"""Bad input is refused with one sentence before any server is contacted, and nothing is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import InputError, PreserverError, UsageError
from handoff.run import Run
from reskin.cli import OPTIONS, WORK_TO_DO, command
from reskin.comfy.errors import ServerUnreachable
from runner.process import ROOT
from tests.reskin.helpers import HEIGHT, WIDTH, square_mask, write_masks

MakeRun = Callable[..., Run]
NOBODY = "127.0.0.1:9"


def reskin(run: Path, *options: str, prompt: str = "drone, samurai", server: str = NOBODY) -> object:
    arguments = ["--run", str(run), "--prompt", prompt, "--server", server, *options]
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False).return_value


def refused(error: type[PreserverError], words: str, run: Path, *options: str, **named: str) -> None:
    with pytest.raises(error, match=words):
        reskin(run, *options, **named)
    assert not list(run.rglob("output.*"))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    refused(InputError, "is not a run folder", tmp_path)


def test_a_run_without_a_mask(make_run: MakeRun) -> None:
    run = make_run(4)
    run.path("mask.mp4").unlink()
    refused(InputError, r"no mask .*mask\.mp4; make it with extract_physics", run.dir)


def test_a_mask_of_another_length(make_run: MakeRun, tmp_path: Path) -> None:
    mask = write_masks(tmp_path / "short.mp4", 3, square_mask)
    refused(InputError, "has 3 frames, the clip has 4", make_run(4).dir, "--mask", str(mask))


def test_a_mask_of_another_size(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(4)
    monkeypatch.setattr("tests.reskin.helpers.WIDTH", WIDTH + 2)
    mask = write_masks(tmp_path / "wide.mp4", 4, lambda index: np.ones((HEIGHT, WIDTH + 2), bool))
    refused(InputError, f"is {WIDTH + 2}x{HEIGHT} px, the clip is {WIDTH}x{HEIGHT} px", run.dir, "--mask", str(mask))


def test_a_skaters_mask_of_another_length(make_run: MakeRun) -> None:
    run = make_run(4)
    write_masks(run.path("human_mask.mp4"), 5, square_mask)
    refused(InputError, "has 5 frames, the clip has 4", run.dir)


def test_a_mask_with_no_object_in_any_frame(make_run: MakeRun) -> None:
    run = make_run(4)
    write_masks(run.path("mask.mp4"), 4, lambda index: np.zeros((HEIGHT, WIDTH), bool))
    refused(InputError, "shows the object in no frame", run.dir)


def test_a_pose_file_that_is_not_there(make_run: MakeRun, tmp_path: Path) -> None:
    refused(InputError, "pose.json", make_run(4).dir, "--pose", str(tmp_path / "pose.json"))


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_time_out_that_is_none(make_run: MakeRun, seconds: str) -> None:
    refused(UsageError, "--timeout", make_run(4).dir, "--timeout", seconds)


def test_a_server_that_is_no_address(make_run: MakeRun) -> None:
    refused(UsageError, "not HOST:PORT", make_run(4).dir, server="http://example.org/api")


def test_a_name_that_leaves_the_run(make_run: MakeRun) -> None:
    refused(UsageError, "cannot be a folder's", make_run(4).dir, "--name", "../../up")


def test_a_server_that_does_not_answer_leaves_the_run_as_it_was(make_run: MakeRun) -> None:
    run = make_run(4)
    run.path("reskins").mkdir()
    before = set(run.dir.rglob("*"))
    with pytest.raises(ServerUnreachable, match="no ComfyUI server answers"):
        reskin(run.dir)
    assert set(run.dir.rglob("*")) == before


def test_check_says_that_there_is_work_without_a_server(make_run: MakeRun) -> None:
    run = make_run(4)
    arguments = ["--run", str(run.dir), "--prompt", "drone", "--check"]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == WORK_TO_DO
    assert "there is work to do" in result.output
    assert not list(run.dir.glob("reskins/*"))


def test_without_check_a_server_must_be_named(make_run: MakeRun) -> None:
    with pytest.raises(UsageError, match="--server HOST:PORT is missing"):
        CliRunner().invoke(
            command,
            ["--run", str(make_run(4).dir), "--prompt", "drone"],
            catch_exceptions=False,
            standalone_mode=False,
        )


def test_every_options_help_has_an_example_and_the_prompt_comes_first() -> None:
    for names, _, text in OPTIONS:
        assert "e.g. " in text and any(name in text.split("e.g. ")[1] for name in names), names
    result = CliRunner().invoke(command, ["--help"])
    places = [result.output.index(words) for words in ("--prompt TEXT", "--run PATH", "--server HOST")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--help",), 0),
        (("--run", "nowhere"), 2),
        (("--run", "nowhere", "--prompt", "a, b, c"), 2),
        (("--run", "nowhere", "--prompt", "drone", "--server", "nobody"), 2),
        (("--run", "nowhere", "--prompt", "drone", "--server", NOBODY, "--size", "1x1"), 2),
        (("--run", "nowhere", "--prompt", "drone", "--server", NOBODY, "--workflow", "none"), 2),
    ],
)
def test_help_and_what_cannot_be_asked_for_need_no_opencv(words: tuple[str, ...], code: int) -> None:
    program = (
        "import sys; sys.modules['cv2'] = None; from handoff.command import main; from reskin.cli import command; "
        f"main(command, {list(words)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.startswith("Usage:") if code == 0 else "error: " in done.stderr.casefold()
