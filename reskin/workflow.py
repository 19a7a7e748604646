"""Workflow templates: graphs in ComfyUI's API format whose slots are found by title, never by node id."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.errors import InputError, UsageError

Graph = dict[str, Any]
"""ComfyUI's API format: node id -> {"class_type", "inputs", "_meta": {"title"}}."""

FOLDER = Path(__file__).parent / "workflows"


@dataclass(frozen=True)
class Slot:
    """One input of the one node with this title; `class_type` guards against a renamed template."""

    title: str
    class_type: str
    input: str


@dataclass(frozen=True)
class Workflow:
    """A template and the SHA-256 of its file."""

    name: str
    graph: Graph
    sha256: str


def workflow_names() -> list[str]:
    """Return the names that `load_workflow` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_workflow(name: str) -> Workflow:
    """Read the template `name`, or the user's own when it is a path to a .json file.

    Raises UsageError for an unknown name, InputError for a file that is not there or is no graph.
    """
    path = FOLDER / f"{name}.json"
    if name not in workflow_names():
        path = Path(name)
        if path.suffix != ".json":
            raise UsageError(
                f"there is no workflow '{name}'; known: {', '.join(workflow_names())}, or give a .json file."
            )
        if not path.is_file():
            raise InputError(f"there is no workflow file {path}; check the path.")
        name = path.name
    data = path.read_bytes()
    return Workflow(name, parse_graph(data, path.name), hashlib.sha256(data).hexdigest())


def parse_graph(data: bytes, name: str) -> Graph:
    """Parse API-format JSON; raise InputError when it is something else (such as the editor's own format)."""
    try:
        graph = json.loads(data)
    except ValueError as error:
        raise InputError(f"the workflow {name} is not JSON ({error}).") from error
    if not isinstance(graph, dict) or not graph or not all(_is_node(node) for node in graph.values()):
        raise InputError(f"the workflow {name} is not in API format; export it with 'Save (API Format)'.")
    return graph


def _is_node(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)


def title_of(graph: Graph, node_id: str) -> str:
    """Return a node's title for people: its own, else its class, else its id."""
    node = graph.get(node_id, {})
    return str(node.get("_meta", {}).get("title") or node.get("class_type") or node_id)


def find_node(graph: Graph, title: str, class_type: str) -> str:
    """Return the id of the one node with this title and class.

    Raises InputError when there is none, more than one, or when it is of another class.
    """
    found = [node_id for node_id, node in graph.items() if node.get("_meta", {}).get("title") == title]
    if len(found) != 1:
        raise InputError(f"the workflow has {len(found)} nodes titled '{title}'; it needs exactly one.")
    actual = graph[found[0]]["class_type"]
    if actual != class_type:
        raise InputError(f"the workflow's node '{title}' is a {actual}; it must be a {class_type}.")
    return found[0]


def fill(graph: Graph, values: Mapping[Slot, Any]) -> Graph:
    """Return a copy of `graph` with every slot set. Raises InputError for a missing or doubled slot, by name."""
    filled = copy.deepcopy(graph)
    for slot, value in values.items():
        inputs = filled[find_node(filled, slot.title, slot.class_type)]["inputs"]
        if slot.input not in inputs:
            raise InputError(f"the workflow's node '{slot.title}' has no input '{slot.input}'.")
        inputs[slot.input] = value
    return filled


def graph_sha256(graph: Graph) -> str:
    """Return the SHA-256 of a graph's canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(graph, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
