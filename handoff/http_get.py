"""One GET request for the rest of a file: ranges, redirects, time-outs. Standard library only."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import IO
from urllib.parse import urlsplit

from handoff.errors import MissingError

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PIECE_BYTES = 1 << 20
_LEAST_RATE = 1000  # bytes a second
_TRY_AGAIN = (408, 425, 429)  # and everything from 500 on


class Interrupted(Exception):
    """A try that failed in a way another try may mend.

    wait_s: how long the server asked to be left alone. stale: what has come so far is of no use any more.
    """

    def __init__(self, reason: str, *, wait_s: float = 0.0, stale: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.stale = stale


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


def check_url(url: str, redirected_from: str | None = None) -> None:
    """Raise MissingError unless `url` is https; http passes within this machine only (a mirror, the tests)."""
    parts = urlsplit(url)
    local = _is_loopback(url) and (redirected_from is None or _is_loopback(redirected_from))
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return
    where = f"{redirected_from} redirects to {parts.scheme}://{parts.netloc}" if redirected_from else url
    raise MissingError(f"{where}, which is not https: it is not asked for anything.")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        check_url(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class _RedirectsOnly(urllib.request.HTTPErrorProcessor):
    """Follow redirects; hand every other answer on as it is, 404 too."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        if response.status in (301, 302, 303, 307, 308):
            followed: http.client.HTTPResponse = super().http_response(request, response)
            return followed
        return response

    https_response = http_response


@dataclass(frozen=True)
class Reply:
    """What the server sends. start: the offset of its first byte. total: bytes of the whole file, where it says so.

    validator: a strong ETag, else the date of the last change, else None. complete: nothing is missing any more.
    """

    response: http.client.HTTPResponse
    stall_s: float
    start: int
    total: int | None
    complete: bool = False

    @property
    def validator(self) -> str | None:
        return _strong_etag(self.response) or self.response.headers.get("Last-Modified")

    def pieces(self, limit: int | None) -> Iterator[bytes]:
        """Yield the body as it comes, hardly past byte `limit`; raise Interrupted when it stalls or breaks off."""
        came, window_bytes, window_start = self.start, 0, time.monotonic()
        while limit is None or came <= limit:
            with _network_errors(self.stall_s):
                # read1, not read: what has come is kept at once, and a trickle is seen as one
                piece = self.response.read1(_PIECE_BYTES)
            if not piece:
                return
            yield piece
            came, window_bytes = came + len(piece), window_bytes + len(piece)
            if (passed := time.monotonic() - window_start) >= self.stall_s:
                if window_bytes < _LEAST_RATE * passed:
                    raise Interrupted(f"only {window_bytes} bytes came in {passed:.1f} s")
                window_bytes, window_start = 0, time.monotonic()


@contextlib.contextmanager
def ask(url: str, have: int, validator: str | None, stall_s: float) -> Iterator[Reply]:
    """Ask for `url` from byte `have` on, if it is still the file that `validator` belongs to.

    Raises Interrupted when another try may do, MissingError when the server says no.
    """
    # identity: a body that is compressed on its way has other lengths and ranges
    request = urllib.request.Request(url, headers={"User-Agent": "skate-weights/1", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", validator)
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects(), _RedirectsOnly()]
    if _is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy is for other machines
    with _network_errors(stall_s):
        response = urllib.request.build_opener(*handlers).open(request, timeout=stall_s)
    with response:
        yield _reply(url, response, have, validator, stall_s)


@contextlib.contextmanager
def _network_errors(stall_s: float) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):  # urllib raises it for a loop of redirects, or one to file://
            raise MissingError(f"{error.url} redirects in a way that is not followed ({error.reason}).") from error
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise MissingError(
                f"the server's certificate is not trusted here ({cause.verify_message}); where a company's own "
                "certificates are in use, name their file with SSL_CERT_FILE."
            ) from error
        if isinstance(cause, TimeoutError):
            raise Interrupted(f"nothing came for {stall_s:g} s") from error
        raise Interrupted(f"the connection failed ({cause or type(cause).__name__})") from error


def _strong_etag(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get("ETag")
    return etag if etag and etag.startswith('"') else None


def _reply(url: str, response: http.client.HTTPResponse, have: int, validator: str | None, stall_s: float) -> Reply:
    status, told = response.status, f"the server answered {response.status} {response.reason}"
    extent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    whole = int(extent[2]) if extent and extent[2] != "*" else None
    if status == 200:
        return Reply(response, stall_s, 0, response.length)
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
