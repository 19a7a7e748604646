"""What the root commands share: the right Python, the runner, errors as one line and an exit code."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from runner.process import RunnerError

NEEDED = (3, 11)
FAULT = 70
"""Exit code of an error that nobody foresaw, as in handoff/command.py: 1 means that the gate fails."""


def _check_python() -> None:
    if sys.version_info[:2] == NEEDED:
        return
    other = shutil.which("python3.11")
    if other is None:
        raise RunnerError(
            f"Python 3.11 is needed, this is {sys.version.split()[0]} and there is no python3.11 on the PATH; "
            "install it (Debian and Ubuntu: apt install python3.11 python3.11-venv)."
        )
    os.execv(other, [other, *sys.argv])


def _printable(text: str) -> str:
    """Return a message with nothing in it that steers a terminal, as handoff/errors.py: a file's name may hold that."""
    return "".join(
        each if each.isprintable() or each == "\n" else each.encode("unicode_escape").decode() for each in text
    )


def run(command: Callable[[list[str]], int]) -> NoReturn:
    """Run a command with this process's arguments and exit with what it returns."""
    try:
        _check_python()
        code = command(sys.argv[1:])
    except RunnerError as error:
        print(f"error: {_printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted; run the same command to go on.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        traceback.print_exc()
        print(f"error: {type(error).__name__}, which nobody foresaw (above is where); report it.", file=sys.stderr)
        sys.exit(FAULT)
    sys.exit(code)
