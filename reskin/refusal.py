"""Put a server's refusal or failure into words: which node, which input, what is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from reskin.errors import JobFailed, JobOutOfMemory
from reskin.workflow import Graph, title_of

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
