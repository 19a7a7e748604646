"""iou.png, pixel by pixel where it must say something, and what drawing it leaves behind: nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from evaluator.gate import FrameScore
from evaluator.report.chart import draw_chart
from evaluator.report.pictures import THUMB_HEIGHT, THUMB_WIDTH, Thumbnail
from evaluator.report.result import Result
from evaluator.trust import Trust
from handoff.video import Frame
from runner.process import ROOT, stage_environment
from tracker.witness.ruling import FrameWitness, Standing

FRAMES, ABSENT = 20, range(5, 10)
LEFT, RIGHT = 100, 1180
STEP_PX = (RIGHT - LEFT) / FRAMES

THRESHOLD, FLOOR, IOU, SHADE, FAIL = (200, 30, 30), (235, 140, 30), (20, 90, 200), (228, 232, 240), (220, 0, 0)
SECOND, SILENT = (40, 160, 160), (238, 238, 238)


def result_of(
    floor: float | None,
    ious: dict[int, float] | None = None,
    standing: Standing | None = None,
    second: float | None = None,
    frames: int = FRAMES,
) -> Result:
    """Frames with IoU 0.95, of which five show no object."""
    scores = []
    for frame in range(frames):
        iou = (ious or {}).get(frame, 0.95)
        area = 0 if frame in ABSENT else 100
        scores.append(FrameScore(frame, iou, 0.99, iou > 0.9, area, area, floor_iou=floor, second_iou=second))
    return Result(scores, 0.9, frames, {"original": "a", "generated": "b"}, Trust(standing=standing))


def top_of(result: Result) -> int:
    """The first row of the upper panel, which is under the sentence."""
    return 50 + 20 * len(textwrap.wrap(result.sentence, 150))


def row(result: Result, value: float) -> int:
    """The row of a value in the upper panel, which is 300 px high, from 0.80 at the bottom to 1.00 at its top."""
    return round(top_of(result) + 300 * (1 - (value - 0.8) / 0.2))


def columns(picture: Frame, y: int, colour: tuple[int, int, int]) -> list[int]:
    """Where that colour is in a row or the one above, or nearly: smooth lines are mixed with what lies under them."""
    near = (np.abs(picture[y - 1 : y + 1].astype(int) - colour) < 60).all(axis=2).any(axis=0)
    return [int(x) for x in np.flatnonzero(near)]


def test_the_threshold_is_a_dashed_line_across_the_panel_at_its_height() -> None:
    result = result_of(None)
    picture = draw_chart(result, [])
    found = columns(picture, row(result, 0.9), THRESHOLD)
    assert found[0] <= LEFT + 2 and found[-1] > RIGHT - 20 and 0.4 < len(found) / (RIGHT - LEFT) < 0.75
    assert not columns(picture, row(result, 0.9) - 4, THRESHOLD) and not columns(
        picture, row(result, 0.9) + 4, THRESHOLD
    )


def test_the_floor_and_the_second_judge_are_curves_where_they_were_measured_and_only_there() -> None:
    result, without = result_of(0.87, second=0.86), result_of(None)
    picture, plain = draw_chart(result, []), draw_chart(without, [])
    first, last = LEFT + STEP_PX / 2, LEFT + STEP_PX * (FRAMES - 0.5)
    for value, colour in ((0.87, FLOOR), (0.86, SECOND)):
        found = columns(picture, row(result, value), colour)
        assert found[0] == pytest.approx(first, abs=2) and found[-1] == pytest.approx(last, abs=2)
        assert len(found) > 0.98 * (last - first)
        assert not any(columns(plain, y, colour) for y in range(row(without, 0.89), row(without, 0.81)))


def test_the_ious_curve_stands_at_its_height_and_a_failing_frame_is_a_dot() -> None:
    result = result_of(None, {15: 0.85})
    picture = draw_chart(result, [])
    assert len(columns(picture, row(result, 0.95), IOU)) > 700
    x = round(LEFT + 15.5 * STEP_PX)
    assert (picture[row(result, 0.85) - 2 : row(result, 0.85) + 3, x - 2 : x + 3] == FAIL).all()
    dots = (picture[top_of(result) : top_of(result) + 301] == FAIL).all(axis=2)
    across = np.flatnonzero(dots.any(axis=0))
    assert across[0] >= x - 5 and across[-1] <= x + 5 and len(across) >= 6


def test_frames_without_an_object_are_shaded_in_both_panels_and_no_others() -> None:
    result = result_of(None)
    picture = draw_chart(result, [])
    for y in (top_of(result) + 30, top_of(result) + 300 + 64 + 40):
        shaded = np.flatnonzero((picture[y] == SHADE).all(axis=1))
        assert shaded[0] == pytest.approx(LEFT + 5 * STEP_PX, abs=1)
        assert shaded[-1] == pytest.approx(LEFT + 10 * STEP_PX, abs=1) and len(shaded) >= 5 * STEP_PX - 2
        assert tuple(picture[y, round(LEFT + 3 * STEP_PX)]) == (255, 255, 255)


def test_each_worst_frame_is_there_as_a_picture_side_by_side() -> None:
    result = result_of(None)
    scores = result_of(None, {2: 0.5, 15: 0.6}).scores
    pictures = [np.full((THUMB_HEIGHT, THUMB_WIDTH, 3), colour, np.uint8) for colour in ((10, 200, 30), (240, 20, 200))]
    chart = draw_chart(result, [Thumbnail(scores[i], p) for i, p in zip((2, 15), pictures, strict=True)])
    plain = draw_chart(result, [])
    top = plain.shape[0] + 20
    for index, picture in enumerate(pictures):
        left = 60 + index * (THUMB_WIDTH + 8)
        assert np.array_equal(chart[top : top + THUMB_HEIGHT, left : left + THUMB_WIDTH], picture)


def band(result: Result) -> int:
    """The first row of the band of the witnesses, of four rows of 16 px, under both panels."""
    return top_of(result) + 300 + 64 + 130 + 40 + 24


def test_the_witnesses_are_a_band_below_the_curves_green_red_or_gray() -> None:
    """The detector sees the object in the first ten frames, elsewhere in the next five, and then not at all."""
    seen = [0.95] * 10 + [0.0] * 5 + [None] * 5
    heard = tuple(FrameWitness(i, box_iou=each) for i, each in enumerate(seen))
    standing = Standing("contradicted", tuple(range(10, 15)), 15, heard, "the mask is contradicted in 5 of 15 frames")
    result = result_of(None, standing=standing)
    picture, top = draw_chart(result, []).astype(int), band(result)

    def at(frame: int, line: int) -> tuple[int, ...]:
        return tuple(picture[top + 16 * line + 8, round(LEFT + (frame + 0.5) * STEP_PX)])

    for frame in range(FRAMES):
        red, green, _ = at(frame, 0)
        if frame < 10:
            assert green > red + 60
        elif frame < 15:
            assert red > green + 60
        else:
            assert at(frame, 0) == SILENT
        assert at(frame, 1) == at(frame, 2) == SILENT
        assert at(frame, 3) == (FAIL if frame in standing.contradicted else SILENT)


def test_one_contradicted_frame_of_two_thousand_is_seen_and_the_chart_takes_a_second_or_two() -> None:
    standing = Standing("confirmed", (700,), 2000, tuple(FrameWitness(i, box_iou=0.95) for i in range(2000)))
    result = result_of(0.93, {700: 0.5, 1200: 0.7}, standing, 0.94, 2000)
    draw_chart(result_of(None), [])  # what is imported once
    started = time.process_time()
    picture = draw_chart(result, [])
    assert time.process_time() - started < 4, "five times what it takes"
    line = picture[band(result) + 16 * 3 + 8].astype(int)
    red = np.flatnonzero((line[:, 0] - line[:, 1] > 100) & (line[:, 0] > 150))
    assert red.size and abs(red.mean() - (LEFT + 700.5 * (RIGHT - LEFT) / 2000)) < 2


@pytest.mark.parametrize(
    "settings", ["", "figure.dpi: 30\naxes.facecolor: red\nfont.size: 40\ntext.usetex: True\n"], ids=["none", "strange"]
)
def test_it_is_drawn_alike_for_everybody_leaves_nothing_at_home_and_needs_no_pyplot(
    tmp_path: Path, settings: str
) -> None:
    """In a fresh process whose home is empty, with settings in the current folder and a wrong backend."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    if settings:
        (here / "matplotlibrc").write_text(settings)
    code = """
import hashlib, json, sys
from tests.evaluator.report.test_chart import result_of
import evaluator.report.chart
before = sorted(name for name in sys.modules if name.startswith("matplotlib"))
picture = evaluator.report.chart.draw_chart(result_of(0.9), [])
import os
print(json.dumps({
    "before": before, "pyplot": "matplotlib.pyplot" in sys.modules, "shape": picture.shape,
    "sha256": hashlib.sha256(picture.tobytes()).hexdigest(),
    "environment": sorted(name for name in os.environ if name.startswith("MPL")),
}))
"""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = stage_environment() | {"HOME": str(home), "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        environment.pop(name, None)
    environment["MPLBACKEND"] = "no such backend"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["before"] == [] and not told["pyplot"] and told["environment"] == ["MPLBACKEND"]
    assert not list(home.iterdir()) and not list(scratch.iterdir())
    own = draw_chart(result_of(0.9), [])
    assert tuple(told["shape"]) == own.shape
    assert told["sha256"] == hashlib.sha256(own.tobytes()).hexdigest()
    assert "MPLCONFIGDIR" not in os.environ
