"""What can go wrong between us and a ComfyUI server: each end told apart by its class and its exit code.

The classes come first, then what a server's own words for a refusal or a failure become.

MissingError
├── ServerError              the server is of no use now; another one may be
│   ├── ServerUnreachable  3 nobody answers at the address, or no longer
│   │   ├── ServerAbsent   3 nothing listens there: it need not be asked again
│   │   └── ServerFails    3 every answer is an error of the server's own (HTTP 5xx)
│   ├── ServerLacks        3 the server lacks a node class, an input or a model file that the workflow needs
│   ├── UploadTooLarge     2 an input is over the server's limit
│   ├── JobLost            9 the server no longer knows the job (it was restarted), more often than --retries
│   └── ServerWedged      10 the server answers, and works on nothing
└── JobError                 the server took the job and gave no result
    ├── JobFailed          6 a node raised an exception
    ├── JobOutOfMemory     7 a node found no memory
    ├── JobInterrupted     8 somebody stopped the job on the server
    └── JobTimeout        11 the job, which is one window's, took longer than --timeout
InputError
├── WorkflowRefused        5 the server's validation refused the graph
└── BadResult             12 what came back is not what was asked for
JobsFailed                   several jobs of one command failed: the exit code of the first
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from handoff.errors import InputError, MissingError, PreserverError, printable, printable_lines
from reskin.workflow import Graph, title_of

# torch.OutOfMemoryError, "CUDA out of memory", and the allocator of the CPU
_MOST_LINES = 50
"""Of a refusal that are passed on."""
_OUT_OF_MEMORY = re.compile(r"OutOfMemory|out of memory|not enough memory|can't allocate memory|MemoryError", re.I)


class ServerError(MissingError):
    """The server is of no use now; another one may be."""


class ServerUnreachable(ServerError):
    """Nobody answers at the address, or no longer."""


class ServerAbsent(ServerUnreachable):
    """Nothing listens at the address, or there is no such host."""


class ServerFails(ServerUnreachable):
    """Every answer is an error of the server's own (HTTP 5xx)."""


class ServerLacks(ServerError):
    """The server lacks a node class, an input or a model file that the workflow needs."""


class UploadTooLarge(ServerError):
    """An input is over the server's limit for uploads; another server's may be higher."""

    exit_code = 2


class JobLost(ServerError):
    """The server no longer knows the job."""

    exit_code = 9


class ServerWedged(ServerError):
    """The server answers, and works on nothing."""

    exit_code = 10


class JobError(MissingError):
    """The server took the job and gave no result."""


class JobFailed(JobError):
    """A node raised an exception. `traceback` is the server's, empty where it gave none."""

    exit_code = 6

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class JobOutOfMemory(JobFailed):
    """A node found no memory."""

    exit_code = 7


class JobInterrupted(JobError):
    """Somebody stopped the job on the server."""

    exit_code = 8


class JobTimeout(JobError):
    """The job took longer than it was given."""

    exit_code = 11


class WorkflowRefused(InputError):
    """The server's validation refused the graph."""

    exit_code = 5


class BadResult(InputError):
    """What came back is not what was asked for."""

    exit_code = 12


class JobsFailed(PreserverError):
    """Several jobs of one command failed."""

    def __init__(self, failed: Mapping[str, PreserverError], count: int) -> None:
        lines = [f"  reskin/{name}: {error}" for name, error in failed.items()]
        heading = f"{len(failed)} of {count} jobs failed; the others are kept, run the same command for the rest:"
        super().__init__("\n".join([heading, *lines]))
        self.exit_code = next(iter(failed.values())).exit_code


def _records(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def describe_refusal(graph: Graph, reply: dict[str, Any], status: int) -> str:
    """Return one line for each error of each node in the server's 400 (or half-refusing 200) answer."""
    error = reply.get("error")
    summary = error.get("message") if isinstance(error, dict) else error
    lines = [f"the server refuses the workflow: {printable(summary or f'HTTP {status}')}"]
    errors = reply.get("node_errors")
    for node_id, node in errors.items() if isinstance(errors, dict) else []:
        for each in _records(node.get("errors")) if isinstance(node, dict) else []:
            details = each.get("details") or each.get("message") or "no details given"
            said = f"{printable(each.get('message'))}: {printable(details)}"
            lines.append(f"  {_node(graph, node_id, node.get('class_type'))}: {said}")
    if len(lines) == 1 and isinstance(error, dict) and error.get("details"):
        lines.append(f"  {printable(error['details'])}")
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], f"  and {more} more"] if more > 0 else lines)


def failure_of(graph: Graph, status: Any) -> JobFailed:
    """Return the error that a failed job's status describes, with the server's traceback."""
    for name, data in _messages(status):
        if name == "execution_error":
            where = _node(graph, str(data.get("node_id")), data.get("node_type"))
            kind, text = str(data.get("exception_type")), str(data.get("exception_message")).strip()
            lines = data.get("traceback")
            trace = "".join(map(str, lines)) if isinstance(lines, list) else ""
            trace = printable_lines(f"{where}\n{trace}{kind}: {text}\n")
            found = _OUT_OF_MEMORY.search(f"{kind}: {text}")
            kind, first = printable(kind), printable(text.splitlines()[0] if text else "no message")
            if found:
                return JobOutOfMemory(
                    f"{where} found no memory ({kind}: {first}); paint less at once with a smaller --size or --window, "
                    "or start ComfyUI with --lowvram.",
                    trace,
                )
            return JobFailed(f"{where} failed: {kind}: {first}", trace)
    said = printable(status.get("status_str"))
    return JobFailed(f"the job failed on the server and gave no reason ({said}); see its log.")


def was_interrupted(status: Any) -> bool:
    """Say whether a history record's status is that of a job that somebody stopped."""
    return any(name == "execution_interrupted" for name, _ in _messages(status))


def _messages(status: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    messages = status.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            yield str(message[0]), message[1]


def _node(graph: Graph, node_id: str, class_type: Any) -> str:
    return f"node '{title_of(graph, node_id)}' ({printable(class_type or 'of unknown class')})"
