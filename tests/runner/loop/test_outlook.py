"""What is said of the time that is left: paintings at most, as fast as so far, on as many servers."""

from __future__ import annotations

from typing import Any

import pytest

from runner.loop.outlook import duration, outlook
from runner.loop.takes import FrameResult, Takes

GOOD, BAD, LOST = FrameResult(True, 0.95), FrameResult(False, 0.6), FrameResult(False, 0.0, lost=True)


def takes_after(*verdicts: list[FrameResult], most: int = 4, chained: bool = False) -> Takes:
    """Windows of one frame, with what came of each round."""
    takes = Takes([(index, index + 1) for index in range(len(verdicts[0]))], most, 0, chained=chained)
    for each in verdicts:
        takes.feed(each)
    return takes


def noted(seconds: list[float | None], servers: tuple[str, ...] = ("a:1",)) -> list[dict[str, Any]]:
    return [
        {"seconds": each, "server": None if each is None else servers[i % len(servers)]}
        for i, each in enumerate(seconds)
    ]


def test_the_takes_that_failing_windows_may_have_yet_are_counted_with_those_of_the_round() -> None:
    takes = takes_after([GOOD, BAD, GOOD, BAD])
    assert takes.left() == [0, 3, 0, 3]
    assert outlook(takes, noted([100.0, 140.0])) == "at most 6 paintings, about 12 min"
    takes.feed([GOOD, GOOD, GOOD, BAD])
    assert takes.left() == [0, 0, 0, 2]
    takes.feed([GOOD, GOOD, GOOD, BAD])
    assert outlook(takes, noted([30.0])) == "at most 1 painting, about 30 s"


def test_a_window_that_waits_for_an_earlier_one_counts_too() -> None:
    takes = takes_after([GOOD, BAD, LOST])
    assert [each.window for each in (takes.proposed() or pytest.fail("no round")).paintings] == [1]
    assert takes.left() == [0, 3, 3]


def test_windows_that_hang_on_the_failing_one_are_painted_again_with_it() -> None:
    takes = takes_after([GOOD, BAD, GOOD], chained=True)
    assert takes.left() == [0, 3, 3]
    servers = noted([60.0, 60.0], ("a:1", "b:1"))
    assert outlook(takes, servers) == "at most 6 paintings, about 6 min", "one server has them all"


def test_several_servers_paint_at_once_as_many_windows_as_there_are() -> None:
    pair = noted([60.0, 60.0, 60.0], ("a:1", "b:1"))
    assert outlook(takes_after([BAD, BAD, BAD, GOOD]), pair) == "at most 9 paintings, about 6 min"
    assert outlook(takes_after([BAD, GOOD, GOOD, GOOD]), pair) == "at most 3 paintings, about 3 min"


def test_where_no_painting_was_timed_no_time_is_said() -> None:
    assert outlook(takes_after([BAD]), noted([None])) == "at most 3 paintings"
    assert outlook(takes_after([BAD]), [{"seconds": True}, {}]) == "at most 3 paintings"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (99.4, "99 s"), (100, "2 min"), (5700, "95 min"), (6000, "1 h 40 min"), (11100, "3 h 5 min")],
)
def test_times_are_written_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said
