"""takes.png, pixel by pixel where it must say something: what passed, what failed, what is in output.mp4."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from evaluator.report.__main__ import command
from evaluator.report.attempts import Attempt, Attempts
from evaluator.report.takechart import cells_of, draw_takes, title_of
from handoff.errors import BusyError, InputError, PreserverError, UsageError
from handoff.files import sha256_file
from handoff.links import LinkError
from handoff.run import Run
from handoff.video import Frame
from tests.evaluator.helpers import takes_document, write_takes

PASSED, FAILED, WAITING, NONE, BLACK = (165, 224, 203), (232, 121, 74), (212, 212, 212), (246, 246, 246), (20, 20, 20)
LEFT, HIGH = 80, 44


def attempts_of(verdicts: list[list[bool | None]]) -> tuple[Attempts, dict[str, Any]]:
    """The verdict of each take of each window, of one frame each; the last one of each is in output.mp4."""
    takes = [
        Attempt(window, take, passed, None if passed is None else 0.95 if passed else 0.6, (), "gap")
        for window, each in enumerate(verdicts)
        for take, passed in enumerate(each, 1)
    ]
    results = [[bool(each[-1]), 0.95 if each[-1] else 0.6] for each in verdicts]
    failing = sum(not each[0] for each in results)
    shown = {"chosen": [len(each) for each in verdicts], "results": results, "failing": failing}
    made = [{"window": each.window, "take": each.take} for each in takes]
    shown |= {"worst_iou": 0.6, "worst_frame": 0, "paintings": made}
    return Attempts([(index, index) for index in range(len(verdicts))], takes, [shown]), shown


def cells(picture: Frame, wide: int, top: int, row: int) -> list[tuple[int, ...]]:
    """The colour of each cell in a row of takes, near its lower left corner, where no letter and no frame is."""
    y = top + row * HIGH + HIGH - 7
    return [tuple(map(int, picture[y, x + 7])) for x in range(LEFT, picture.shape[1] - wide, wide)]


def test_takes_go_down_and_windows_across_in_colours_and_with_a_frame_around_what_was_taken() -> None:
    picture = draw_takes(*attempts_of([[True], [False, True], [False, False, None], [False, False, True]]))
    top = 16 + 22 * 2 + 96
    assert cells(picture, 96, top, 0)[:4] == [PASSED, FAILED, FAILED, FAILED]
    assert cells(picture, 96, top, 1)[:4] == [NONE, PASSED, FAILED, FAILED]
    # the take in output.mp4 is shown as it is in it
    assert cells(picture, 96, top, 2)[:4] == [NONE, NONE, FAILED, PASSED]
    edge = picture[top + 20, LEFT : LEFT + 4 * 96]
    framed = [int(x) for x in (np.abs(edge.astype(int) - BLACK) < 40).all(-1).nonzero()[0]]
    assert framed == [1, 2, 3, 92, 93, 94], "in the first row the first window's take alone is framed"


def test_a_take_that_was_not_judged_is_gray_and_signs_tell_a_pass_from_a_failure_without_colours() -> None:
    verdicts: list[list[bool | None]] = [[True, None, True], [False, True, True]]
    attempts, shown = attempts_of(verdicts)
    shown["chosen"] = [3, 3]
    picture = draw_takes(attempts, shown)
    top = 16 + 22 + 96
    assert cells(picture, 96, top, 1)[:2] == [WAITING, PASSED]
    ticks, crosses = (picture[top + 4 : top + 22, x + 20 : x + 76] for x in (LEFT, LEFT + 96))
    dark = [int((each.astype(int).sum(-1) < 250).sum()) for each in (ticks, crosses)]
    assert min(dark) > 10 and dark[0] != dark[1]
    gray = [cv2.cvtColor(np.uint8([[each]]), cv2.COLOR_RGB2GRAY)[0, 0] for each in (PASSED, FAILED)]
    assert int(gray[0]) - int(gray[1]) > 50, "printed in gray they are told apart too"


@pytest.mark.parametrize(
    ("windows", "takes"),
    [(1, 1), (1, 20), (6, 4), (60, 20), pytest.param(300, 3, marks=pytest.mark.slow), (2000, 100)],
)
def test_it_is_drawn_for_one_window_and_for_very_many(windows: int, takes: int) -> None:
    """Cells wide enough for their words, a picture no wider than a screen, in a few seconds."""
    if windows * takes > 2000:
        verdicts: list[list[bool | None]] = [[False] * (takes if i % 500 == 0 else 1) for i in range(windows)]
    else:
        verdicts = [[False] * (takes - 1) + [True]] * windows
    started = time.process_time()
    picture = draw_takes(*attempts_of(verdicts))
    assert time.process_time() - started < 30
    assert 620 <= picture.shape[1] <= 1300 and picture.shape[0] < 30_000
    if windows == 60:
        assert picture.shape[1] == LEFT + 20 * 60 + 20, "twenty beside one another"


def test_of_several_settings_a_letter_says_which_and_the_key_what_it_stands_for() -> None:
    attempts, shown = attempts_of([[True, True]])
    plain = draw_takes(attempts, shown)
    varied = replace(attempts, settings=["grow 4", "grow 12"], takes=[replace(attempts.takes[0], setting=1)])
    shown["chosen"] = [1]
    picture = draw_takes(varied, shown)
    assert picture.shape[0] == plain.shape[0] - HIGH + 16, "one take less, one line more"


def test_the_title_says_verdict_rounds_and_paintings() -> None:
    assert title_of(*attempts_of([[True]])) == "PASS after 1 round, 1 painting"
    attempts, shown = attempts_of([[True], [True]])
    attempts.takes[1] = replace(attempts.takes[1], painted=False)
    assert title_of(attempts, shown) == "PASS after 1 round, 1 painting", "the other window has nothing in it"
    attempts, shown = attempts_of([[True], [False]])
    attempts.rounds.append({"paintings": []})
    assert title_of(attempts, shown) == "FAIL after 2 rounds, 2 paintings: 1 of 2 frames, worst IoU 0.60 at frame 0"


def test_a_take_in_output_mp4_is_shown_as_the_round_has_it(tmp_path: Path) -> None:
    found = takes_document()
    found["rounds"][1]["results"][0][0] = False  # its neighbour does not go with it
    attempts = Attempts.read(write_takes(tmp_path, found))
    shown = cells_of(attempts, attempts.rounds[1])
    assert shown[0, 1].passed is False and shown[0, 1].failing == (0,)
    assert cells_of(attempts, attempts.rounds[0])[0, 1].passed is True


def draw(folder: Path) -> tuple[int, str]:
    """The exit code, and what was said."""
    done = CliRunner().invoke(command, [str(folder)], catch_exceptions=False, standalone_mode=False)
    return done.return_value, done.stderr


def test_the_command_draws_it_beside_takes_json_where_a_round_judged_the_clip(run: Run) -> None:
    folder = run.path("reskins/drone")
    picture = folder / "takes.png"
    draw(folder)
    write_takes(folder, takes_document())
    draw(folder)
    assert not picture.exists(), "no takes.json, and one of another clip"
    write_takes(folder, takes_document(sha256_file(folder / "output.mp4")))
    draw(folder)
    first = picture.read_bytes()
    assert cv2.imread(str(picture)).shape[1] == 620
    draw(folder)
    assert picture.read_bytes() == first and not [*folder.glob(".*.partial")]
    own = Run.open(run.dir).reskin("drone")
    with own.lock():
        own.take_back()
    assert not picture.exists(), "it goes with the clip that it is of"


def test_what_is_no_reskin_what_is_damaged_and_what_is_at_work_is_a_warning(run: Run, tmp_path: Path) -> None:
    folder = run.path("reskins/drone")

    def warned(folder: Path, error: type[PreserverError], sentence: str) -> None:
        code, said = draw(folder)
        assert code == error.exit_code and said.startswith("warning: takes.png is not drawn: "), said
        assert sentence in said and said.count("\n") == 1

    for each in (tmp_path, run.dir, run.path("reskins")):
        warned(each, UsageError, "is not a reskin's folder")
    write_takes(folder, "{")
    warned(folder, InputError, "takes.json cannot be used")
    (folder / "takes.json").unlink()
    (folder / "takes.json").symlink_to("/dev/zero")
    warned(folder, LinkError, "plain files and folders")
    with Run.open(run.dir).reskin("drone").lock():
        warned(folder, BusyError, "another process")
