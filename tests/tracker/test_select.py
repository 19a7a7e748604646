"""--select: what goes to the window, what comes back, and what is said where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from handoff.box import Box
from handoff.errors import InputError, MissingError, UsageError
from handoff.ingest import ingest
from handoff.prompts import read_prompts
from handoff.run import Run
from tests.tracker.helpers import Scene, invoke, text
from tracker.cli import command
from tracker.grid import SELECTOR, select_box

FRAME = np.full((90, 160, 3), (250, 120, 10), np.uint8)
Window = Callable[[str], None]


@pytest.fixture
def window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Window:
    """Puts a program of these lines of Python in the window's place."""

    def put(lines: str) -> None:
        program = tmp_path / "python"
        program.write_text(f"#!{sys.executable}\nimport sys\npicture = sys.stdin.buffer.read()\n{lines}\n")
        program.chmod(0o755)
        monkeypatch.setenv(SELECTOR, str(program))

    return put


def test_the_frame_that_is_named_is_shown_and_what_is_drawn_on_it_becomes_the_prompt(
    run: Run, scene: Scene, window: Window, tmp_path: Path
) -> None:
    shown = tmp_path / "shown.png"
    window(f"open({str(shown)!r}, 'wb').write(picture); print('{text(scene, 7)}')")
    invoke(run, "--select", "--frame", "7", "--check")
    prompt = read_prompts(run)["object"]
    assert (prompt.frame, prompt.origin, prompt.box) == (7, "drawn", Box(*scene.box(7)))
    picture = cv2.cvtColor(cv2.imread(str(shown)), cv2.COLOR_BGR2RGB)
    assert np.abs(picture.astype(int) - scene.frames[7]).mean() < 6


def test_one_that_is_given_up_leaves_the_prompt_as_it_was(run: Run, scene: Scene, window: Window) -> None:
    invoke(run, "--bbox", text(scene, 4), "--frame", "4", "--check")
    before = run.path("prompts.json").read_bytes()
    window("")
    with pytest.raises(UsageError, match=r"no box was drawn; .* press Enter\.$"):
        invoke(run, "--select")
    assert run.path("prompts.json").read_bytes() == before


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("sys.exit('Traceback\\nImportError: libGL.so.1: cannot open shared object file')", "ImportError: libGL.so.1"),
        ("sys.exit('QFont: hm\\nqt.qpa.xcb: could not connect to display :9\\nAborted')", "could not connect to .* :9"),
        ("sys.exit(1)", "it said nothing"),
    ],
)
def test_a_window_that_does_not_open_is_one_sentence_with_its_reason_and_what_to_install(
    window: Window, end: str, why: str
) -> None:
    window(end)
    with pytest.raises(MissingError, match=rf"{why}.*apt install libgl1.*make frame") as raised:
        select_box(FRAME)
    assert "\n" not in str(raised.value)


def test_a_python_of_the_window_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SELECTOR, "/nowhere/python")
    with pytest.raises(MissingError, match=r"/nowhere/python.*make frame"):
        select_box(FRAME)


def test_a_box_outside_the_frame_is_refused(window: Window) -> None:
    window("print('0,0,161,90')")
    with pytest.raises(InputError, match="160x90"):
        select_box(FRAME)


def test_without_the_root_command_it_says_so_before_any_work(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SELECTOR, raising=False)
    folder = tmp_path / "new"
    with pytest.raises(MissingError, match=r"extract_physics\.py --select.*make frame VIDEO=clip\.mp4 FRAME=n"):
        command.main(["--run", str(folder), "-i", str(clip), "--select"], standalone_mode=False)
    assert not folder.exists()
    with pytest.raises(UsageError, match="use one of them"):
        invoke(ingest(clip, folder), "--select", "--bbox", "1,2,30,40")
