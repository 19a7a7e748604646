"""`ComfyOrchestrator`: hand a graph to a ComfyUI server and bring its results back, or say why not.

`execute_v2v` does all of it for any template. The stage does it in steps, a window at a time: `check`, `upload`, `run`,
`fetch`.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from handoff.errors import InputError, MissingFileError, PreserverError, UsageError, printable
from handoff.files import sha256_file, write_text
from handoff.jsonfile import read_json
from reskin.comfy.client import ComfyServer, ServerFile
from reskin.comfy.errors import (
    BadResult,
    JobInterrupted,
    JobLost,
    ServerError,
    ServerLacks,
    ServerUnreachable,
    failure_of,
    was_interrupted,
)
from reskin.comfy.graph_check import Describe, find_problems
from reskin.comfy.progress import Follower, Limits, Listener, Progress, ProgressSocket
from reskin.comfy.v2v import V2VInputs, prepare
from reskin.settings import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S
from reskin.workflow import Graph, find_node, title_of, where_from

PATIENCE_S = 120.0
PATIENCE_WITH_OTHERS_S = 10.0
"""How long to wait for a server that went away: it may be starting again, or another one may take the job."""

_RESULT_KEYS = ("images", "gifs", "videos")
_SUBMISSIONS = 3
_LARGEST_NOTE = 2**16
_MOST_LINES = 50
"""Of what is wrong with a graph that are said."""


@dataclass
class JobLimits(Limits):
    """What a job may take; `retries` is how often it is submitted again after its server was restarted."""

    retries: int = DEFAULT_RETRIES

    @classmethod
    def of(cls, timeout_s: float, retries: int, patience_s: float | None, servers: int) -> JobLimits:
        """Check the command line's values; raise UsageError."""
        if patience_s is None:
            patience_s = PATIENCE_WITH_OTHERS_S if servers > 1 else PATIENCE_S
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise UsageError(f"--timeout {timeout_s:g} is not a number of seconds above 0.")
        if not (math.isfinite(patience_s) and patience_s >= 0):
            raise UsageError(f"--patience {patience_s:g} is not a number of seconds, 0 or more.")
        if retries < 0:
            raise UsageError(f"--retries {retries} is below 0.")
        return cls(timeout_s, patience_s, retries=retries)


@dataclass(frozen=True)
class JobNote:
    """Which job on which server was asked for something, as it stands in a file beside where that will be."""

    server: str
    prompt_id: str

    def write(self, path: Path) -> None:
        """Write it to a file; StorageError where that cannot be."""
        write_text(path, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, path: Path) -> JobNote | None:
        """Return what stands in a file; None where it is not there, or is no note."""
        try:
            found = read_json(path, advice="it is left out", largest=_LARGEST_NOTE)
            uuid.UUID(found["prompt_id"])  # it becomes a part of an address
            return cls(str(found["server"]), found["prompt_id"])
        except (InputError, KeyError, TypeError, ValueError, AttributeError):
            return None


def _ignore(progress: Progress) -> None:
    """Listen to nothing."""


def _quiet(notice: str) -> None:
    """Say nothing."""


class ComfyOrchestrator:
    """One ComfyUI server at HOST:PORT, driven from the upload of the inputs to the renamed result.

    Use it as a context manager, or `close` it. `stop`, set by another thread, ends a wait soon. `say` gets a line when
    a job has to be submitted again.
    """

    def __init__(
        self,
        server_addr: str = "127.0.0.1:8188",
        *,
        limits: JobLimits | None = None,
        stop: threading.Event | None = None,
        say: Callable[[str], None] = _quiet,
    ) -> None:
        self.server = ComfyServer(server_addr)
        self.limits = limits or JobLimits(DEFAULT_TIMEOUT_S, PATIENCE_S)
        self.client_id = uuid.uuid4().hex
        self._stop = stop or threading.Event()
        self._say = say
        self._socket = ProgressSocket(self.server, self.client_id)
        self._uploads: dict[str, Path] = {}
        self._note: Path | None = None
        self._infos: dict[str, dict[str, Any] | None] = {}

    def __enter__(self) -> ComfyOrchestrator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._socket.close()
        self.server.close()

    def execute_v2v(
        self,
        workflow_template: str | Path | Graph,
        source_video_path: str | Path,
        ref_image_path: str | Path | None = None,
        positive_prompt: str | None = None,
        negative_prompt: str | None = None,
        mask_text_prompt: str | None = None,
        *,
        seed: int | None = None,
        output_dir: str | Path | None = None,
        listener: Listener = _ignore,
    ) -> list[Path]:
        """Run any template in API format on a clip; return what its save nodes made, in the template's order.

        workflow_template: a graph as a dict, a path to a .json file, or the name of a template of ours. What is None is
        left as the template has it, but for the seed, which is then drawn. reskin/comfy/v2v.py says how the places are
        found. output_dir: where the results go, by default beside the clip: SOURCE-v2v.mp4 as the video came, or the
        folder SOURCE-v2v of frame_00000.png and so on; further ones are SOURCE-v2v-2 and so on.

        Raises UsageError for what is given and has no place in the template, MissingFileError (a FileNotFoundError too)
        for a file that is not there, and what `check`, `upload`, `run` and `fetch` raise.
        """
        source = Path(source_video_path)
        reference = None if ref_image_path is None else Path(ref_image_path)
        given = V2VInputs(source, reference, positive_prompt, negative_prompt, mask_text_prompt, seed)
        # a name of its own makes every job's results new files; a cached rerun would write none
        job = prepare(workflow_template, given, f"preserver/{uuid.uuid4().hex}")
        self.check(job.graph, where_from, job.files.keys())
        for (node_id, name), path in job.files.items():
            job.graph[node_id]["inputs"][name] = self.upload(path, asset_name(path))
        record = self._finish(job.graph, listener)
        results = [_files(record, each, title_of(job.graph, each)) for each in job.outputs]
        from reskin.comfy.results import keep_files  # loads cv2

        folder = source.parent if output_dir is None else Path(output_dir)
        return keep_files(self.fetch, results, folder, f"{source.stem}-v2v")

    def check(self, graph: Graph, where_from: Describe | None = None, later: Collection[tuple[str, str]] = ()) -> str:
        """Return the server's version; raise ServerUnreachable, or ServerLacks with all that `graph` asks in vain.

        That is: unknown node classes, missing inputs, and values that are not in the server's lists, such as a model
        file. `where_from` says where to get a file of that name, or None. later: (node id, input) of values that come
        later. Nodes that only the editor has are an InputError. What the server leaves out, or may take, is said.
        """
        version = self.server.version()
        found = find_problems(graph, self._describe, where_from, later, self._is_replaced)
        if found.faults:
            raise InputError("\n".join(["no ComfyUI server can run this workflow:", *_indented(found.faults)]))
        if found.problems:
            heading = f"the server at {self.server.address} (ComfyUI {version}) cannot run this:"
            raise ServerLacks("\n".join([heading, *_indented(found.problems)]))
        for notice in found.notices:
            self._say(f"reskin: warning: {notice}")
        return version

    def upload(self, path: Path, name: str) -> str:
        """Send a file; return the name under which a graph finds it.

        Keep the file until the graph has run: a server that comes back without its inputs gets them again.
        """
        given = self._follower().patiently(lambda: self.server.upload(path, name))
        self._uploads[given] = path
        return given

    def run(self, graph: Graph, output: tuple[str, str], listener: Listener = _ignore) -> list[ServerFile]:
        """Run a graph; return the files of the output node, given as (title, class), in the server's order.

        Raises WorkflowRefused, JobFailed, JobOutOfMemory, JobInterrupted, JobLost, JobTimeout, ServerWedged,
        ServerUnreachable or BadResult. Whatever ends the wait early, Ctrl-C included, the job is stopped on the server
        first. After a restart of the server it is submitted again, `limits.retries` times.
        """
        output_id = find_node(graph, *output)
        return _files(self._finish(graph, listener), output_id, output[0])

    @contextlib.contextmanager
    def noting(self, path: Path) -> Iterator[None]:
        """Note the job that the block runs in a file, so that a command that is killed leaves word of it.

        A job that an earlier command left word of there is not submitted again, where the server still has it or has
        done it well. The note goes at the end of the block, however it ends.
        """
        self._note = path
        try:
            yield
        finally:
            self._note = None
            path.unlink(missing_ok=True)

    def has(self, job: JobNote) -> bool:
        """Say whether this server still knows a job; one that does not answer knows none."""
        try:
            return self.server.state(job.prompt_id) != "unknown"
        except ServerError:
            return False

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        """Bring one result to `target`, which appears when it is complete."""
        self._follower().patiently(lambda: self.server.fetch(file, target, max_bytes))

    def _follower(self) -> Follower:
        return Follower(self.server, self._socket, self.limits, self._stop)

    def _describe(self, class_type: str) -> dict[str, Any] | None:
        if class_type not in self._infos:
            self._infos[class_type] = self.server.node_info(class_type)
        return self._infos[class_type]

    def _is_replaced(self, class_type: str) -> bool:
        instead = self.server.stand_in(class_type)
        return instead is not None and self._describe(instead) is not None

    def _finish(self, graph: Graph, listener: Listener) -> dict[str, Any]:
        """Run a graph to a good end, and again when a server lost it; return its record."""
        follower = self._follower()
        found = self._left_by_another(follower, graph, listener)
        if found is not None:
            return found
        left = self.limits.retries
        while True:
            prompt_id = str(uuid.uuid4())
            if self._note is not None:
                JobNote(self.server.address, prompt_id).write(self._note)
            try:
                record = self._run_once(follower, graph, prompt_id, listener)
                break
            except JobLost as error:
                if left == 0:
                    raise
                left -= 1
                self._say(f"reskin: {error} It is submitted again ({left} tries left after this).")
                self._upload_again(follower, graph)
        _check_status(graph, record.get("status"))
        return record

    def _left_by_another(self, follower: Follower, graph: Graph, listener: Listener) -> dict[str, Any] | None:
        """Return the record of the job that an earlier command left word of; None where it has to be submitted."""
        job = JobNote.read(self._note) if self._note is not None else None
        if job is None or job.server != self.server.address:
            return None
        if follower.patiently(lambda: self.server.state(job.prompt_id)) == "unknown":
            return None
        self._say(f"reskin: {job.server} still has the job {job.prompt_id} of a command that was killed; it is used")
        try:
            record = self._run_once(follower, graph, job.prompt_id, listener, submitted=True)
        except JobLost:
            return None
        return record if _succeeded(record.get("status")) else None

    def _run_once(
        self, follower: Follower, graph: Graph, prompt_id: str, listener: Listener, *, submitted: bool = False
    ) -> dict[str, Any]:
        self._socket.open()
        mark = self._socket.mark()
        try:
            if not submitted:
                self._submit(follower, graph, prompt_id)
            return follower.wait(graph, prompt_id, listener, mark)
        except JobLost:
            raise
        except BaseException:
            with contextlib.suppress(PreserverError):
                self.server.cancel(prompt_id)
            raise

    def _submit(self, follower: Follower, graph: Graph, prompt_id: str) -> None:
        """Submit once: when the answer is lost on its way, the server is asked before anything is sent again."""
        for left in reversed(range(_SUBMISSIONS)):
            try:
                self.server.submit(graph, prompt_id, self.client_id)
                return
            except ServerUnreachable:
                # the server works on one request after the other, so by now it has queued the job or never will
                if follower.patiently(lambda: self.server.state(prompt_id)) != "unknown":
                    return
                if left == 0:
                    raise
                follower.pause()

    def _upload_again(self, follower: Follower, graph: Graph) -> None:
        named = {value for node in graph.values() for value in node["inputs"].values() if isinstance(value, str)}
        for given in sorted(named & self._uploads.keys()):
            path = self._uploads[given]
            again = follower.patiently(lambda: self.server.upload(path, given))  # noqa: B023
            if again != given:
                raise BadResult(f"{self.server.address} stores {given} as {printable(again)} after its restart.")


def _indented(lines: list[str]) -> list[str]:
    more = len(lines) - _MOST_LINES
    return [f"  {line}" for line in lines[:_MOST_LINES]] + ([f"  and {more} more"] if more > 0 else [])


def _check_status(graph: Graph, status: Any) -> None:
    said = status.get("status_str") if isinstance(status, dict) else None
    if not isinstance(said, str):
        raise BadResult(
            "the server's record of the job says neither that it succeeded nor that it failed (its status is "
            f"{printable(status)}); see the server's log, and run the same command again."
        )
    if _succeeded(status):
        return
    if was_interrupted(status):
        raise JobInterrupted("the job was stopped on the server; run the same command to start it again.")
    raise failure_of(graph, status)


def _succeeded(status: Any) -> bool:
    return isinstance(status, dict) and status.get("status_str") == "success" and bool(status.get("completed", True))


def _files(record: dict[str, Any], output_id: str, title: str) -> list[ServerFile]:
    outputs = record.get("outputs")
    own = outputs.get(output_id) if isinstance(outputs, dict) else None
    for key in _RESULT_KEYS:
        files = own.get(key) if isinstance(own, dict) else None
        if isinstance(files, list) and files:
            return [ServerFile.from_json(entry) for entry in files]
    raise BadResult(f"the job succeeded, but its node '{title}' gave no file (cached or bypassed).")


def asset_name(path: Path) -> str:
    """Return a file's name on a server: the same for the same bytes, and nobody else's."""
    return f"preserver_{sha256_file(path)[:32]}{path.suffix}"


def upload_asset(server_addr: str, path: str | Path, name: str | None = None) -> str:
    """Send a file to the input folder of the server at HOST:PORT; return the name by which a graph finds it.

    name: what to call it there (an older file of that name is written over), by default one made of its bytes. Raises
    MissingFileError (a FileNotFoundError too), ServerUnreachable, UploadTooLarge or BadResult.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"there is no file {file}; check the path.")
    server = ComfyServer(server_addr)
    try:
        return server.upload(file, name or asset_name(file))
    finally:
        server.close()
