"""The core of "paint until it passes", with painters and judges of every kind; no pictures."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.loop.takes import FrameResult, Joint, Round, Span, Takes, rank, seed_of

Judge = Callable[[tuple[int, ...]], list[FrameResult]]
GOOD, BAD = FrameResult(True, 0.97, 0.99), FrameResult(False, 0.6, 0.7)


def plan(count: int, length: int, shared: int) -> list[Span]:
    """`count` windows of `length` frames, each sharing `shared` with the next."""
    return [(index * (length - shared), index * (length - shared) + length) for index in range(count)]


def play(takes: Takes, judge: Judge) -> list[Round]:
    """Do every round; the judge is given the take of each window."""
    rounds = []
    while (wanted := takes.proposed()) is not None:
        assert takes.proposed() is wanted, "asking twice changes nothing"
        rounds.append(wanted)
        assert len(rounds) < 1000
        takes.feed(judge(wanted.chosen))
    return rounds


def by_window(windows: list[Span], good: Callable[[int, int], bool]) -> Judge:
    """A judge of windows that stand for themselves: a frame passes where all takes that it is of are good."""

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        results = [GOOD] * windows[-1][1]
        for window, ((start, stop), take) in enumerate(zip(windows, chosen, strict=True)):
            if not good(window, take):
                results[start:stop] = [BAD] * (stop - start)
        return results

    return judge


SHAPES = st.tuples(st.integers(1, 8), st.integers(2, 9)).flatmap(
    lambda each: st.integers(0, each[1] // 2).map(lambda shared: plan(*each, shared))
)


@given(SHAPES, st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 2**32))
def test_with_any_painter_and_any_judge_it_ends_and_never_worse_than_its_best(
    windows: list[Span], most: int, settings: int, chained: bool, chance: int
) -> None:
    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        numbers = random.Random(f"{chance}{chosen}")  # nothing but the whole decides: no window stands for itself
        kind = numbers.choice((0.0, 0.5, 0.9, 1.0))
        passed = [numbers.random() < kind for _ in range(windows[-1][1])]
        return [
            FrameResult(each, numbers.random(), numbers.random(), not each and numbers.random() < 0.7)
            for each in passed
        ]

    takes = Takes(windows, most, 7, settings, chained)
    kept: list[set[tuple[int, int]]] = []

    def judge_and_look(chosen: tuple[int, ...]) -> list[FrameResult]:
        kept.append(takes.kept)
        return judge(chosen)

    rounds = play(takes, judge_and_look)
    kept.append(takes.kept)
    paintings = [each for done in rounds for each in done.paintings]
    assert len(paintings) == takes.paintings <= most * len(windows)
    for window in range(len(windows)):
        mine = [each for each in paintings if each.window == window]
        assert [each.take for each in mine] == list(range(1, len(mine) + 1)), "each take once, and none left out"
        assert len(mine) <= most and len({each.seed for each in mine}) == len(mine)
        assert takes.takes_of(window) == tuple(mine)
    painted: set[tuple[int, int]] = set()
    for done in rounds:
        painted |= {(each.window, each.take) for each in done.paintings}
        assert painted >= set(enumerate(done.chosen)), "nothing is composited before it is painted"
    assert takes.best is not None
    assert takes.best.results == tuple(judge(takes.best.chosen)), "what was judged as a whole is what is kept"
    assert all(rank(takes.best.results) <= rank(judge(done.chosen)) for done in rounds)
    assert len({done.chosen for done in rounds}) == len(rounds), "nothing is judged twice"
    assert takes.best.passed == any(each.passed for each in takes.judged)
    gone: set[tuple[int, int]] = set()
    for number, there in enumerate(kept):
        new = {(each.window, each.take) for each in rounds[number].paintings} if number < len(rounds) else set()
        assert there >= new and not (there & gone), "what was given up is never chosen again"
        assert all([window for window, _ in there - new].count(each) <= 2 for each in range(len(windows)))
        gone |= {pair for done in rounds[: number + 1] for pair in enumerate(done.chosen)} - there
    assert kept[-1] >= set(enumerate(takes.best.chosen))
    for done, there in zip(rounds, kept, strict=False):
        assert there >= set(enumerate(done.chosen))


@given(SHAPES, st.integers(1, 8), st.integers(1, 4), st.booleans(), st.integers(0, 2**32))
def test_each_setting_has_its_turn_in_a_window_and_among_the_least_tried_the_best_record_goes_first(
    windows: list[Span], most: int, settings: int, chained: bool, chance: int
) -> None:
    takes = Takes(windows, most, 7, settings, chained)
    passed, judged = [0] * settings, [0] * settings
    tried: list[list[int]] = [[] for _ in windows]
    before = [0, *(stop for _, stop in windows)]
    own = [(before[at] if chained else start, stop) for at, (start, stop) in enumerate(windows)]
    while (wanted := takes.proposed()) is not None:
        for each in wanted.paintings:
            mine, shares = tried[each.window], [(passed[at] + 1) / (judged[at] + 2) for at in range(settings)]
            if each.take == 1:
                assert each.setting == 0, "the given one first"
            else:
                least = [at for at in range(settings) if mine.count(at) == min(map(mine.count, range(settings)))]
                assert each.setting == min(least, key=lambda at: (-shares[at], at))
        for each in wanted.paintings:
            tried[each.window].append(each.setting)
        numbers = random.Random(f"{chance}{wanted.chosen}")
        results = [GOOD if numbers.random() < 0.8 else BAD for _ in range(windows[-1][1])]
        takes.feed(results)
        for each in wanted.paintings:
            start, stop = own[each.window]
            judged[each.setting] += 1
            passed[each.setting] += all(result.passed for result in results[start:stop])
    for mine in tried:
        assert {*mine[:settings]} == {*range(min(len(mine), settings))} or len({*mine[:settings]}) == len(
            mine[:settings]
        )


@given(SHAPES, st.integers(1, 6), st.integers(0, 2**32))
def test_a_window_that_passed_keeps_its_take_and_only_what_failed_is_painted_again(
    windows: list[Span], most: int, chance: int
) -> None:
    windows = [(a, b) for a, b in plan(len(windows), windows[0][1], 0)]

    def good(window: int, take: int) -> bool:
        return random.Random(f"{chance}/{window}/{take}").random() < 0.5

    takes = Takes(windows, most, 0)
    rounds = play(takes, by_window(windows, good))
    first = {window: next((t for t in range(1, most + 1) if good(window, t)), None) for window in range(len(windows))}
    if None not in first.values():
        assert takes.best is not None and takes.best.passed
        assert takes.best.chosen == tuple(first.values())
        assert takes.paintings == sum(take or 0 for take in first.values())
        assert len(rounds) == max(take or 0 for take in first.values())
    else:
        assert takes.best is not None and not takes.best.passed
        assert any(len(takes.takes_of(window)) == most for window, take in first.items() if take is None)


def test_a_take_that_is_no_better_is_not_taken() -> None:
    windows = plan(2, 4, 0)
    worse = [FrameResult(False, 0.2)] * 4
    better = [FrameResult(False, 0.8)] * 4

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        return [*(better if chosen[0] == 1 else worse), *([GOOD] * 4)]

    takes = Takes(windows, 3, 0)
    rounds = play(takes, judge)
    assert [done.chosen for done in rounds] == [(1, 1), (2, 1), (3, 1)]
    assert takes.best == Joint((1, 1), tuple(judge((1, 1))))


def test_where_a_new_take_spoils_the_frames_that_it_shares_the_joint_result_decides() -> None:
    windows = plan(2, 6, 2)  # 0-5 and 4-9

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        left, right = chosen
        frames = [BAD, *[GOOD] * 3] if left == 1 else [GOOD] * 4
        shared = [BAD, BAD] if left == 2 else [GOOD, GOOD]
        return [*frames, *shared, *[GOOD] * 4] if right == 1 else [BAD] * 10

    takes = Takes(windows, 4, 0)
    rounds = play(takes, judge)
    # take 2 mends frame 0 and spoils 4 and 5, which are the other window's too: two failing frames for one
    assert [done.chosen for done in rounds] == [(1, 1), (2, 1), (3, 1)]
    assert takes.best is not None and takes.best.passed


def test_good_takes_of_several_rounds_are_judged_together_before_they_are_believed() -> None:
    windows = plan(3, 4, 0)

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        good = [chosen[0] == 2, chosen[1] == 1, chosen[2] == 2]
        if chosen == (2, 1, 2):  # a tracker may stumble where each by itself passes
            good[1] = False
        return [GOOD if each else BAD for each in good for _ in range(4)]

    takes = Takes(windows, 2, 0)
    rounds = play(takes, judge)
    assert [done.chosen for done in rounds] == [(1, 1, 1), (2, 1, 2), (2, 2, 2), (2, 1, 2)][: len(rounds)]
    assert takes.best is not None and rank(takes.best.results)[0] == 4


LOST = FrameResult(False, 0.1, lost=True)


def following(windows: list[Span], good: Callable[[int, int], bool]) -> Callable[[tuple[int, ...]], list[FrameResult]]:
    """A tracker that loses the object in the second half of a bad window, and finds it in no frame after that."""

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        results: list[FrameResult] = []
        for window, (first, behind) in enumerate(windows):
            lost = bool(results) and results[-1].lost
            for frame in range(first, behind):
                lost = lost or (not good(window, chosen[window]) and frame >= (first + behind) // 2)
                results.append(LOST if lost else GOOD)
        return results

    return judge


def test_windows_after_the_one_where_the_tracker_lost_the_object_wait_for_it() -> None:
    windows = plan(5, 4, 0)
    good = {0: {1}, 1: {3}, 2: {1}, 3: {2}, 4: {1}}
    takes = Takes(windows, 4, 0)
    rounds = play(takes, following(windows, lambda window, take: take in good[window]))
    assert [[each.window for each in done.paintings] for done in rounds] == [[0, 1, 2, 3, 4], [1], [1], [3]]
    assert takes.best is not None and takes.best.passed and takes.best.chosen == (1, 3, 1, 2, 1)


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2**32))
def test_with_a_tracker_that_loses_the_object_no_good_take_is_painted_over(
    count: int, length: int, chance: int
) -> None:
    windows = plan(count, length, 0)

    def good(window: int, take: int) -> bool:
        return random.Random(f"{chance}/{window}/{take}").random() < 0.5

    takes = Takes(windows, 64, 0)
    play(takes, following(windows, good))
    first = [next(take for take in range(1, 65) if good(window, take)) for window in range(count)]
    assert takes.best is not None and takes.best.passed and takes.best.chosen == tuple(first)
    assert takes.paintings == sum(first)


def test_a_window_that_fails_itself_too_does_not_wait() -> None:
    windows = plan(2, 4, 0)

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        before = [GOOD] * 4 if chosen[0] > 1 else [GOOD, *[LOST] * 3]
        after = [LOST, GOOD, BAD, GOOD] if chosen[0] == 1 else [GOOD] * 4
        return [*before, *(after if chosen[1] == 1 else [GOOD] * 4)]

    rounds = play(Takes(windows, 2, 0), judge)
    assert [[each.window for each in done.paintings] for done in rounds] == [[0, 1], [0, 1]]


def test_a_take_that_was_lost_with_an_earlier_window_says_nothing_of_its_setting() -> None:
    windows = plan(2, 4, 0)
    takes = Takes(windows, 3, 0, settings=2)
    play(takes, following(windows, lambda window, take: window == 1 or take == 2))
    assert [(each.judged, each.passed) for each in takes._records] == [(1, 0), (1, 1)]


def test_a_chain_is_painted_anew_from_the_first_window_that_fails() -> None:
    windows = plan(4, 6, 2)
    good = {0: {1}, 1: {2}, 2: {3}, 3: {1, 2, 3}}
    takes = Takes(windows, 4, 0, chained=True)
    own = [(0, 6), (6, 10), (10, 14), (14, 18)]  # a frame of two windows is the earlier one's
    rounds = play(takes, by_window(own, lambda window, take: take in good[window]))
    assert [[each.window for each in done.paintings] for done in rounds] == [[0, 1, 2, 3], [1, 2, 3], [2, 3]]
    assert takes.best is not None and takes.best.passed and takes.best.chosen == (1, 2, 3, 3)


def test_settings_take_turns_and_the_one_with_the_best_record_goes_first() -> None:
    windows = plan(6, 4, 0)
    takes = Takes(windows, 5, 0, settings=3)

    def judge(chosen: tuple[int, ...]) -> list[FrameResult]:
        settings = [takes.takes_of(window)[take - 1].setting for window, take in enumerate(chosen)]
        results = by_window(windows, lambda window, take: settings[window] == 2 and window != 0)(chosen)
        return results

    rounds = play(takes, judge)
    first, second = rounds[0], rounds[1]
    assert {each.setting for each in first.paintings} == {0}
    assert {each.setting for each in second.paintings} == {1}
    mine = [each.setting for each in takes.takes_of(0)]
    assert sorted(mine[:3]) == [0, 1, 2], "each in turn"
    assert mine[3] == 2, "then the one that passed most often"


def test_seeds_are_the_takes_own_and_the_same_for_everybody() -> None:
    seeds = [seed_of(42, take) for take in range(1, 1001)]
    assert seeds[0] == 42 and len(set(seeds)) == 1000
    assert all(0 <= each < 2**63 for each in seeds)
    assert seed_of(42, 2) == 1853337474191613549


@pytest.mark.parametrize(
    "windows",
    [[], [(0, 0)], [(1, 4)], [(0, 4), (5, 8)], [(0, 4), (2, 4)], [(0, 9), (4, 10), (5, 12)], [(0, 4), (3, 3)]],
)
def test_windows_that_do_not_cover_a_clip_are_refused(windows: list[Span]) -> None:
    with pytest.raises(ValueError, match="do not cover"):
        Takes(windows, 2, 0)


def test_what_cannot_be_asked_or_fed_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Takes([(0, 4)], 0, 0)
    takes = Takes([(0, 4)], 1, 0)
    with pytest.raises(ValueError, match="3 verdicts"):
        takes.feed([GOOD] * 3)
    takes.feed([BAD] * 4)
    assert takes.proposed() is None
    with pytest.raises(ValueError, match="nothing waits"):
        takes.feed([BAD] * 4)
