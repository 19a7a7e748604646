"""What the root commands share: the right Python, the runner, errors as one line and an exit code."""

from __future__ import annotations

import errno
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
BAD_PATH = 2
_PATH_REASONS = {
    errno.ENOENT: "there is nothing of that name",
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
}
"""What the operating system says of a path that was given, as handoff/errors.py has it."""


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


def run(command: Callable[[list[str]], int]) -> NoReturn:
    """Run a command with this process's arguments and exit with what it returns."""
    try:
        _check_python()
        code = command(sys.argv[1:])
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("error: interrupted; run the same command to go on.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        # Path.resolve says RuntimeError of links that lead in a circle
        met = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(met, OSError) and met.filename is not None and met.errno in _PATH_REASONS:
            print(f"error: {met.filename} cannot be used: {_PATH_REASONS[met.errno]}; check the path.", file=sys.stderr)
            sys.exit(BAD_PATH)
        traceback.print_exc()
        print(f"error: {type(error).__name__}, which nobody foresaw (above is where); report it.", file=sys.stderr)
        sys.exit(FAULT)
    sys.exit(code)
