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

from evaluator.remarks import ColourJumps, Leftovers, output_windows, remark_lines
from handoff.detections.coco import CLASSES
from handoff.detections.samples import Detection, DetectionWriter, Header, Sample
from handoff.errors import InputError, UsageError
from handoff.masks import read_masks
from handoff.places import Box
from handoff.run import Run
from handoff.video import read_frames
from tests.evaluator.helpers import FRAMES, masks_against, read_report, write_output
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


BOARD, KITE = CLASSES.index("skateboard"), CLASSES.index("kite")


def detected(path: Path, seen: dict[int, list[Detection]], frames: int = 6, size: tuple[int, int] = (12, 8)) -> Path:
    with DetectionWriter(path, Header("a detector", "ab" * 32, 0.1, 2, *size, "25/1", frames)) as writer:
        for frame in range(0, frames, 2):
            writer.write(Sample(frame, seen.get(frame, [])))
    return path


def test_the_detector_is_asked_in_g_before_and_in_p_after_where_each_is_seen(tmp_path: Path) -> None:
    """It looked at frames 0, 2 and 4. G is empty in 4, P in 2; a board elsewhere is another board."""
    there, elsewhere = Box(3, 2, 9, 6), Box(0, 0, 3, 2)
    before = {0: [Detection(BOARD, 0.9, elsewhere), Detection(BOARD, 0.8, there)], 2: [Detection(BOARD, 0.6, there)]}
    after = {0: [Detection(KITE, 0.9, there)], 2: [Detection(BOARD, 0.9, there)], 4: [Detection(BOARD, 0.3, there)]}
    leftovers = Leftovers(BOARD, detected(tmp_path / "a.json", before), detected(tmp_path / "b.json", after))
    empty = np.zeros_like(MASK)
    for frame in range(6):
        leftovers.feed(empty if frame == 4 else MASK, empty if frame == 2 else MASK)
    found = leftovers.as_json()
    assert found == {
        "class": "skateboard",
        "before": {"frames": 2, "seen": 2, "score": 0.7},
        "after": {"frames": 2, "seen": 1, "score": 0.3},
    }
    assert remark_lines({"detector": found}) == [
        "Old object in the new one: the detector sees a skateboard in 2 of 2 frames of the source (mean score 0.70), "
        "in 1 of 2 frames of the generated clip (mean score 0.30)"
    ]
    assert "not measured" in remark_lines({"detector": None})[0]


def test_detections_of_another_clip_are_refused_and_with_two_masks_there_are_none(
    run: Run, gate: Callable[..., Result], tmp_path: Path
) -> None:
    wrong = detected(tmp_path / "wrong.json", {})
    with pytest.raises(InputError, match=r"is of a clip of 6 frames of 12x8 px, this one has 14 of 160x120 px"):
        gate("--generated-detections", wrong)
    with pytest.raises(UsageError, match="--generated-detections is for a generated clip"):
        mask = run.path("mask.mp4")
        masks_against("-original", mask, "--generated-mask", mask, "--generated-detections", wrong)


def test_without_a_detector_in_both_clips_it_is_said_that_nothing_was_measured(
    gate: Callable[..., Result], report: Path, run: Run, tmp_path: Path
) -> None:
    size = (run.info.width, run.info.height)
    seen = detected(tmp_path / "seen.json", {}, FRAMES, size)
    for options in ((), ("--generated-detections", seen)):
        done = gate("--format", "summary", *options)
        assert "Old object in the new one: not measured, as no detector looked at both clips" in done.output
        assert told(report)["detector"] is None


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
    assert gate("--format", "summary").return_value == 0 and told(report)["colour"] is None
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
