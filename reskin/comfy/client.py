"""Requests to one server: what is tried again, and what counts as nobody there.

Put a server's refusal or failure into words: which node, which input, what is wrong.

One result of the server's to one file of ours.

ComfyUI's HTTP interface: one method a route, every failure an error of ours.

What the server sends (file names above all) is data: it goes back into requests as query parameters and is
never used as a path on this machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from handoff.errors import UsageError
from handoff.files import atomic_file
from reskin.comfy.errors import (
    BadResult,
    JobFailed,
    JobOutOfMemory,
    ServerFails,
    ServerUnreachable,
    UploadTooLarge,
    WorkflowRefused,
)
from reskin.workflow import Graph, title_of

TRIES = 3
RETRY_PAUSE_S = 1.0
_SHOWN = 200
"""Characters of an error page that are passed on."""
_TIMEOUT = httpx.Timeout(60.0, connect=5.0)


def parse_address(server: str) -> str:
    """Return "HOST:PORT" of "HOST:PORT" or "http://HOST:PORT/"; raise UsageError for anything else."""
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})/?", server.strip())
    if found is None or not 0 < int(found.group(2)) < 65536:
        raise UsageError(f"the server '{server}' is not HOST:PORT, such as 127.0.0.1:8188.")
    return f"{found.group(1)}:{found.group(2)}"


class Http:
    """One HOST:PORT. Nothing else is contacted: no proxy from the environment, no redirect followed.

    `transport` replaces the network, for tests.
    """

    def __init__(self, server: str, transport: httpx.BaseTransport | None = None) -> None:
        self.address = parse_address(server)
        self.client = httpx.Client(
            base_url=f"http://{self.address}",
            timeout=_TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    def unreachable(self, error: object) -> ServerUnreachable:
        return ServerUnreachable(
            f"no ComfyUI server answers at {self.address} ({error}); start one with "
            "'python main.py --listen 127.0.0.1 --port PORT' in ComfyUI's folder, or let generate_reskin.py start it."
        )

    def fails(self, answer: httpx.Response) -> ServerFails:
        said = " ".join(answer.text.split())[:_SHOWN]
        what = f"{answer.request.method} {answer.request.url.path}"
        return ServerFails(
            f"the server at {self.address} answers HTTP {answer.status_code} on {what}{said and f' ({said})'}; "
            "see its log, and start it again if need be."
        )

    def ask(self, method: str, path: str, *, tries: int = TRIES, **content: Any) -> httpx.Response:
        """Send a request, and send it again after a dropped connection or a 5xx: a server under load does both.

        Raises ServerUnreachable, at once where nobody listens; ServerFails when the last try is a 5xx. Other status
        codes are the caller's to judge.
        """
        while True:
            tries -= 1
            try:
                answer = self.client.request(method, path, **content)
                if not answer.is_server_error:
                    return answer
                problem: ServerUnreachable = self.fails(answer)
            except httpx.ConnectError as error:
                raise self.unreachable(name_of(error)) from error
            except httpx.HTTPError as error:
                problem = self.unreachable(name_of(error))
            if tries <= 0:
                raise problem
            time.sleep(RETRY_PAUSE_S)

    def get(self, path: str, **how: Any) -> Any:
        """GET a JSON route (how: as for `ask`); raise ServerUnreachable when what answers is no ComfyUI."""
        answer = self.ask("GET", path, **how)
        try:
            if answer.is_success:
                return answer.json()
        except ValueError:
            pass
        raise self.unreachable(f"HTTP {answer.status_code} without JSON on {path}")

    def get_record(self, path: str, **how: Any) -> dict[str, Any]:
        """GET a JSON object; anything else is an empty one."""
        record = self.get(path, **how)
        return record if isinstance(record, dict) else {}


def name_of(error: Exception) -> str:
    """Return an exception's class and message."""
    return f"{type(error).__name__}: {error}"


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """Return an answer's JSON object; anything else is an empty one."""
    try:
        reply = answer.json()
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}


# torch.OutOfMemoryError, "CUDA out of memory", and the allocator of the CPU
_OUT_OF_MEMORY = re.compile(r"OutOfMemory|out of memory|not enough memory|can't allocate memory|MemoryError", re.I)


def _records(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def describe_refusal(graph: Graph, reply: Any, status: int) -> str:
    """Return one line for each error of each node in the server's 400 (or half-refusing 200) answer."""
    reply = reply if isinstance(reply, dict) else {}
    error = reply.get("error")
    summary = error.get("message") if isinstance(error, dict) else error
    lines = [f"the server refuses the workflow: {summary or f'HTTP {status}'}"]
    errors = reply.get("node_errors")
    for node_id, node in errors.items() if isinstance(errors, dict) else []:
        for each in _records(node.get("errors")):
            details = each.get("details") or each.get("message") or "no details given"
            lines.append(f"  {_node(graph, node_id, node.get('class_type'))}: {each.get('message')}: {details}")
    return "\n".join(lines)


def failure_of(graph: Graph, status: Any) -> JobFailed:
    """Return the error that a failed job's status describes, with the server's traceback."""
    for name, data in _messages(status):
        if name == "execution_error":
            where = _node(graph, str(data.get("node_id")), data.get("node_type"))
            kind, text = str(data.get("exception_type")), str(data.get("exception_message")).strip()
            lines = data.get("traceback")
            trace = "".join(map(str, lines)) if isinstance(lines, list) else ""
            trace = f"{where}\n{trace}{kind}: {text}\n"
            first = text.splitlines()[0] if text else "no message"
            if _OUT_OF_MEMORY.search(f"{kind}: {text}"):
                return JobOutOfMemory(
                    f"{where} found no memory ({kind}: {first}); paint less at once with a smaller --size or --window, "
                    "or start ComfyUI with --lowvram.",
                    trace,
                )
            return JobFailed(f"{where} failed: {kind}: {first}", trace)
    return JobFailed(f"the job failed on the server and gave no reason ({status.get('status_str')}); see its log.")


def was_interrupted(status: Any) -> bool:
    """Say whether a history record's status is that of a job that somebody stopped."""
    return any(name == "execution_interrupted" for name, _ in _messages(status))


def _messages(status: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for message in status.get("messages") or []:
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            yield str(message[0]), message[1]


def _node(graph: Graph, node_id: str, class_type: Any) -> str:
    return f"node '{title_of(graph, node_id)}' ({class_type or 'of unknown class'})"


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
            raise BadResult(f"the server names a result that is no file: {record!r}.")
        subfolder, kind = record.get("subfolder", ""), record.get("type", "output")
        if not isinstance(subfolder, str) or kind not in ("output", "temp"):
            raise BadResult(f"the server names a result in a place that is not its output folder: {record!r}.")
        return cls(record["filename"], subfolder, kind)


class Torn(Exception):
    """A result's answer broke off on its way."""


def fetch_file(http: httpx.Client, file: ServerFile, target: Path, max_bytes: int) -> None:
    """Fetch once; `target` appears when it is complete.

    Raises Torn and, for no answer or a 5xx, httpx.HTTPError, which are worth another try; BadResult, which is not.
    """
    params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
    received = 0
    with atomic_file(target) as partial, http.stream("GET", "/view", params=params) as answer:
        if answer.is_server_error:
            answer.read()  # what it says, for the message
            answer.raise_for_status()
        if answer.status_code != httpx.codes.OK:
            raise BadResult(
                f"the server withholds its result {file.filename!r}: HTTP {answer.status_code} "
                "(was its output folder cleared?); run the same command again."
            )
        try:
            with partial.open("wb") as output:
                for piece in answer.iter_bytes():
                    received += len(piece)
                    if received > max_bytes:
                        raise BadResult(f"the result {file.filename!r} is larger than {max_bytes} bytes.")
                    output.write(piece)
        except httpx.HTTPError as error:
            raise Torn(f"after {received} bytes: {error}") from error
        expected = int(answer.headers.get("content-length", received))
        if received != expected and "content-encoding" not in answer.headers:
            raise Torn(f"{received} of {expected} bytes")


__all__ = ["ComfyServer", "JobState", "ServerFile", "parse_address"]

_CANCEL_TIMEOUT = httpx.Timeout(5.0)
_MULTIPART_BYTES = 4096
"""More than the form's own bytes around an uploaded file."""

JobState = Literal["waiting", "running", "ended", "unknown"]


class ComfyServer:
    """One ComfyUI server, and nothing else is contacted (see `Http`)."""

    def __init__(self, server: str, transport: httpx.BaseTransport | None = None) -> None:
        self._http = Http(server, transport)
        self.address = self._http.address
        self._has_jobs = True
        self._upload_limit: int | None = None
        self._limit_asked = False

    def close(self) -> None:
        """Close the connections."""
        self._http.client.close()

    def version(self) -> str:
        """Return the server's version; raise ServerUnreachable when no ComfyUI answers."""
        system = self._http.get_record("/system_stats").get("system")
        version = system.get("comfyui_version") if isinstance(system, dict) else None
        if not isinstance(version, str):
            raise ServerUnreachable(f"{self.address} answers, but it is no ComfyUI server.")
        return version

    def node_info(self, class_type: str) -> dict[str, Any] | None:
        """Return the server's description of a node class, None where it has no such class."""
        info = self._http.get_record(f"/object_info/{class_type}").get(class_type)
        return info if isinstance(info, dict) else None

    def upload_limit(self) -> int | None:
        """Return the most bytes that an upload may have, None where the server (an older one) does not say."""
        if not self._limit_asked:
            limit = json_of(self._http.ask("GET", "/features")).get("max_upload_size")
            self._upload_limit = limit - _MULTIPART_BYTES if isinstance(limit, int) else None
            self._limit_asked = True
        return self._upload_limit

    def upload(self, path: Path, name: str) -> str:
        """Send a file to the server's input folder; return the name to use in a graph, as the server gives it."""
        size = path.stat().st_size
        limit = self.upload_limit()
        if limit is not None and size > limit:
            raise self._too_large(name, size)
        for left in reversed(range(TRIES)):
            with path.open("rb") as file:  # read as it is sent
                try:
                    content = {"files": {"image": (name, file)}, "data": {"overwrite": "true"}}
                    answer = self._http.ask("POST", "/upload/image", tries=1, **content)
                    break
                except ServerUnreachable as error:
                    if left == 0 or isinstance(error.__cause__, httpx.ConnectError):
                        raise
            time.sleep(RETRY_PAUSE_S)
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise self._too_large(name, size)
        try:
            record = answer.json()
            return "/".join(part for part in (record.get("subfolder", ""), record["name"]) if part)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadResult(f"{self.address} refuses the upload of {name}: HTTP {answer.status_code}.") from error

    def _too_large(self, name: str, size: int) -> UploadTooLarge:
        return UploadTooLarge(
            f"{self.address} takes no file as large as {name} ({size} bytes); start ComfyUI with "
            f"--max-upload-size {size // 2**20 + 2}, or paint fewer frames at once (--window) or smaller ones (--size)."
        )

    def submit(self, graph: Graph, prompt_id: str, client_id: str) -> None:
        """Queue a graph under our own id; raise WorkflowRefused with every node's error.

        Sent once: after a ServerUnreachable the job may be queued or not.
        """
        # never "number": the same id and number again can stop the server's worker for good
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        answer = self._http.ask("POST", "/prompt", tries=1, json=body)
        try:
            reply = answer.json()
        except ValueError:
            reply = {}
        # 200 with node_errors: some outputs were dropped, which is a refusal in disguise
        if answer.is_error or reply.get("node_errors"):
            if not answer.is_error:
                self.cancel(prompt_id)
            raise WorkflowRefused(describe_refusal(graph, reply, answer.status_code))

    def _queue(self, **how: Any) -> tuple[list[Any], list[Any]]:
        """Return the ids of the jobs that run, and of those that wait."""
        queue = self._http.get_record("/queue", **how)
        running, waiting = (queue.get(key) for key in ("queue_running", "queue_pending"))
        return _ids(running), _ids(waiting)

    def load(self, timeout_s: float) -> int:
        """Return how many jobs, anybody's, run or wait; asked once."""
        running, waiting = self._queue(tries=1, timeout=httpx.Timeout(timeout_s))
        return len(running) + len(waiting)

    def is_idle_with_work(self) -> bool:
        """Say whether jobs wait while none runs: between two jobs for a moment, in a wedged server for ever."""
        running, waiting = self._queue()
        return bool(waiting) and not running

    def state(self, prompt_id: str) -> JobState:
        """Return where a job is. A server that was restarted knows none: queue and history are in its memory only."""
        if self._has_jobs:
            answer = self._http.ask("GET", f"/api/jobs/{prompt_id}")
            reply = json_of(answer)
            if answer.is_success and isinstance(reply.get("status"), str):
                states: dict[str, JobState] = {"pending": "waiting", "in_progress": "running"}
                return states.get(reply["status"], "ended")
            if answer.status_code == httpx.codes.NOT_FOUND and "error" in reply:
                return "unknown"
            self._has_jobs = False  # before 0.4 there is no such route
        # the queue first: a job leaves it in the same moment as it enters the history
        running, waiting = self._queue()
        if prompt_id in running or prompt_id in waiting:
            return "running" if prompt_id in running else "waiting"
        return "unknown" if self.history(prompt_id) is None else "ended"

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """Return the record of a job that has ended, or None."""
        record = self._http.get_record(f"/history/{prompt_id}").get(prompt_id)
        return record if isinstance(record, dict) else None

    def cancel(self, prompt_id: str) -> None:
        """Take the job out of the queue, or stop it where it runs. Other people's jobs are left alone."""
        once: dict[str, Any] = {"tries": 1, "timeout": _CANCEL_TIMEOUT}
        if self._has_jobs and self._http.ask("POST", f"/api/jobs/{prompt_id}/cancel", **once).is_success:
            return
        self._http.ask("POST", "/queue", json={"delete": [prompt_id]}, **once)
        if prompt_id in self._queue()[0]:  # an old server stops whatever runs
            self._http.ask("POST", "/interrupt", json={"prompt_id": prompt_id}, **once)

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        """Copy a result to `target`, a path of our choosing, which appears when it is complete.

        Raises BadResult for a file that is gone, too large or, time and again, cut off; ServerUnreachable.
        """
        for left in reversed(range(TRIES)):
            try:
                fetch_file(self._http.client, file, target, max_bytes)
                return
            except httpx.HTTPStatusError as error:
                if left == 0:
                    raise self._http.fails(error.response) from error
            except httpx.HTTPError as error:
                if left == 0 or isinstance(error, httpx.ConnectError):
                    raise self._http.unreachable(name_of(error)) from error
            except Torn as error:
                if left == 0:
                    raise BadResult(f"the result {file.filename!r} broke off {TRIES} times ({error}).") from error
            time.sleep(RETRY_PAUSE_S)


def _ids(entries: Any) -> list[Any]:
    return [entry[1] for entry in entries or [] if isinstance(entry, list) and len(entry) > 1]
