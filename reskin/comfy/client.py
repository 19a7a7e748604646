"""ComfyUI's HTTP interface: one method a route, every failure an error of ours (`reskin.comfy.errors`).

Read it from below: `Http` sends one request to one server and says what counts as nobody there, `again` what is tried
once more; then `ComfyServer`, the routes. What a server's refusals mean in words is in `reskin.comfy.errors`.

What a server sends (file names above all) is data: it goes back into requests as query parameters, is never used as a
path on this machine, and is never unpacked: every request asks for an answer as it is (Accept-Encoding: identity), and
a body is read as it comes, whatever its headers say. Its JSON comes through `handoff.jsonfile`, its words into messages
through `printable`.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar
from urllib.parse import quote

import requests
from urllib3 import encode_multipart_formdata
from urllib3.exceptions import HTTPError, NewConnectionError

from handoff.errors import UsageError, innermost, printable
from handoff.files import atomic_file
from handoff.jsonfile import JsonError, parse_json
from reskin.comfy.errors import (
    BadResult,
    ServerAbsent,
    ServerFails,
    ServerUnreachable,
    UploadTooLarge,
    WorkflowRefused,
    describe_refusal,
)
from reskin.comfy.wire import SteadyAdapter, at_most
from reskin.workflow import Graph

__all__ = ["ComfyServer", "JobState", "ServerFile", "parse_address"]

TRIES = 3
RETRY_PAUSE_S = 1.0
CONNECT_S, READ_S = 5.0, 60.0
"""How long to wait for a connection, and for the next bytes of an answer."""
_CANCEL_S = 5.0
_PIECE_BYTES = 1 << 16
_MOST_BYTES = 1 << 26
"""Of an answer other than a file: a queue of a thousand large graphs is less."""
_MOST_VALUES = 4_000_000
"""In it, which take a hundred bytes each."""
_MULTIPART_BYTES = 4096
"""More than the form's own bytes around an uploaded file."""
_SHOWN = 200
"""Characters of an error page that are passed on."""
_NETWORK = (requests.RequestException, HTTPError)
"""What requests raises, and what it lets through of urllib3's."""

UNSTATED = "of a version that it does not state"
"""For `version`: ComfyUI did not always."""
_LONGEST_VERSION = 60
_NOT_IN_A_PATH = ("", ".", "..")
"""What a path has no part of this name for."""

JobState = Literal["waiting", "running", "ended", "unknown"]
Result = TypeVar("Result")


def parse_address(server: str) -> str:
    """Return "HOST:PORT" of "HOST:PORT" or "http://HOST:PORT/"; raise UsageError for anything else."""
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})/?", server.strip())
    if found is None or not 0 < int(found.group(2)) < 65536:
        raise UsageError(f"the server '{server}' is not HOST:PORT, such as 127.0.0.1:8188.")
    return f"{found.group(1)}:{found.group(2)}"


class Torn(BadResult):
    """A result's answer broke off on its way, or stopped coming."""


def again(attempt: Callable[[], Result], tries: int = TRIES) -> Result:
    """Return what `attempt` returns; after a dropped connection, a 5xx or a torn result, which a server under load
    gives, attempt it again, `tries` times in all. Nobody listening (ServerAbsent) is said at once."""
    while True:
        tries -= 1
        try:
            return attempt()
        except ServerAbsent:
            raise
        except (ServerUnreachable, Torn):
            if tries <= 0:
                raise
        time.sleep(RETRY_PAUSE_S)


@dataclass(frozen=True)
class Answer:
    """A whole answer. status: HTTP's number."""

    status: int
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it is a 2xx; a redirect is none."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as JSON; raise JsonError when it is none, or more of it than anybody needs.

        NaN and numbers of any size are taken: a server's nodes show what they like.
        """
        return parse_json(
            self.body, "it", advice="see the server's log", largest=_MOST_BYTES, most=_MOST_VALUES, finite=False
        )

    def record(self) -> dict[str, Any]:
        """Return the body's JSON object; anything else is an empty one."""
        try:
            reply = self.json()
        except JsonError:
            return {}
        return reply if isinstance(reply, dict) else {}


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Take a redirect for an answer like any other: even unfollowed ones are read by requests, to any length."""


class Http:
    """One HOST:PORT, which several threads may ask at once.

    Nothing else is contacted: no proxy and no .netrc of the environment is used, no redirect followed.
    """

    def __init__(self, server: str) -> None:
        self.address = parse_address(server)
        self._session = _Session()
        self._session.trust_env = False
        self._session.mount("http://", SteadyAdapter())
        self._session.headers["Accept-Encoding"] = "identity"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextlib.contextmanager
    def answer(
        self, method: str, path: str, timeout_s: float | None = None, most_bytes: int = _MOST_BYTES, **content: Any
    ) -> Iterator[requests.Response]:
        """Send one request; yield the answer with its body still to come, in `pieces`.

        timeout_s: instead of CONNECT_S and READ_S. most_bytes: of the answer. content: as for requests. Status codes
        below 500 are the caller's to judge. Raises ServerAbsent where nobody listens, ServerFails for a 5xx,
        ServerUnreachable for no answer, BadResult for one that is packed.
        """
        timeout = (CONNECT_S, READ_S) if timeout_s is None else (timeout_s, timeout_s)
        how: dict[str, Any] = {"timeout": timeout, "stream": True, "allow_redirects": False, **content}
        try:
            with at_most(most_bytes):
                response = self._session.request(method, f"http://{self.address}{path}", **how)
        except _NETWORK as error:
            raise self.unreachable(error) from error
        with response:
            if response.status_code >= 500:
                raise self._fails(response, f"{method} {path}")
            packed = response.headers.get("Content-Encoding", "identity")
            if packed != "identity":
                raise BadResult(
                    f"{self.address} packs its answer to {method} {path} ({printable(packed)}), unasked; have it, or "
                    "what stands before it, send answers as they are."
                )
            yield response

    def unreachable(self, error: Exception | str) -> ServerUnreachable:
        """Return the error for no answer, or for one that is no ComfyUI's."""
        refused = isinstance(error, requests.ConnectionError) and any(
            isinstance(getattr(each, "reason", None), NewConnectionError) for each in error.args
        )
        return (ServerAbsent if refused else ServerUnreachable)(
            f"no ComfyUI server answers at {self.address} ({error if isinstance(error, str) else name_of(error)}); "
            "start one with 'python main.py --listen 127.0.0.1 --port PORT' in ComfyUI's folder, or let "
            "generate_reskin.py start it."
        )

    def _fails(self, response: requests.Response, what: str) -> ServerFails:
        page = b""
        with contextlib.suppress(*_NETWORK):
            page = response.raw.read(_PIECE_BYTES, decode_content=False)
        said = printable(" ".join(page.decode(errors="replace").split())[:_SHOWN])
        return ServerFails(
            f"the server at {self.address} answers HTTP {response.status_code} on {what}{said and f' ({said})'}; "
            "see its log, and start it again if need be."
        )

    def ask(self, method: str, path: str, *, tries: int = TRIES, **content: Any) -> Answer:
        """Send a request as `answer` does, up to `tries` times (see `again`); return the whole answer."""

        def attempt() -> Answer:
            with self.answer(method, path, **content) as response:
                try:
                    body = b"".join(pieces(response, _MOST_BYTES, f"the answer to {method} {path}"))
                except _NETWORK as error:
                    raise self.unreachable(error) from error
            return Answer(response.status_code, body)

        return again(attempt, tries)

    def get(self, path: str, **how: Any) -> dict[str, Any]:
        """GET a JSON object (how: as for `ask`), an empty one where it is other JSON.

        Raises ServerUnreachable when what answers is no ComfyUI.
        """
        answer = self.ask("GET", path, **how)
        with contextlib.suppress(JsonError):
            if answer.is_good:
                record = answer.json()
                return record if isinstance(record, dict) else {}
        raise self.unreachable(f"HTTP {answer.status} without JSON on {path}")


def pieces(response: requests.Response, most_bytes: int, what: str) -> Iterator[bytes]:
    """Yield a body as it comes; raise BadResult beyond `most_bytes`, and requests' errors when it comes too short."""
    received = 0
    while piece := response.raw.read(_PIECE_BYTES, decode_content=False):
        received += len(piece)
        if received > most_bytes:
            raise BadResult(f"{what} is larger than {most_bytes} bytes.")
        yield piece
    if not received and response.raw.length_remaining is None and not response.raw.chunked:
        # http.client takes an answer that breaks off in its headers for a whole one with nothing in it
        raise requests.ConnectionError("it broke off in its headers")


def name_of(error: Exception) -> str:
    """Return class and message of what lies under the wrappers of requests and urllib3."""
    cause = innermost(error, ("requests", "urllib3"))
    return f"{type(cause).__name__}: {printable(cause)}"


class UploadForm:
    """The multipart form of one file, which is read as it is sent: it may be larger than memory."""

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        boundary = uuid.uuid4().hex
        form, self.content_type = encode_multipart_formdata({"overwrite": "true", "image": (name, b"")}, boundary)
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._head = form.removesuffix(self._tail)
        self._file, self._size = file, size

    def __len__(self) -> int:
        """Return the bytes in all, for Content-Length: without it requests sends chunks."""
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        while piece := self._file.read(_PIECE_BYTES):
            yield piece
        yield self._tail


@dataclass(frozen=True)
class ServerFile:
    """A file on the server, as the server names it."""

    filename: str
    subfolder: str
    type: str

    @classmethod
    def from_json(cls, record: Any) -> ServerFile:
        """Read an entry of a node's outputs; raise BadResult when it is something else."""
        if not isinstance(record, dict) or not isinstance(record.get("filename"), str):
            raise BadResult(f"the server names a result that is no file: {printable(repr(record))}.")
        subfolder, kind = record.get("subfolder", ""), record.get("type", "output")
        if not isinstance(subfolder, str) or kind not in ("output", "temp"):
            raise BadResult(
                f"the server names a result in a place that is not its output folder: {printable(repr(record))}."
            )
        try:
            f"{record['filename']}{subfolder}".encode()  # JSON can hold what no request can
        except UnicodeEncodeError as error:
            raise BadResult(
                f"the server names a result that cannot be asked for: {printable(repr(record))}."
            ) from error
        return cls(record["filename"], subfolder, kind)

    @property
    def shown(self) -> str:
        """Its name in a sentence."""
        return f"'{printable(self.filename)}'"


class ComfyServer:
    """One ComfyUI server, and nothing else is contacted (see `Http`)."""

    def __init__(self, server: str) -> None:
        self._http = Http(server)
        self.address = self._http.address
        self._has_jobs = True
        self._upload_limit: int | None = None
        self._limit_asked = False
        self._stand_ins: dict[str, Any] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def version(self) -> str:
        """Return the server's version, UNSTATED of one that is too old to say; raise ServerUnreachable for no ComfyUI.

        Every ComfyUI names the Python that it runs with.
        """
        system = self._http.get("/system_stats").get("system")
        found = system if isinstance(system, dict) else {}
        if isinstance(found.get("comfyui_version"), str):
            return printable(found["comfyui_version"], _LONGEST_VERSION)
        if "comfyui_version" in found or isinstance(found.get("python_version"), str):
            return UNSTATED
        raise ServerUnreachable(f"{self.address} answers, but it is no ComfyUI server.")

    def node_info(self, class_type: str) -> dict[str, Any] | None:
        """Return the server's description of a node class, None where it has no such class."""
        part = quote(class_type, safe="", errors="replace")
        path = "/object_info" if class_type in _NOT_IN_A_PATH else f"/object_info/{part}"
        info = self._http.get(path).get(class_type)
        return info if isinstance(info, dict) else None

    def stand_in(self, class_type: str) -> str | None:
        """Return the class that the server puts in the place of one which it has not, None where there is none."""
        if self._stand_ins is None:  # an older server has no such route
            self._stand_ins = self._http.ask("GET", "/node_replacements").record()
        entries = self._stand_ins.get(class_type)
        first = entries[0] if isinstance(entries, list) and entries else None
        name = first.get("new_node_id") if isinstance(first, dict) else None
        return name if isinstance(name, str) else None

    def upload_limit(self) -> int | None:
        """Return the most bytes that an upload may have, None where the server (an older one) does not say."""
        if not self._limit_asked:
            limit = self._http.ask("GET", "/features").record().get("max_upload_size")
            most = finite_number(limit) or 0
            self._upload_limit = int(most) - _MULTIPART_BYTES if most > _MULTIPART_BYTES else None
            self._limit_asked = True
        return self._upload_limit

    def upload(self, path: Path, name: str) -> str:
        """Send a file to the server's input folder; return the name to use in a graph, as the server gives it."""
        size = path.stat().st_size
        limit = self.upload_limit()
        if limit is not None and size > limit:
            raise self._too_large(name, size)

        def attempt() -> Answer:
            with path.open("rb") as file:
                form = UploadForm(file, name, size)
                headers = {"Content-Type": form.content_type}
                return self._http.ask("POST", "/upload/image", tries=1, data=form, headers=headers)

        answer = again(attempt)
        if answer.status == requests.codes.request_entity_too_large:
            raise self._too_large(name, size)
        record = answer.record()
        names = (record.get("subfolder", ""), record.get("name"))
        if not names[1] or not all(isinstance(each, str) for each in names):
            raise BadResult(f"{self.address} refuses the upload of {printable(name)}: HTTP {answer.status}.")
        return "/".join(filter(None, names))

    def _too_large(self, name: str, size: int) -> UploadTooLarge:
        return UploadTooLarge(
            f"{self.address} takes no file as large as {printable(name)} ({size} bytes); start ComfyUI with "
            f"--max-upload-size {size // 2**20 + 2}, or paint fewer frames at once (--window) or smaller ones (--size)."
        )

    def submit(self, graph: Graph, prompt_id: str, client_id: str) -> None:
        """Queue a graph under our own id; raise WorkflowRefused with every node's error.

        Sent once: after a ServerUnreachable the job may be queued or not.
        """
        # never "number": the same id and number again can stop the server's worker for good
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        answer = self._http.ask("POST", "/prompt", tries=1, json=body)
        reply = answer.record()
        # 200 with node_errors: some outputs were dropped, which is a refusal in disguise
        if not answer.is_good or reply.get("node_errors"):
            if answer.is_good:
                self.cancel(prompt_id)
            raise WorkflowRefused(describe_refusal(graph, reply, answer.status))

    def _queue(self, **how: Any) -> tuple[list[Any], list[Any]]:
        """Return the ids of the jobs that run, and of those that wait."""
        queue = self._http.get("/queue", **how)
        running, waiting = (queue.get(key) for key in ("queue_running", "queue_pending"))
        return _ids(running), _ids(waiting)

    def load(self, timeout_s: float) -> int:
        """Return how many jobs, anybody's, run or wait; asked once."""
        running, waiting = self._queue(tries=1, timeout_s=timeout_s)
        return len(running) + len(waiting)

    def is_idle_with_work(self) -> bool:
        """Say whether jobs wait while none runs: between two jobs for a moment, in a wedged server for ever."""
        running, waiting = self._queue()
        return bool(waiting) and not running

    def state(self, prompt_id: str) -> JobState:
        """Return where a job is. A server that was restarted knows none: queue and history are in its memory only."""
        if self._has_jobs:
            answer = self._http.ask("GET", f"/api/jobs/{prompt_id}")
            reply = answer.record()
            if answer.is_good and isinstance(reply.get("status"), str):
                states: dict[str, JobState] = {"pending": "waiting", "in_progress": "running"}
                return states.get(reply["status"], "ended")
            if answer.status == requests.codes.not_found and "error" in reply:
                return "unknown"
            self._has_jobs = False  # before 0.4 there is no such route
        # the queue first: a job leaves it in the same moment as it enters the history
        running, waiting = self._queue()
        if prompt_id in running or prompt_id in waiting:
            return "running" if prompt_id in running else "waiting"
        return "unknown" if self.history(prompt_id) is None else "ended"

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """Return the record of a job that has ended, or None."""
        record = self._http.get(f"/history/{prompt_id}").get(prompt_id)
        return record if isinstance(record, dict) else None

    def cancel(self, prompt_id: str) -> None:
        """Take the job out of the queue, or stop it where it runs. Other people's jobs are left alone."""
        once: dict[str, Any] = {"tries": 1, "timeout_s": _CANCEL_S}
        if self._has_jobs and self._http.ask("POST", f"/api/jobs/{prompt_id}/cancel", **once).is_good:
            return
        self._http.ask("POST", "/queue", json={"delete": [prompt_id]}, **once)
        if prompt_id in self._queue()[0]:  # an old server stops whatever runs
            self._http.ask("POST", "/interrupt", json={"prompt_id": prompt_id}, **once)

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        """Copy a result to `target`, a path of our choosing, which appears when it is complete.

        Raises BadResult for a file that is gone, too large or, time and again, cut off; ServerUnreachable.
        """
        again(lambda: self._fetch_once(file, target, max_bytes))

    def _fetch_once(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        params, what = vars(file), f"the result {file.shown}"
        with (
            atomic_file(target) as partial,
            self._http.answer("GET", "/view", params=params, most_bytes=max_bytes) as response,
        ):
            if response.status_code != requests.codes.ok:
                raise BadResult(
                    f"the server withholds its result {file.shown}: HTTP {response.status_code} "
                    "(was its output folder cleared?); run the same command again."
                )
            with partial.open("wb") as output:
                try:
                    for piece in pieces(response, max_bytes, what):
                        output.write(piece)
                except _NETWORK as error:
                    whole = response.headers.get("Content-Length", "an unknown number of")
                    came = f"{response.raw.tell()} of {whole} bytes"
                    raise Torn(f"{what} broke off {TRIES} times ({came}; {name_of(error)}).") from error


def finite_number(value: object) -> float | None:
    """Return a number of a server's, None where it is none, NaN or infinite."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _ids(entries: Any) -> list[Any]:
    listed = entries if isinstance(entries, list) else []
    return [entry[1] for entry in listed if isinstance(entry, list) and len(entry) > 1]
