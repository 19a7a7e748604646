"""The frame with a grid: what it shows is the clip's frame, and its labels are the clip's pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import InputError
from tests.helpers import moving_square, write_clip
from tracker.grid import command, draw_grid, frame_at


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
