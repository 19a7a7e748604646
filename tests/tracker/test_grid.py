"""A box without guessing: the frame with a grid, and --select, with or without a window."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import InputError, MissingError, UsageError
from handoff.ingest import ingest
from handoff.places import Box, read_prompts
from handoff.run import Run
from tests.helpers import moving_square, write_clip
from tests.tracker.helpers import Scene, invoke, text
from tracker.cli import command as tracker_command
from tracker.grid import SELECTOR, command, draw_grid, frame_at, select_box


@pytest.mark.parametrize("width, height, scale", [(640, 360, 2), (1920, 1080, 1), (404, 720, 3), (64, 48, 16)])
def test_the_frame_is_enlarged_by_whole_factors_and_its_pixels_stay_between_the_lines(
    width: int, height: int, scale: int
) -> None:
    frame = np.full((height, width, 3), (10, 200, 30), np.uint8)
    picture = draw_grid(frame)
    same = np.all(picture == (10, 200, 30), axis=-1)
    rows, columns = np.flatnonzero(same.any(1)), np.flatnonzero(same.any(0))
    assert (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) == (height * scale, width * scale)
    lines = ~same[rows[0] + 2 * scale, columns[0] : columns[-1] + 1]
    assert set(np.flatnonzero(lines)) == {
        at for x in range(50, width, 50) for at in (x * scale, x * scale + 1) if at < width * scale
    }


def test_every_side_has_labels() -> None:
    picture = draw_grid(np.zeros((360, 640, 3), np.uint8) + np.uint8(90))
    height, width = picture.shape[:2]
    inner_h, inner_w = 720, 1280
    pad_x = (width - inner_w) // 2
    pad_y = (height - inner_h) // 3
    for side in (
        picture[:pad_y],
        picture[pad_y + inner_h : 2 * pad_y + inner_h],
        picture[:, :pad_x],
        picture[:, -pad_x:],
    ):
        assert np.count_nonzero(side > 120) > 500


def test_the_frame_asked_for_is_the_one_shown(tmp_path: Path) -> None:
    frames = list(moving_square(12))
    clip = write_clip(tmp_path / "clip.mp4", frames)
    frame, _ = frame_at(clip, 7)
    errors = [float(np.abs(frame.astype(int) - other).mean()) for other in frames]
    assert int(np.argmin(errors)) == 7


@pytest.mark.parametrize("index", [-1, 12])
def test_a_frame_the_clip_does_not_have_is_refused(index: int, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_square(12))
    with pytest.raises(InputError, match=f"frame {index} is not in the clip"):
        frame_at(clip, index)


def test_the_command_writes_the_png_and_says_how_to_go_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_square(12))
    output = tmp_path / "frame.png"
    result = CliRunner().invoke(command, ["-i", str(clip), "--frame", "7", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "--bbox x1,y1,x2,y2 --frame 7" in result.output
    assert cv2.imread(str(output)) is not None


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
        tracker_command.main(["--run", str(folder), "-i", str(clip), "--select"], standalone_mode=False)
    assert not folder.exists()
    with pytest.raises(UsageError, match="use one of them"):
        invoke(ingest(clip, folder), "--select", "--bbox", "1,2,30,40")
