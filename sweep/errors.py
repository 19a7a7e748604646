"""The sweep's one error: a sentence and an exit code, as handoff/errors.py has them for the stages."""

from __future__ import annotations

from pathlib import Path


class SweepError(Exception):
    """Something the sweep cannot go on with: a sentence, or one a line for several faults of one file.

    exit_code: 2 bad usage or a bad file, 3 something missing or a job that failed.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def __str__(self) -> str:
        """Return the sentence with nothing in it that steers a terminal: a file's name and its text may hold that."""
        return "\n".join(map(printable, super().__str__().split("\n")))


def unwritable(path: Path, error: OSError) -> SweepError:
    """Return what to raise where a file or a folder of the sweep cannot be written."""
    return SweepError(f"cannot write {path} ({error.strerror}); free some room, or choose DATA_DIR.", 3)


def printable(line: str) -> str:
    """Return a text as part of one line: what is no printable character, a line break too, as an escape like \\x1b."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in line)
