"""Work that goes on behind: all of it, in order, and its errors come back."""

from __future__ import annotations

import os
import threading

import pytest

from handoff.threads import Ahead, Behind
from tests.helpers import HANG_S, until

DEPTH = 16


def test_everything_is_done_in_order_before_the_block_ends() -> None:
    done: list[int] = []
    with Behind(done.append, DEPTH) as behind:
        for number in range(100):
            behind.put(number)
    assert done == list(range(100))


def test_it_is_done_on_another_thread() -> None:
    threads: list[int] = []
    with Behind(lambda item: threads.append(threading.get_ident()), DEPTH) as behind:
        behind.put(0)
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("items", [1, 1000])
def test_an_error_comes_back_once_and_nothing_is_done_after_it(items: int) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"), Behind(work, DEPTH) as behind:
        for number in range(items):
            behind.put(number)
    assert done == [0]


def test_when_the_block_fails_what_waits_is_dropped() -> None:
    begun, done = threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.set()
        until("the block has failed and is being left", lambda: behind._dropping)
        done.append(number)

    with pytest.raises(KeyError, match="ours"), Behind(work, DEPTH) as behind:
        for number in range(5):
            behind.put(number)
        assert begun.wait(HANG_S)
        raise KeyError("ours")
    assert done == [0]


LAST = 19
"""The lowest priority that there is; the tests may have it themselves."""


def test_a_thread_stands_back_where_it_is_told_to_and_nobody_else_does() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    found: list[int] = []

    def look(item: int = 0) -> int:
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return item

    with Behind(look, DEPTH, nice=3) as behind:
        behind.put(0)
    ahead = Ahead((look() for _ in range(1)), DEPTH, nice=4)
    assert list(ahead) == [0]
    ahead.close()
    assert found == [min(before + 3, LAST), min(before + 4, LAST)]
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_where_the_system_does_not_let_it_stand_back_it_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    done: list[int] = []
    with Behind(done.append, DEPTH, nice=3) as behind:
        for number in Ahead(range(3), DEPTH, nice=4):
            behind.put(number)
    assert done == [0, 1, 2]
