"""Workflow templates: graphs in ComfyUI's API format whose slots are found by title, never by node id.

The slots of a template with a model in it, by title: which may be there, which must, and how they are filled.

A title may end in ", skater" or ", object": that node belongs to one pass of two. Table: docs/guides/workflows.md.

Where a model file that a workflow names can be had: its entry in weights.toml.

Which workflow: the one that is asked for, else the locked Wan VACE where its models are, else the draft.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import click

from handoff.errors import InputError, UsageError
from handoff.weights import load_registry, models_dir
from handoff.weights.registry import Weight
from handoff.weights.store import place_of

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


PASSES = ("", "skater", "object")
"""No pass of its own, the first pass, the second."""

PICTURES = ("source", "pose", "object mask", "skater mask", "skater, exact", "reference image")
"""Titles of the nodes that load what is uploaded for each window."""

FILE_INPUTS = ("file", "video", "image")
_PREFIX = ("filename_prefix",)
TEXTS = ("text", "prompt")
SEEDS = ("seed", "noise_seed")
_NEEDED = {"source": FILE_INPUTS, "prompt": TEXTS, "sampler": SEEDS, "output": _PREFIX}
_COUNTS = {"vace": ("length",), "sampler": ("num_frames",), "gray": ("batch_size",)}
_SIZES = ("vace", "gray", "sampler")


def nodes_of(graph: Graph, title: str) -> dict[str, str]:
    """Return pass -> node id of the nodes titled `title`, or that with a pass; raise InputError for a doubled one."""
    found: dict[str, str] = {}
    for each in PASSES:
        full = f"{title}, {each}" if each else title
        ids = [node_id for node_id, node in graph.items() if node.get("_meta", {}).get("title") == full]
        if len(ids) > 1:
            raise InputError(f"the workflow has {len(ids)} nodes titled '{full}'; it may have one.")
        if ids:
            found[each] = ids[0]
    return found


def set_slot(graph: Graph, title: str, inputs: tuple[str, ...], value: Any, *, needed: bool = False) -> None:
    """Set the first of `inputs` that each node titled `title` has. A dict `value` is by pass.

    Raises InputError, with the title, for a node that is needed and not there, or that has none of the inputs.
    """
    found = nodes_of(graph, title)
    if needed and not found:
        raise InputError(f"the workflow has no node titled '{title}'; it needs one.")
    for each, node_id in found.items():
        held = graph[node_id]["inputs"]
        name = next((name for name in inputs if name in held), None)
        if name is None:
            if needed:
                raise InputError(f"the workflow's node '{title}' has no input '{' or '.join(inputs)}'.")
            continue
        held[name] = value[each] if isinstance(value, dict) else value


def check_slots(workflow: Workflow, skater: bool) -> None:
    """Raise InputError, with the title, for a template that could not do what is asked; skater: whether to paint one.

    A template sees both masks that it needs, or none: then the composite alone cuts the regions out. With one of two,
    the model would be told to leave the other region as it is.
    """
    graph = workflow.graph
    for title, names in _NEEDED.items():
        found = nodes_of(graph, title)
        if not found:
            raise InputError(f"the workflow '{workflow.name}' has no node titled '{title}'; it needs one.")
        if not all(any(name in graph[node_id]["inputs"] for name in names) for node_id in found.values()):
            wanted = "' or '".join(names)
            raise InputError(f"the workflow '{workflow.name}' has a node '{title}' without an input '{wanted}'.")
    masks = {title for title in ("object mask", "skater mask") if nodes_of(graph, title)}
    if masks == {"skater mask"}:
        raise InputError(
            f"the workflow '{workflow.name}' has a node titled 'skater mask' and none titled 'object mask', so the "
            "object would stay as it is; give it both, or none."
        )
    if skater and masks == {"object mask"}:
        raise InputError(
            f"the workflow '{workflow.name}' has a node titled 'object mask' and none titled 'skater mask', so the "
            "skater would stay as she is; give it both, or name the object alone in --prompt."
        )


def value_of(graph: Graph, title: str, name: str) -> Any:
    """Return what the template itself has in an input of the nodes titled `title`; None when no node has it."""
    values = (graph[node_id]["inputs"].get(name) for node_id in nodes_of(graph, title).values())
    return next((value for value in values if value is not None and not isinstance(value, list)), None)


def window_frames(graph: Graph) -> int | None:
    """Return how many frames the template is made for; None when no node says."""
    for title, names in _COUNTS.items():
        value = value_of(graph, title, names[0])
        if isinstance(value, int):
            return value
    return None


def has_two_passes(graph: Graph) -> bool:
    """Say whether the skater is painted in one pass and the object in another: the output has all frames twice."""
    return {"skater", "object"} <= nodes_of(graph, "sampler").keys()


def drop(graph: Graph, title: str) -> None:
    """Remove a node that is not used, with the inputs that it fed; the model that it handed on takes its place."""
    for node_id in nodes_of(graph, title).values():
        instead = graph.pop(node_id)["inputs"].get("model")
        for node in graph.values():
            fed = [name for name, value in node["inputs"].items() if value == [node_id, 0]]
            for name in fed:
                if instead is None:
                    del node["inputs"][name]
                else:
                    node["inputs"][name] = instead


@dataclass(frozen=True)
class Choice:
    """A value for the first of `inputs` that the nodes titled `title` have; `option` is what the user wrote, if so."""

    title: str
    inputs: tuple[str, ...]
    value: Any
    option: str | None = None


def settle(workflow: Workflow, choices: Iterable[Choice], size: tuple[int, int]) -> Graph:
    """Return a copy of the template with all that is the same in every window.

    size: (width, height) of the model's pictures, px. Raises UsageError for an option that the template has no slot
    for.
    """
    settled = copy.deepcopy(workflow.graph)
    for choice in choices:
        nodes = [settled[node_id]["inputs"] for node_id in nodes_of(settled, choice.title).values()]
        if choice.option and not any(name in node for node in nodes for name in choice.inputs):
            raise UsageError(f"the workflow '{workflow.name}' has no slot for {choice.option}; leave it out.")
        set_slot(settled, choice.title, choice.inputs, choice.value)
    for title in _SIZES:
        for name, side in zip(("width", "height"), size, strict=True):
            set_slot(settled, title, (name,), side)
    return settled


def unfilled(graph: Graph) -> set[tuple[str, str]]:
    """Return (node id, input) of the names that `fill_window` sets: what the template has there says nothing."""
    slots = dict.fromkeys(PICTURES, FILE_INPUTS) | {"output": _PREFIX}
    held = [(node_id, names) for title, names in slots.items() for node_id in nodes_of(graph, title).values()]
    return {(node_id, name) for node_id, names in held for name in names if name in graph[node_id]["inputs"]}


def fill_window(graph: Graph, files: Mapping[str, str], frames: int, prefix: str) -> Graph:
    """Return a copy for one window. files: title -> name on the server. frames: 4n+1. prefix: of the results' names."""
    filled = copy.deepcopy(graph)
    for title, name in files.items():
        set_slot(filled, title, FILE_INPUTS, name, needed=True)
    for title, names in _COUNTS.items():
        set_slot(filled, title, names, frames)
    set_slot(filled, "output", _PREFIX, prefix, needed=True)
    return filled


def where_from(file_name: str) -> str | None:
    """Return what to do to get the model file of that name, None where weights.toml does not list it."""
    for weight in load_registry().weights:
        if PurePosixPath(weight.file).name == file_name:
            return f"fetch it with 'make weights PROFILE={weight.profiles[0]}', which knows {file_name}"
    return None


DRAFT, LOCKED, ONE_PASS = "draft", "wan_vace_locked", "wan_vace"


def choose_workflow(name: str | None, *, quiet: bool = False) -> Workflow:
    """Return the workflow `name`; without one says in a line when the draft has to do, unless `quiet`.

    What is asked for by name is not looked for here: which model files a server has, only the server knows.
    """
    if name is not None:
        return load_workflow(name)
    locked = load_workflow(LOCKED)
    missing = [weight for weight in weights_of(locked.graph) if not place_of(weight).is_file()]
    if not missing:
        return locked
    if not quiet:
        click.echo(
            f"reskin: {missing[0].file} is not in {models_dir()}, so the draft paints, without a model; "
            f"make weights PROFILE={missing[0].profiles[0]} gets Wan VACE, and --workflow {LOCKED} asks for it by name"
        )
    return load_workflow(DRAFT)


def weights_of(graph: Graph) -> list[Weight]:
    """Return the entries of weights.toml whose files a graph names."""
    named = {value for node in graph.values() for value in node["inputs"].values() if isinstance(value, str)}
    return [weight for weight in load_registry().weights if PurePosixPath(weight.file).name in named]
