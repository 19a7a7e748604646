"""What is wrong with a graph, by the facts in nodes.toml: what a server with the pinned packages would say, or more."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reskin.workflow import Graph, title_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
_WIDGETS = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool, "COMBO": str}


@dataclass(frozen=True)
class Node:
    """One class of nodes. Inputs and outputs by type; `choices` only where the templates rely on them."""

    package: str
    required: dict[str, str]
    optional: dict[str, str]
    outputs: list[str]
    choices: dict[str, list[str]]
    is_output: bool
    model_file: dict[str, str] | None

    @property
    def inputs(self) -> dict[str, str]:
        return self.required | self.optional


def read_nodes(path: Path = HERE / "nodes.toml") -> tuple[str, dict[str, Node]]:
    """Return the ComfyUI version that the facts are of, and the nodes by class."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    fresh: dict[str, Any] = {"required": {}, "optional": {}, "choices": {}, "is_output": False, "model_file": None}
    return table["comfyui"], {name: Node(**fresh | facts) for name, facts in table["nodes"].items()}


def read_packages() -> dict[str, dict[str, Any]]:
    """Return the pinned packages of nodes: name -> url, commit, date, licence, workflows."""
    return tomllib.loads((ROOT / "comfyui" / "packages.toml").read_text(encoding="utf-8"))["packages"]


_UPLOADS = {"LoadVideo": ("file", "video_upload"), "LoadImage": ("image", "image_upload")}


def object_info(class_type: str, nodes: dict[str, Node]) -> dict[str, Any] | None:
    """Return the class's entry in the /object_info of a server that has nothing uploaded; None for an unknown class."""
    node = nodes.get(class_type)
    if node is None:
        return None

    def spec(name: str, kind: str) -> list[Any]:
        if class_type in _UPLOADS and name == _UPLOADS[class_type][0]:
            return ["COMBO", {"options": [], _UPLOADS[class_type][1]: True}]
        if class_type == "VHS_LoadVideo" and name == "video":
            return [[]]  # a bare list of what is there, with nothing that says that more can be uploaded
        return [node.choices[name], {}] if name in node.choices else [kind, {}]

    kinds = {"required": node.required, "optional": node.optional}
    return {"input": {kind: {name: spec(name, each[name]) for name in each} for kind, each in kinds.items()}}


def faults(graph: Graph, nodes: dict[str, Node]) -> list[str]:
    """Return one sentence for each fault of the graph, none for a graph that is whole."""
    found = list(_title_faults(graph))
    for node_id, node in graph.items():
        name = title_of(graph, node_id)
        schema = nodes.get(node["class_type"])
        if schema is None:
            found.append(f"'{name}' is a {node['class_type']}, which no pinned package has")
            continue
        found += [f"'{name}' lacks the input '{key}'" for key in schema.required if key not in node["inputs"]]
        for key, value in node["inputs"].items():
            if key not in schema.inputs:
                found.append(f"'{name}' has an input '{key}', which a {node['class_type']} does not take")
            elif isinstance(value, list):
                found += _link_faults(graph, nodes, name, key, schema.inputs[key], value)
            else:
                found += _value_faults(schema, name, key, value)
    if not any(name.startswith("'") and "no pinned package" in name for name in found):
        found += _reach_faults(graph, nodes)
    return found


def _title_faults(graph: Graph) -> Iterator[str]:
    titles = Counter(node.get("_meta", {}).get("title", "") for node in graph.values())
    for title, count in titles.items():
        if not title:
            yield f"{count} nodes have no title"
        elif count > 1:
            yield f"{count} nodes are titled '{title}'"


def _link_faults(
    graph: Graph, nodes: dict[str, Node], name: str, key: str, wanted: str, link: list[Any]
) -> Iterator[str]:
    if len(link) != 2 or link[0] not in graph:
        yield f"'{name}' has its '{key}' from {link}, which is no node"
        return
    source = graph[link[0]]
    schema = nodes.get(source["class_type"])
    if schema is None:
        return
    if type(link[1]) is not int or not 0 <= link[1] < len(schema.outputs):
        yield f"'{name}' has its '{key}' from output {link[1]} of a {source['class_type']}, which has {schema.outputs}"
    elif schema.outputs[link[1]] != wanted:
        yield f"'{name}' takes {wanted} as '{key}' and gets {schema.outputs[link[1]]} of '{title_of(graph, link[0])}'"


def _value_faults(schema: Node, name: str, key: str, value: Any) -> Iterator[str]:
    wanted = schema.inputs[key]
    if wanted not in _WIDGETS:
        yield f"'{name}' has {value!r} as '{key}', where {wanted} comes by a link"
    elif not isinstance(value, _WIDGETS[wanted]) or (isinstance(value, bool) and wanted != "BOOLEAN"):
        yield f"'{name}' has {value!r} as '{key}', which is no {wanted}"
    elif key in schema.choices and value not in schema.choices[key]:
        yield f"'{name}' has {value!r} as '{key}', which is none of {schema.choices[key]}"


def _reach_faults(graph: Graph, nodes: dict[str, Node]) -> Iterator[str]:
    """Nothing is in a template for nothing: each node must lead to the one output, without a circle."""
    ends = [node_id for node_id, node in graph.items() if nodes[node["class_type"]].is_output]
    if len(ends) != 1:
        yield f"it has {len(ends)} outputs, not one"
        return
    sources = {
        node_id: {value[0] for value in node["inputs"].values() if isinstance(value, list)}
        for node_id, node in graph.items()
    }
    used, new = set(ends), set(ends)
    while new:
        new = {source for node_id in new for source in sources.get(node_id, ())} - used
        used |= new
    yield from (f"'{title_of(graph, node_id)}' leads nowhere" for node_id in graph if node_id not in used)
    done: set[str] = set()
    while ready := {node_id for node_id, links in sources.items() if node_id not in done and links <= done}:
        done |= ready
    if len(done) < len(graph) and all(link in graph for links in sources.values() for link in links):
        yield "it goes in a circle"
