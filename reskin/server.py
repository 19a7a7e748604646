"""ComfyUI's HTTP interface: one method a route, every failure an error of ours.

What the server sends (file names above all) is data: it goes back into requests as query parameters and is
never used as a path on this machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import httpx

from reskin import http
from reskin.download import ServerFile, Torn, download
from reskin.errors import BadResult, ServerUnreachable, UploadTooLarge, WorkflowRefused
from reskin.http import TRIES, Http, json_of, name_of, parse_address
from reskin.refusal import describe_refusal
from reskin.workflow import Graph

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
            time.sleep(http.RETRY_PAUSE_S)
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
                download(self._http.client, file, target, max_bytes)
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
            time.sleep(http.RETRY_PAUSE_S)


def _ids(entries: Any) -> list[Any]:
    return [entry[1] for entry in entries or [] if isinstance(entry, list) and len(entry) > 1]
