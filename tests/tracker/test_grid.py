"""A box without guessing: the frame with a grid, and --select, with or without a window."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import InputError, MissingError, UsageError
from handoff.ingest import ingest, shown_frames
from handoff.masks import mask_iou, read_masks
from handoff.places import Box, read_prompts
from handoff.run import Run
from handoff.video import Frame, read_frames
from tests.helpers import moving_square, set_matrix, textured, write_clip
from tests.tracker.helpers import Scene, invoke, text
from tracker.cli import command as tracker_command
from tracker.grid.cli import command
from tracker.grid.drawing import draw_grid, frame_of
from tracker.grid.mouse import SELECTOR, select_box


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
    frame = frame_of(clip, 7, shown_frames)
    errors = [float(np.abs(frame.astype(int) - other).mean()) for other in frames]
    assert int(np.argmin(errors)) == 7


@pytest.mark.parametrize("index", [-1, 12])
def test_a_frame_the_clip_does_not_have_is_refused(index: int, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_square(12))
    with pytest.raises(InputError, match=f"frame {index} is not in the clip"):
        frame_of(clip, index, shown_frames)


def test_the_command_writes_the_png_and_says_how_to_go_on(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", moving_square(12))
    output = tmp_path / "frame.png"
    result = CliRunner().invoke(command, ["-i", str(clip), "--frame", "7", "-o", str(output)])
    assert result.exit_code == 0, result.output
    assert "--bbox x1,y1,x2,y2 --frame 7" in result.output
    assert cv2.imread(str(output)) is not None


FRAMES, SHOWN = 10, 6
RED, BLUE, GREEN = (220, 40, 40), (40, 60, 220), (30, 210, 70)


def card(index: int, width: int, height: int) -> Frame:
    """A gray ground, red top left and blue top right, and a green block that moves over it to the right."""
    picture = np.repeat(textured(height, width)[..., :1] // 4 + 80, 3, axis=2).astype(np.uint8)
    picture[: height // 6, : width // 5], picture[: height // 6, -width // 5 :] = RED, BLUE
    picture[height // 2 : height // 2 + 24, 16 + 8 * index : 56 + 8 * index] = GREEN
    return picture


def place_of(picture: Frame, channel: int) -> Box:
    """The box of what has a colour, in which one channel leads."""
    levels = picture.astype(int)
    others = np.delete(levels, channel, axis=2)
    ys, xs = np.nonzero((levels[..., [channel]] > others + 60).all(axis=2))
    return Box(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)


def read_off(png: Path, said: str) -> tuple[dict[int, Box], int, int]:
    """Return what a user reads from the picture with the grid: where red (0), green (1) and blue (2) are, its size."""
    found = re.search(r"(\d+)x(\d+) px", said)
    assert found is not None, said
    width, height = map(int, found.groups())
    picture = cv2.cvtColor(cv2.imread(str(png)), cv2.COLOR_BGR2RGB)
    scale = -(-1000 // width)
    left, top = (picture.shape[1] - width * scale) // 2, (picture.shape[0] - height * scale) // 3
    middle = scale // 2  # of the pixels that a pixel of the clip became
    inner = picture[top + middle : top + height * scale : scale, left + middle : left + width * scale : scale]
    return {colour: place_of(inner, colour) for colour in range(3)}, width, height


def far(box: Box, other: Box) -> float:
    return max(abs(a - b) for a, b in zip(box.as_list(), other.as_list(), strict=True))


UNEVEN = [0, 3, 4, 5, 9, 10, 11, 12, 20, 21]
CLIPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "turned by 90": {"matrix": (0, 1, -1, 0)},
    "turned by 180": {"matrix": (-1, 0, 0, -1)},
    "turned by 270": {"matrix": (0, -1, 1, 0)},
    "mirrored": {"matrix": (-1, 0, 0, 1)},
    "upended": {"matrix": (1, 0, 0, -1)},
    "mirrored and turned": {"matrix": (0, 1, 1, 0)},
    "wide pixels": {"pixel_aspect": Fraction(4, 3)},
    "tall pixels": {"pixel_aspect": Fraction(8, 9)},
    "wide pixels, turned": {"pixel_aspect": Fraction(4, 3), "matrix": (0, 1, -1, 0)},
    "odd size": {"width": 241, "height": 161, "pix_fmt": "yuv444p"},
    "variable rate": {"pts": UNEVEN, "time_base": Fraction(1, 25)},
    "HEVC in MOV": {"codec": "libx265", "suffix": "mov"},
}


def write_card(folder: Path, kind: str) -> Path:
    options = dict(CLIPS[kind])
    width, height = options.pop("width", 240), options.pop("height", 160)
    matrix, suffix = options.pop("matrix", None), options.pop("suffix", "mp4")
    clip = write_clip(folder / f"clip.{suffix}", (card(index, width, height) for index in range(FRAMES)), **options)
    return clip if matrix is None else set_matrix(clip, matrix)


def see(folder: Path, *options: str) -> tuple[dict[int, Box], int, int]:
    output = folder / "frame.png"
    arguments = [*options, "--frame", str(SHOWN), "-o", str(output)]
    done = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return read_off(output, done.output)


@pytest.mark.parametrize("kind", CLIPS)
def test_a_place_that_is_read_from_the_grid_is_there_in_source_mp4(kind: str, tmp_path: Path) -> None:
    clip = write_card(tmp_path, kind)
    places, *size = see(tmp_path, "-i", str(clip))
    run = ingest(clip, tmp_path / "run")
    assert size == [run.info.width, run.info.height]
    frame = list(read_frames(run.source))[SHOWN]
    for colour, place in places.items():
        assert far(place, place_of(frame, colour)) <= 2, f"channel {colour}"


@pytest.mark.parametrize("kind", ["wide pixels, turned", "variable rate"])
def test_a_box_that_is_read_from_the_grid_is_tracked_on_the_block_in_it(kind: str, tmp_path: Path) -> None:
    clip = write_card(tmp_path, kind)
    box = see(tmp_path, "-i", str(clip))[0][1]
    run = ingest(clip, tmp_path / "run")
    assert far(see(tmp_path, "--run", str(run.dir))[0][1], box) <= 2
    invoke(run, "--bbox", ",".join(map(str, box.as_list())), "--frame", str(SHOWN), "--backend", "embedded")
    for index, (frame, mask) in enumerate(zip(read_frames(run.source), read_masks(run.path("mask.mp4")), strict=True)):
        levels = frame.astype(int)
        block = (levels[..., [1]] > np.delete(levels, 1, axis=2) + 60).all(axis=2)
        assert mask_iou(mask, np.asarray(block)) > 0.8, index


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
