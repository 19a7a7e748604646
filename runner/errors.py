"""The runner's one error: a sentence and an exit code (the codes of handoff/errors.py, which needs packages)."""

from __future__ import annotations


class RunnerError(Exception):
    """Something the runner cannot go on without. exit_code: 2 bad usage, 3 something missing."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code
