"""extract_physics.py --select for real: a display of its own (Xvfb), the window, a mouse and keys (xdotool)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.places import read_prompts
from handoff.run import Run
from runner.envs import ensure_env
from runner.process import ROOT
from tests.helpers import HANG_S, Product, textured, until, write_clip

pytestmark = [
    pytest.mark.stage,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("Xvfb") and shutil.which("xdotool")),
        reason="Xvfb and xdotool are not installed (Debian and Ubuntu: apt install xvfb xdotool)",
    ),
]
LINE = [255, 230, 0]
"""The colour of the box that is drawn, RGB."""


@dataclass(frozen=True)
class Display:
    """A screen of its own, which Xvfb keeps in a file: what is on it can be seen."""

    memory: Path

    def picture(self) -> NDArray[np.uint8]:
        """What is on the screen now, (H, W, 3) RGB."""
        data = self.memory.read_bytes()
        words = np.frombuffer(data, ">u4", 25)  # XWDFile.h: the header's own size is the first, colours the 20th
        header, width, height, row, colours = (int(words[each]) for each in (0, 4, 5, 12, 19))
        pixels = np.frombuffer(data, np.uint8, row * height, header + 12 * colours)
        return pixels.reshape(height, row // 4, 4)[:, :width, 2::-1]


@pytest.fixture
def display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Display]:
    """A screen of 1400x900 px."""
    folder = tmp_path / "screen"
    folder.mkdir()
    screen = ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x900x24", "-nolisten", "tcp", "-fbdir", str(folder)]
    server = subprocess.Popen(screen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout
    monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
    yield Display(folder / "Xvfb_screen0")
    server.terminate()
    server.wait()


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[int, int], Path]:
    return lambda width, height: write_clip(tmp_path / "clip.mp4", [textured(height, width, n) for n in range(2)])


def xdotool(*arguments: str) -> str:
    return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def opened(program: subprocess.Popen[str], display: Display) -> str:
    """Wait until the window is there and shows its picture; its number."""

    def number() -> str:
        return xdotool("search", "--onlyvisible", "--name", "^Drag a box")

    until("the window opens", lambda: program.poll() is not None or bool(number()))
    assert program.poll() is None, program.communicate()
    until("it shows its picture", lambda: program.poll() is not None or bool(display.picture()[10:300, 10:300].any()))
    assert program.poll() is None, program.communicate()
    return number()


def drag(display: Display, *corners: tuple[int, int]) -> None:
    """In px of the window, which an Xvfb without a window manager puts at 0,0; wait until the box is shown there."""
    for press, (x, y) in zip(("mousedown", *[""] * (len(corners) - 1)), corners, strict=True):
        xdotool("mousemove", str(x), str(y), *((press, "1") if press else ()))
    xdotool("mouseup", "1")
    xs, ys = zip(corners[0], corners[-1], strict=True)
    ends = [(x, y) for x in xs for y in ys]
    until("the box is shown", lambda: all(display.picture()[y, x].tolist() == LINE for x, y in ends))


def start(*command: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    ("size", "drawn"),
    [((640, 360), [120, 200, 260, 240]), ((1920, 1080), [180, 300, 390, 360])],
)
def test_the_box_in_the_prompt_is_the_one_drawn_in_px_of_the_clip(
    size: tuple[int, int],
    drawn: list[int],
    clip: Callable[[int, int], Path],
    display: Display,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SELECTOR_PYTHON", str(ensure_env("selector")))
    folder = tmp_path / "run"
    program = start(
        "-m", "tracker", "-i", clip(*size), "--run", folder, "--select", "--frame", "1", "--check"
    )  # fmt: skip
    window = opened(program, display)
    shown = xdotool("getwindowgeometry", "--shell", window).split()
    assert f"WIDTH={min(size[0], 1280)}" in shown
    xdotool("key", "--window", window, "Return")  # nothing to take yet
    assert program.poll() is None
    drag(display, (30, 30), (90, 50))  # a second drag replaces it
    drag(display, (260, 240), (200, 230), (120, 200))
    xdotool("key", "--window", window, "Return")
    _, said = program.communicate(timeout=HANG_S)
    assert program.returncode == 0, said
    prompt = read_prompts(Run.open(folder))["object"]
    assert prompt.box and (prompt.box.as_list(), prompt.frame, prompt.origin) == (drawn, 1, "drawn")


@pytest.mark.parametrize("key", ["Escape", "c"])
def test_giving_up_is_one_sentence_and_no_prompt(
    key: str, clip: Callable[[int, int], Path], display: Display, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(product.data))
    ensure_env("selector")
    program = start("extract_physics.py", "-i", clip(640, 360), "--select")
    window = opened(program, display)
    drag(display, (120, 200), (260, 240))
    xdotool("key", "--window", window, key)
    _, said = program.communicate(timeout=HANG_S)
    assert program.returncode == 2
    assert said.splitlines() == [
        "error: no box was drawn; run the command again, drag one around the object and press Enter."
    ]
    assert not product.run("clip").joinpath("prompts.json").exists()


def test_the_window_closes_with_the_command_that_opened_it(
    clip: Callable[[int, int], Path], display: Display, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(product.data))
    ensure_env("selector")
    program = start("extract_physics.py", "-i", clip(640, 360), "--select")
    opened(program, display)
    program.kill()
    program.communicate(timeout=HANG_S)
    until("the window closes", lambda: not xdotool("search", "--name", "^Drag a box"))


def test_a_display_that_does_not_answer_is_named(
    clip: Callable[[int, int], Path], product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(product.data))
    monkeypatch.setenv("DISPLAY", ":9999")
    ensure_env("selector")
    program = start("extract_physics.py", "-i", clip(640, 360), "--select")
    _, said = program.communicate(timeout=HANG_S)
    (sentence,) = said.splitlines()
    assert program.returncode == 3 and "display :9999" in sentence and "make frame" in sentence
