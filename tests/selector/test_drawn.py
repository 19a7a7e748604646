"""extract_physics.py --select for real: a display of its own (Xvfb), the window, a mouse and keys (xdotool)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from handoff.prompts import read_prompts
from handoff.run import Run
from runner.envs import ensure_env
from runner.process import ROOT
from tests.clips import textured, write_clip
from tests.conftest import Product

pytestmark = [
    pytest.mark.stage,
    pytest.mark.skipif(
        not (shutil.which("Xvfb") and shutil.which("xdotool")),
        reason="Xvfb and xdotool are not installed (Debian and Ubuntu: apt install xvfb xdotool)",
    ),
]
LIMIT_S = 60


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A screen of 1400x900 px."""
    screen = ["Xvfb", "-displayfd", "1", "-screen", "0", "1400x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(screen, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout
    monkeypatch.setenv("DISPLAY", f":{server.stdout.readline().strip()}")
    yield os.environ["DISPLAY"]
    server.terminate()
    server.wait()


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[int, int], Path]:
    return lambda width, height: write_clip(tmp_path / "clip.mp4", [textured(height, width, n) for n in range(2)])


def xdotool(*arguments: str) -> str:
    return subprocess.run(["xdotool", *arguments], capture_output=True, text=True, check=False).stdout.strip()


def wait_for(what: Callable[[], str], program: subprocess.Popen[str]) -> str:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and program.poll() is None:
        if found := what():
            return found
        time.sleep(0.1)
    program.kill()
    return pytest.fail(f"no window: {program.communicate()}")


def opened(program: subprocess.Popen[str]) -> str:
    """Wait until the window is there and drawn; its number."""
    number = wait_for(lambda: xdotool("search", "--onlyvisible", "--name", "^Drag a box"), program)
    time.sleep(0.5)  # its first picture
    return number


def drag(*corners: tuple[int, int]) -> None:
    """In px of the window, which an Xvfb without a window manager puts at 0,0."""
    (x, y), *way = corners
    xdotool("mousemove", str(x), str(y), "mousedown", "1")
    for x, y in way:
        xdotool("mousemove", str(x), str(y), "sleep", "0.1")
    xdotool("mouseup", "1", "sleep", "0.2")


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
    display: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SELECTOR_PYTHON", str(ensure_env("selector")))
    folder = tmp_path / "run"
    program = start(
        "-m", "tracker", "-i", clip(*size), "--run", folder, "--select", "--frame", "1", "--check"
    )  # fmt: skip
    window = opened(program)
    shown = xdotool("getwindowgeometry", "--shell", window).split()
    assert f"WIDTH={min(size[0], 1280)}" in shown
    xdotool("key", "--window", window, "Return", "sleep", "0.3")  # nothing to take yet
    assert program.poll() is None
    drag((30, 30), (90, 50))  # a second drag replaces it
    drag((260, 240), (200, 230), (120, 200))
    xdotool("key", "--window", window, "Return")
    _, said = program.communicate(timeout=LIMIT_S)
    assert program.returncode == 0, said
    prompt = read_prompts(Run.open(folder))["object"]
    assert prompt.box and (prompt.box.as_list(), prompt.frame, prompt.origin) == (drawn, 1, "drawn")


@pytest.mark.parametrize("key", ["Escape", "c"])
def test_giving_up_is_one_sentence_and_no_prompt(
    key: str, clip: Callable[[int, int], Path], display: str, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(product.data))
    ensure_env("selector")
    program = start("extract_physics.py", "-i", clip(640, 360), "--select")
    window = opened(program)
    drag((120, 200), (260, 240))
    xdotool("key", "--window", window, key)
    _, said = program.communicate(timeout=LIMIT_S)
    assert program.returncode == 2
    assert said.splitlines() == [
        "error: no box was drawn; run the command again, drag one around the object and press Enter."
    ]
    assert not product.run("clip").joinpath("prompts.json").exists()


def test_the_window_closes_with_the_command_that_opened_it(
    clip: Callable[[int, int], Path], display: str, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(product.data))
    ensure_env("selector")
    program = start("extract_physics.py", "-i", clip(640, 360), "--select")
    opened(program)
    program.kill()
    program.communicate(timeout=LIMIT_S)
    end = time.monotonic() + LIMIT_S
    while xdotool("search", "--name", "^Drag a box") and time.monotonic() < end:
        time.sleep(0.1)
    assert not xdotool("search", "--name", "^Drag a box")


def test_a_display_that_does_not_answer_is_named(
    clip: Callable[[int, int], Path], product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(product.data))
    monkeypatch.setenv("DISPLAY", ":9999")
    ensure_env("selector")
    program = start("extract_physics.py", "-i", clip(640, 360), "--select")
    _, said = program.communicate(timeout=LIMIT_S)
    (sentence,) = said.splitlines()
    assert program.returncode == 3 and "display :9999" in sentence and "make frame" in sentence
