"""ComfyUI's HTTP interface: one method a route, every failure an error of ours.

What the server sends (file names above all) is data: it goes back into requests as query parameters and is
never used as a path on this machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from handoff.atomic import atomic_file
from handoff.errors import UsageError
from reskin.errors import BadResult, ServerUnreachable, WorkflowRefused
from reskin.refusal import describe_refusal
from reskin.workflow import Graph

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
_GET_TRIES = 3
_RETRY_PAUSE_S = 1.0


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


def parse_address(server: str) -> str:
    """Return "HOST:PORT" of "HOST:PORT" or "http://HOST:PORT/"; raise UsageError for anything else."""
    found = re.fullmatch(r"(?:http://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):([0-9]{1,5})/?", server.strip())
    if found is None or not 0 < int(found.group(2)) < 65536:
        raise UsageError(f"the server '{server}' is not HOST:PORT, such as 127.0.0.1:8188.")
    return f"{found.group(1)}:{found.group(2)}"


class ComfyServer:
    """One ComfyUI server. Nothing else is contacted: no proxy from the environment, no redirect followed.

    `transport` replaces the network, for tests.
    """

    def __init__(self, server: str, transport: httpx.BaseTransport | None = None) -> None:
        self.address = parse_address(server)
        self._http = httpx.Client(
            base_url=f"http://{self.address}",
            timeout=_TIMEOUT,
            trust_env=False,
            follow_redirects=False,
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        return ServerUnreachable(
            f"no ComfyUI server answers at {self.address} ({type(error).__name__}: {error}); start one with "
            "'python main.py --listen 127.0.0.1 --port PORT' in ComfyUI's folder, or let generate_reskin.py start it."
        )

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """GET a JSON route, trying again a few times: a server under load drops connections."""
        tries = 0
        while True:
            tries += 1
            try:
                answer = self._http.get(path, params=dict(params or {}))
                answer.raise_for_status()
                return answer.json()
            except httpx.ConnectError as error:
                raise self._unreachable(error) from error
            except (httpx.HTTPError, ValueError) as error:
                if tries == _GET_TRIES:
                    raise self._unreachable(error) from error
            time.sleep(_RETRY_PAUSE_S)

    def _post(self, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.post(path, **content)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def version(self) -> str:
        """Return the server's version; raise ServerUnreachable when no ComfyUI answers."""
        stats = self.get("/system_stats")
        version = stats.get("system", {}).get("comfyui_version") if isinstance(stats, dict) else None
        if not isinstance(version, str):
            raise ServerUnreachable(f"{self.address} answers, but it is no ComfyUI server.")
        return version

    def knows_class(self, class_type: str) -> bool:
        """Say whether the server has this node class."""
        info = self.get(f"/object_info/{class_type}")
        return isinstance(info, dict) and class_type in info

    def upload(self, path: Path, name: str) -> str:
        """Send a file to the server's input folder; return the name to use in a graph, as the server gives it."""
        with path.open("rb") as file:
            answer = self._post("/upload/image", files={"image": (name, file)}, data={"overwrite": "true"})
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise BadResult(
                f"{self.address} refuses {name} ({path.stat().st_size} bytes) as too large; "
                "start ComfyUI with a higher --max-upload-size."
            )
        if answer.is_error:
            raise ServerUnreachable(f"{self.address} refuses the upload of {name}: HTTP {answer.status_code}.")
        record = answer.json()
        return "/".join(part for part in (record.get("subfolder", ""), record["name"]) if part)

    def submit(self, graph: Graph, prompt_id: str, client_id: str) -> None:
        """Queue a graph under our own id; raise WorkflowRefused with every node's error."""
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        answer = self._post("/prompt", json=body)
        try:
            reply = answer.json()
        except ValueError:
            reply = {}
        # 200 with node_errors: some outputs were dropped, which is a refusal in disguise
        if answer.is_error or reply.get("node_errors"):
            if not answer.is_error:
                self.interrupt(prompt_id)
            raise WorkflowRefused(describe_refusal(graph, reply, answer.status_code))

    def queued(self, prompt_id: str) -> bool:
        """Say whether the job is waiting or running."""
        queue = self.get("/queue")
        entries = [*queue.get("queue_running", []), *queue.get("queue_pending", [])]
        return any(len(entry) > 1 and entry[1] == prompt_id for entry in entries)

    def history(self, prompt_id: str) -> dict[str, Any] | None:
        """Return the record of a job that has ended, or None."""
        record = self.get(f"/history/{prompt_id}").get(prompt_id)
        return record if isinstance(record, dict) else None

    def interrupt(self, prompt_id: str) -> None:
        """Take the job out of the queue, or stop it where it runs. Other people's jobs are left alone."""
        self._post("/queue", json={"delete": [prompt_id]})
        self._post("/interrupt", json={"prompt_id": prompt_id})

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        """Copy a result to `target`, a path of our choosing, which appears when it is complete."""
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        received = 0
        try:
            with atomic_file(target) as partial, self._http.stream("GET", "/view", params=params) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise BadResult(f"the server withholds its result {file.filename!r}: HTTP {answer.status_code}.")
                with partial.open("wb") as output:
                    for piece in answer.iter_bytes():
                        received += len(piece)
                        if received > max_bytes:
                            raise BadResult(f"the result {file.filename!r} is larger than {max_bytes} bytes.")
                        output.write(piece)
                expected = int(answer.headers.get("content-length", received))
                if received != expected and "content-encoding" not in answer.headers:
                    raise BadResult(f"the result {file.filename!r} broke off: {received} of {expected} bytes.")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
