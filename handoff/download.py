"""Downloads that go on where they were cut off and get their name only when they are the right file.

NAME.part holds what has come so far and NAME.part.json says of which file (URL, SHA-256, ETag; handoff/partfile.py).
Both stay when the process ends, however it ends. A part is continued with a Range request under If-Range; where the
server has another file by now, or knows no ranges, it starts anew. Only a part with the right SHA-256 becomes NAME.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from tqdm import tqdm

from handoff.errors import MissingError, StorageError, storage_errors
from handoff.http_get import Interrupted, Reply, ask, check_url
from handoff.partfile import Part
from handoff.verify import DigestError, settle, verify_file

_PROGRESS_BYTES = 1 << 20  # so much more than ever before clears the count of failures
_SPARE_BYTES = 16 << 20  # disk space left to others


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server. stall_s: give up on a connection that brings less than 1 kB/s for so long.

    tries: failures in a row before giving up. pause_s: before the second try; doubled each time, up to a minute.
    """

    stall_s: float = 30.0
    tries: int = 6
    pause_s: float = 1.0

    def pause(self, failures: int, wanted_s: float) -> float:
        return min(max(self.pause_s * 2.0 ** (failures - 1), wanted_s), 60.0)


def download(
    url: str, target: Path, *, sha256: str, size_bytes: int | None = None, patience: Patience | None = None
) -> None:
    """Fetch `url` to `target`; where `target` is there already (another process was quicker), verify it.

    Raises DigestError when the bytes are not those of `sha256` (nothing of them is kept), MissingError when the file
    cannot be had (what came is kept for the next time), StorageError when there is no room for it.
    """
    check_url(url)
    part, patience = Part(target, url, sha256), patience or Patience()
    with _alone(target):
        if target.exists():
            verify_file(target, sha256, size_bytes, "move it away, then run the same command again")
            return
        _check_room(target, (size_bytes or 0) - part.have())
        failures, best = 0, part.have()
        while True:
            try:
                in_one_piece = _attempt(part, size_bytes, patience)
                _verify(part, size_bytes)
                break
            except Interrupted as error:
                have = part.have()
                failures, best = 1 if have >= best + _PROGRESS_BYTES else failures + 1, max(best, have)
                if error.stale:
                    part.remove()
                if failures >= patience.tries:
                    raise MissingError(_given_up(part, error, failures)) from error
                _wait(target.name, error, patience.pause(failures, error.wait_s))
            except DigestError:
                part.remove()
                failures += 1
                # the pieces of two tries may not belong together, whatever the server says: once more, from nothing
                if in_one_piece or failures >= patience.tries:
                    raise
        settle(part.path, target)
        part.remove()


def _wait(name: str, error: Interrupted, pause_s: float) -> None:
    click.echo(f"{name}: {error}; trying again in {pause_s:g} s", err=True)
    time.sleep(pause_s)


def _attempt(part: Part, size_bytes: int | None, patience: Patience) -> bool:
    """Bring the part to its full length; say whether it came in one piece. Raises Interrupted when that failed."""
    have = part.have()
    if size_bytes is not None and have >= size_bytes:
        return False
    with ask(part.url, have, part.validator() if have else None, patience.stall_s) as reply:
        if reply.complete:
            return False
        total = _total(part, reply, size_bytes)
        _check_room(part.target, (total or 0) - reply.start)
        with storage_errors(part.path), part.path.open("ab" if reply.start else "wb") as file:
            if not reply.start:
                part.describe(reply.validator)
            with _bar(part.target.name, total, reply.start) as advance:
                for piece in reply.pieces(total):
                    file.write(piece)
                    advance(len(piece))
            file.flush()
            os.fsync(file.fileno())
    length = part.path.stat().st_size
    if total is not None and length < total:
        raise Interrupted(f"the connection ended after {length} of {total} bytes")
    return reply.start == 0


def _total(part: Part, reply: Reply, size_bytes: int | None) -> int | None:
    """Return the length of the whole file; refuse at once a server that has a file of another length."""
    if size_bytes is not None and reply.total is not None and reply.total != size_bytes:
        part.remove()
        raise MissingError(
            f"{part.url} is a file of {reply.total} bytes now, it must have {size_bytes} (SHA-256 {part.sha256}); "
            f"nothing was kept. Put the right file at {part.target} by hand."
        )
    return size_bytes if reply.total is None else reply.total


def _verify(part: Part, size_bytes: int | None) -> None:
    try:
        verify_file(part.path, part.sha256, size_bytes, "")
    except DigestError as error:
        raise DigestError(
            f"what {part.url} sent ({part.path.stat().st_size} bytes)",
            error.actual,
            error.expected,
            f"nothing of it was kept. Put the right file at {part.target} by hand, or try again later",
        ) from error


def _given_up(part: Part, error: Interrupted, failures: int) -> str:
    return (
        f"{part.url} could not be downloaded in {failures} tries: {error}. {part.have()} bytes are kept: "
        f"run the same command to go on, or put the file at {part.target} by hand."
    )


def _check_room(target: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed_bytes > 0 and needed_bytes + _SPARE_BYTES > free:
        raise StorageError(
            f"{target} needs {needed_bytes} bytes more and its disk has {free} left; free some room, or name another "
            "folder with MODELS_DIR, then run the same command again."
        )


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Wait until no other process downloads `target`. The system lets go of the lock when a process ends."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.with_name(f".{target.name}.lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo(f"{target.name}: another process is downloading it; waiting for that one", err=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _bar(name: str, total: int | None, initial: int) -> Iterator[Callable[[int], object]]:
    # as handoff.progress: silent where stderr is no terminal
    with tqdm(
        total=total, initial=initial, desc=name, unit="B", unit_scale=True, disable=None, dynamic_ncols=True
    ) as bar:
        yield bar.update
