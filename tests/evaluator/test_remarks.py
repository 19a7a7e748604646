"""What is told beside the verdict: how the object's colour jumps where windows meet, and that it decides nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

from evaluator.remarks import ColourJumps, output_windows, remark_lines
from handoff.masks import read_masks
from handoff.run import Run
from handoff.video import read_frames
from tests.evaluator.helpers import FRAMES, read_report, write_output
from tests.tracker.helpers import repaint

MASK = np.zeros((8, 12), bool)
MASK[2:6, 3:9] = True


def lab(colour: tuple[int, int, int]) -> np.ndarray:
    return cv2.cvtColor(np.array([[colour]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]


def fed(colours: list[tuple[int, int, int] | None]) -> ColourJumps:
    """Frames whose object has these colours, None for a frame without it, on a ground that flickers."""
    taken = ColourJumps()
    for index, colour in enumerate(colours):
        frame = np.full((8, 12, 3), 40 * (index % 5), np.uint8)
        if colour is not None:
            frame[MASK] = colour
        taken.feed(frame, MASK if colour is not None else np.zeros_like(MASK))
    return taken


def test_the_jump_is_the_distance_of_mean_colours_over_the_border_and_the_median_that_of_other_steps() -> None:
    red, orange = (200, 40, 40), (200, 80, 40)
    found = fed([red, red, red, red, orange, orange, orange]).as_json([[0, 3], [4, 6]])
    distance = float(np.linalg.norm(lab(red) - lab(orange)))
    assert found == {"borders": [{"frame": 4, "jump": pytest.approx(distance, abs=0.01)}], "elsewhere": 0.0}
    assert (
        f"jumps by {distance:.1f} at most, at frame 4; the median elsewhere is 0.0"
        in remark_lines({"colour": found})[0]
    )


def test_over_frames_that_two_windows_share_the_step_is_from_the_one_s_last_own_to_the_other_s_first_own() -> None:
    """Windows 0-4 and 3-10 share 3 and 4, in which one fades into the other; elsewhere it drifts by 1 level a frame."""
    colours = [(100 + i, 100, 100) for i in range(3)] + [(120, 100, 100), (140, 100, 100)]
    colours += [(160 + i, 100, 100) for i in range(6)]
    found = fed(colours).as_json([[0, 4], [3, 10]])
    distance = float(np.linalg.norm(lab((102, 100, 100)) - lab((160, 100, 100))))
    three = float(np.linalg.norm(lab((160, 100, 100)) - lab((163, 100, 100))))
    assert found == {
        "borders": [{"frame": 3, "jump": pytest.approx(distance, abs=0.01)}],
        "elsewhere": pytest.approx(three, abs=0.1),
    }


def test_where_the_object_is_not_seen_on_both_sides_nothing_is_said() -> None:
    grey = (90, 90, 90)
    assert fed([grey, grey, None, grey]).as_json([[0, 2], [3, 3]]) is None
    assert fed([grey, grey]).as_json([]) is None
    assert fed([grey, grey, grey]).as_json([[0, 0], [1, 2]]) == {
        "borders": [{"frame": 1, "jump": 0.0}],
        "elsewhere": 0.0,
    }
    assert fed([grey]).as_json([[0, 0], [1, 2]]) is None, "cut short before the border"
    assert remark_lines({}) == remark_lines({"colour": None}) == []


@pytest.mark.parametrize(
    "text",
    [
        None,
        "{}",
        "of another program",
        '{"windows": [[0, 13]]}',
        '{"windows": [[0, 9], [10, 14]]}',
        '{"windows": [[5, 9], [0, 4]]}',
        '{"windows": [[0, 9, 3]]}',
        '{"windows": [[0, NaN], [1, 2]]}',
    ],
)
def test_what_is_no_plan_of_windows_is_left_alone(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "output.json").write_text(text)
    assert output_windows(tmp_path / "output.mp4", 14) == []
    (tmp_path / "output.json").write_text('{"windows": [[0, 9], [6, 13]], "more": 1}')
    assert output_windows(tmp_path / "output.mp4", 14) == [[0, 9], [6, 13]]


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = read_report(folder)["summary"]["told"]
    return found


def test_a_clip_whose_second_window_has_another_colour_passes_and_the_report_tells_it(
    run: Run, gate: Callable[..., Result], report: Path
) -> None:
    frames, masks = list(read_frames(run.source)), list(read_masks(run.path("mask.mp4")))
    blue, violet = (list(repaint(frames, masks, colour)) for colour in ((30, 60, 230), (90, 60, 230)))
    write_output(run, [*blue[:7], *violet[7:]])
    output = report.parent / "output.json"
    assert gate("--format", "summary").return_value == 0 and told(report) == {"colour": None}
    encoder = json.loads(output.read_text())
    output.write_text(json.dumps(encoder | {"windows": [[0, 6], [7, FRAMES - 1]]}))
    done = gate("--format", "summary")
    assert done.return_value == 0 and "nothing has changed" not in done.output
    colour = told(report)["colour"]
    assert [each["frame"] for each in colour["borders"]] == [7]
    assert colour["borders"][0]["jump"] > 5 > 1 > colour["elsewhere"]
    sentence = "Colour of the object where windows meet: it jumps by"
    assert sentence in done.output and sentence in (report / "summary.md").read_text()
    again = gate("--format", "summary")
    assert "nothing has changed" in again.output and sentence in again.output
