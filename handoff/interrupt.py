"""Ctrl-C and SIGTERM end a command in order: once, however often they arrive."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

GRACE_S = 5.0
"""How long a command that was interrupted may tidy up before another signal interrupts that too."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT and on SIGTERM, so that what Ctrl-C tidies up is tidied up for both.

    Signals that follow within GRACE_S are the same wish and change nothing: in a container one Ctrl-C arrives twice,
    from the docker client and from its compose plugin, and the second would end the tidying up. A signal that is
    ignored (nohup, a job in the background) stays so. Nothing changes outside the main thread, where Python lets
    nobody say what a signal does.
    """
    asked = -math.inf

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if time.monotonic() - asked >= GRACE_S:
            asked = time.monotonic()
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, interrupt) for each in heard}
    try:
        yield
    finally:
        if asked == -math.inf:  # else the command is ending, and what comes now is still the same wish
            for each, handler in before.items():
                signal.signal(each, handler)
