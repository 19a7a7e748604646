"""Downloads that go on where they were cut off and get their name only when they are the right file.

NAME.part holds what has come so far and NAME.part.json says of which file (URL, SHA-256, ETag; `Part`).
Both stay when the process ends, however it ends. A part is continued with a Range request under If-Range; where the
server has another file by now, or knows no ranges, it starts anew. Only a part with the right SHA-256 becomes NAME.

Read `download` first, which tries until the file is whole; then `Part`; then `ask`, one GET request for the rest of a
file, and `Reply`, what comes of it. This module alone of handoff's imports requests: only `make weights` needs it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

import click
import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from handoff.errors import InputError, MissingError, StorageError, innermost, storage_errors
from handoff.files import DigestError, flocked, fsync, open_lock, settle, verify_file, write_text
from handoff.jsonfile import LINE, or_null, read_json, record
from handoff.links import refuse_link
from handoff.weights.registry import check_url, is_loopback

PART_SUFFIX = ".part"
_PROGRESS_BYTES = 1 << 20  # so much more than ever before clears the count of failures
_SPARE_BYTES = 16 << 20  # disk space left to others
_PIECE_BYTES = 1 << 20
_LEAST_RATE = 1000  # bytes a second
_TRY_AGAIN = (408, 425, 429)  # and everything from 500 on
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10


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


class Interrupted(Exception):
    """A try that failed in a way another try may mend.

    wait_s: how long the server asked to be left alone. stale: what has come so far is of no use any more.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0, stale: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.stale = stale


def download(
    url: str, target: Path, *, sha256: str, size_bytes: int | None = None, patience: Patience | None = None
) -> None:
    """Fetch `url` to `target`; where `target` is there already (another process was quicker), verify it.

    Raises DigestError when the bytes are not those of `sha256` (nothing of them is kept), MissingError when the file
    cannot be had (what came is kept for the next time), StorageError when there is no room for it.
    """
    check_url(url)
    part, patience = Part(target, url, sha256), patience or Patience()
    refuse_link(part.path)
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
                    raise MissingError(
                        f"{url} could not be downloaded in {failures} tries: {error}. {part.have()} bytes are kept: "
                        f"run the same command to go on, or put the file at {target} by hand."
                    ) from error
                pause_s = patience.pause(failures, error.wait_s)
                click.echo(f"{target.name}: {error}; trying again in {pause_s:g} s", err=True)
                time.sleep(pause_s)
            except DigestError:
                part.remove()
                failures += 1
                # the pieces of two tries may not belong together, whatever the server says: once more, from nothing
                if in_one_piece or failures >= patience.tries:
                    raise
        settle(part.path, target)
        part.remove()


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
        with storage_errors(part.path), part.open(reply.start > 0) as file:
            if not reply.start:
                part.describe(reply.validator)
            with _bar(part.target.name, total, reply.start) as advance:
                for piece in reply.pieces(total):
                    file.write(piece)
                    advance(len(piece))
    with storage_errors(part.path):
        fsync(part.path)
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
        descriptor = open_lock(target.with_name(f".{target.name}.lock"), fcntl.LOCK_EX)
    try:
        try:
            alone = flocked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            click.echo(f"{target.name}: another process is downloading it; waiting for that one", err=True)
            alone = flocked(descriptor, fcntl.LOCK_EX)
        if not alone:
            click.echo(
                f"warning: the file system of {target.parent} has no locks; do not run two downloads there at once",
                err=True,
            )
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _bar(name: str, total: int | None, initial: int) -> Iterator[Callable[[int], object]]:
    # as handoff.command: silent where stderr is no terminal
    with tqdm(
        total=total, initial=initial, desc=name, unit="B", unit_scale=True, disable=None, dynamic_ncols=True
    ) as bar:
        yield bar.update


_NOTE = record({"url": LINE, "sha256": LINE}, {"validator": or_null(LINE)})


@dataclass(frozen=True)
class Part:
    """The unfinished file beside `target`, and the note that says what it is a part of."""

    target: Path
    url: str
    sha256: str

    @property
    def path(self) -> Path:
        return self.target.with_name(self.target.name + PART_SUFFIX)

    @property
    def note(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def have(self) -> int:
        """Return the bytes that a new request may build on: 0 for a part of another file, or one without its note."""
        note = self._read_note()
        known = (note.get("url"), note.get("sha256")) == (self.url, self.sha256)
        return self.path.stat().st_size if known and self.path.is_file() and self.path.stat().st_nlink == 1 else 0

    def open(self, further: bool) -> BinaryIO:
        """Open it for writing: at its end, or as a new file of its own, never what a link of its name leads to."""
        if not further:
            self.path.unlink(missing_ok=True)
        how = os.O_APPEND if further else os.O_CREAT | os.O_EXCL
        return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | how, 0o666), "ab")

    def validator(self) -> str | None:
        """Return what If-Range is to say. Call it only where `have` is not 0."""
        validator: str | None = self._read_note().get("validator")
        return validator

    def _read_note(self) -> dict[str, Any]:
        try:
            note: dict[str, Any] = read_json(self.note, _NOTE, advice="fetch the file anew")
        except (InputError, OSError):
            return {}
        return note

    def describe(self, validator: str | None) -> None:
        write_text(self.note, json.dumps({"url": self.url, "sha256": self.sha256, "validator": validator}) + "\n")

    def remove(self) -> None:
        with storage_errors(self.path):
            self.path.unlink(missing_ok=True)
            self.note.unlink(missing_ok=True)


@dataclass(frozen=True)
class Reply:
    """What the server sends. start: the offset of its first byte. total: bytes of the whole file, where it says so.

    complete: nothing is missing any more.
    """

    response: requests.Response
    stall_s: float
    start: int
    total: int | None
    complete: bool = False

    @property
    def validator(self) -> str | None:
        """A strong ETag, else the date of the last change, else None."""
        return _strong_etag(self.response) or self.response.headers.get("Last-Modified")

    def pieces(self, limit: int | None) -> Iterator[bytes]:
        """Yield the body as it comes, hardly past byte `limit`; raise Interrupted when it stalls or breaks off."""
        came, window_bytes, window_start = self.start, 0, time.monotonic()
        self.response.raw.enforce_content_length = False  # a body that ends too early is told by its length
        while limit is None or came <= limit:
            with _network_errors(self.stall_s):
                # read1, not read: what has come is kept at once, and a trickle is seen as one
                piece = self.response.raw.read1(_PIECE_BYTES, decode_content=False)
            if not piece:
                return
            yield piece
            came, window_bytes = came + len(piece), window_bytes + len(piece)
            if (passed := time.monotonic() - window_start) >= self.stall_s:
                if window_bytes < _LEAST_RATE * passed:
                    raise Interrupted(f"only {window_bytes} bytes came in {passed:.1f} s")
                window_bytes, window_start = 0, time.monotonic()


class _Trusting(HTTPAdapter):
    """Trusts the certificates that Python does, the system's or SSL_CERT_FILE's, in place of requests' own list."""

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        conn.cert_reqs = "CERT_REQUIRED"


@contextlib.contextmanager
def ask(url: str, have: int, validator: str | None, stall_s: float) -> Iterator[Reply]:
    """Ask for `url` from byte `have` on, if it is still the file that `validator` belongs to.

    A redirect is followed where `check_url` lets it. Of the environment only the proxies count, and those for other
    machines than this: an adapter without a session looks up no password and keeps no cookie.
    Raises Interrupted when another try may do, MissingError when the server says no.
    """
    # identity: a body that is compressed on its way has other lengths and ranges
    headers = {"User-Agent": "skate-weights/1", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})
    with contextlib.ExitStack() as stack:
        adapter = stack.enter_context(contextlib.closing(_Trusting()))
        place = url
        for _ in range(_MOST_REDIRECTS):
            proxies = {} if is_loopback(place) else get_environ_proxies(place)
            proxies = {scheme: proxy for scheme, proxy in proxies.items() if scheme in ("http", "https")}
            with _network_errors(stall_s):
                request = requests.Request("GET", place, headers=headers).prepare()
                response = adapter.send(request, stream=True, timeout=stall_s, proxies=proxies)
            stack.enter_context(response)
            if response.status_code not in _REDIRECTS:
                yield _reply(url, response, have, validator, stall_s)
                return
            towards = response.headers.get("Location")
            if towards is None:
                break
            towards = urljoin(place, towards.encode("latin-1").decode("utf-8", "replace"))
            check_url(towards, place)
            place = towards
        raise MissingError(f"{place} redirects in a way that is not followed ({response.status_code}).")


@contextlib.contextmanager
def _network_errors(stall_s: float) -> Iterator[None]:
    try:
        yield
    except (requests.RequestException, HTTPError) as error:
        cause = innermost(error, ("requests", "urllib3"))
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise MissingError(
                f"the server's certificate is not trusted here ({cause.verify_message}); where a company's own "
                "certificates are in use, name their file with SSL_CERT_FILE."
            ) from error
        if isinstance(cause, TimeoutError):
            raise Interrupted(f"nothing came for {stall_s:g} s") from error
        raise Interrupted(f"the connection failed ({str(cause) or type(cause).__name__})") from error


def _strong_etag(response: requests.Response) -> str | None:
    etag = response.headers.get("ETag")
    return etag if etag and etag.startswith('"') else None


def _reply(url: str, response: requests.Response, have: int, validator: str | None, stall_s: float) -> Reply:
    status, told = response.status_code, f"the server answered {response.status_code} {response.reason}"
    extent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    whole = int(extent[2]) if extent and extent[2] != "*" else None
    if status == 200:
        return Reply(response, stall_s, 0, response.raw.length_remaining)
    if status == 206:
        if extent is None or extent[1] is None or int(extent[1]) != have:
            raise Interrupted(f"{told} with other bytes than those from {have} on", stale=True)
        etag = _strong_etag(response)
        if have and validator and validator.startswith('"') and etag not in (None, validator):
            raise Interrupted("the file was changed on the server", stale=True)
        return Reply(response, stall_s, have, whole)
    if status == 416 and have:
        if whole == have:
            return Reply(response, stall_s, have, have, complete=True)
        raise Interrupted(f"{told}: it has no bytes from {have} on", stale=True)
    if status in _TRY_AGAIN or status >= 500:
        wait = response.headers.get("Retry-After", "")
        raise Interrupted(told, wait_s=float(wait) if wait.isdecimal() else 0.0)
    raise MissingError(f"{told} for {url}; the file can also be put in its place by hand.")
