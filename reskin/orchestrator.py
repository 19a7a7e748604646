"""`ComfyOrchestrator`: hand a graph to a ComfyUI server and bring its results back, or say why not."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from handoff.errors import PreserverError
from reskin.errors import BadResult, JobError, JobFailed, JobInterrupted, ServerTooOld, ServerUnreachable
from reskin.follow import Listener, Progress, ProgressSocket, follow, poll
from reskin.refusal import describe_failure, was_interrupted
from reskin.server import ComfyServer, ServerFile
from reskin.workflow import Graph, find_node

DEFAULT_TIMEOUT_S = 3600.0
_RESULT_KEYS = ("images", "gifs", "videos")


def _ignore(progress: Progress) -> None:
    """Listen to nothing."""


class ComfyOrchestrator:
    """One ComfyUI server, driven from the upload of the inputs to the renamed result.

    Use it as a context manager. `timeout_s` bounds each job, from its submission to its end.
    """

    def __init__(self, server: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self.server = ComfyServer(server)
        self.timeout_s = timeout_s
        self.client_id = uuid.uuid4().hex
        self._socket = ProgressSocket(self.server, self.client_id)

    def __enter__(self) -> ComfyOrchestrator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self.server.close()

    def check(self, graph: Graph) -> str:
        """Return the server's version; raise ServerUnreachable, or ServerTooOld when it lacks a class of `graph`."""
        version = self.server.version()
        classes = sorted({node["class_type"] for node in graph.values()})
        missing = [name for name in classes if not self.server.knows_class(name)]
        if missing:
            raise ServerTooOld(
                f"the server at {self.server.address} (ComfyUI {version}) lacks the node classes "
                f"{', '.join(missing)}; update it, or install the custom nodes they come from."
            )
        return version

    def upload(self, path: Path, name: str) -> str:
        """Send a file; return the name under which a graph finds it."""
        return self.server.upload(path, name)

    def run(self, graph: Graph, output: tuple[str, str], listener: Listener = _ignore) -> list[ServerFile]:
        """Run a graph; return the files of the output node, given as (title, class), in the server's order.

        Raises WorkflowRefused, JobFailed, JobInterrupted, JobLost, JobTimeout, ServerUnreachable or BadResult. Whatever
        ends the wait early, Ctrl-C included, the job is stopped on the server first.
        """
        output_id = find_node(graph, *output)
        prompt_id = str(uuid.uuid4())
        self._socket.open()
        try:
            self._submit(graph, prompt_id)
            record = follow(self.server, self._socket, graph, prompt_id, listener, self.timeout_s)
        except BaseException:
            with contextlib.suppress(PreserverError):
                self.server.interrupt(prompt_id)
            raise
        _check_status(graph, record.get("status", {}))
        return _files(record, output_id, output[0])

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        """Bring one result to `target`."""
        self.server.fetch(file, target, max_bytes)

    def _submit(self, graph: Graph, prompt_id: str) -> None:
        """Submit once: when the answer is lost on its way, the server is asked before anything is sent again."""
        try:
            self.server.submit(graph, prompt_id, self.client_id)
        except ServerUnreachable:
            try:
                poll(self.server, prompt_id)
            except JobError:
                self.server.submit(graph, prompt_id, self.client_id)


def _check_status(graph: Graph, status: dict[str, Any]) -> None:
    if status.get("status_str") == "success" and status.get("completed", True):
        return
    if was_interrupted(status):
        raise JobInterrupted("the job was stopped on the server; run the same command to start it again.")
    raise JobFailed(describe_failure(graph, status) or f"the job failed on the server: {status.get('status_str')}.")


def _files(record: dict[str, Any], output_id: str, title: str) -> list[ServerFile]:
    outputs = record.get("outputs", {}).get(output_id, {})
    for key in _RESULT_KEYS:
        if outputs.get(key):
            return [ServerFile.from_json(entry) for entry in outputs[key]]
    raise BadResult(f"the job succeeded, but its node '{title}' gave no file (cached or bypassed).")
