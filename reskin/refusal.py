"""Put a server's refusal or failure into words: which node, which input, what is wrong."""

from __future__ import annotations

from typing import Any

from reskin.workflow import Graph, title_of


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


def describe_failure(graph: Graph, status: Any) -> str | None:
    """Return what the execution error in a history record's status says, or None when it holds none."""
    for message in status.get("messages", []):
        if len(message) == 2 and message[0] == "execution_error":
            data = message[1]
            where = _node(graph, str(data.get("node_id")), data.get("node_type"))
            return f"{where} failed: {data.get('exception_type')}: {str(data.get('exception_message')).strip()}"
    return None


def was_interrupted(status: Any) -> bool:
    """Say whether a history record's status is that of a job that somebody stopped."""
    return any(message[0] == "execution_interrupted" for message in status.get("messages", []) if message)


def _node(graph: Graph, node_id: str, class_type: Any) -> str:
    return f"node '{title_of(graph, node_id)}' ({class_type or 'of unknown class'})"
