"""The server's traceback of a job that failed, kept beside where the result would be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from handoff.atomic import write_text
from reskin.errors import JobFailed

ERROR_LOG = "error.log"


@contextlib.contextmanager
def error_log(folder: Path) -> Iterator[None]:
    """Write the traceback of a JobFailed to `folder`/error.log and say so in the message; remove an old one else."""
    path = folder / ERROR_LOG
    try:
        yield
    except JobFailed as error:
        if not error.traceback:
            raise
        write_text(path, f"{error}\n\n{error.traceback}")
        raise type(error)(f"{error} (the server's traceback: {path})", error.traceback) from error
    path.unlink(missing_ok=True)
