"""Workflow templates: graphs in ComfyUI's API format, and the slots by which they are filled.

Read in this order: `Workflow` and how one is chosen and loaded; then how a node is named (by its title, never by its
id) and how slots are filled; then the slots of a template with a model. docs/guides/workflows.md has their table.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeGuard, overload

from handoff.command import say
from handoff.errors import InputError, MissingFileError, UsageError, printable
from handoff.jsonfile import parse_json, read_bytes, shown
from handoff.weights import load_registry, models_dir
from handoff.weights.registry import Weight
from handoff.weights.store import place_of

Graph = dict[str, Any]
"""ComfyUI's API format: node id -> {"class_type", "inputs", "_meta": {"title"}}."""

FOLDER = Path(__file__).parent / "workflows"
DRAFT, LOCKED, ONE_PASS = "draft", "wan_vace_locked", "wan_vace"


@dataclass(frozen=True)
class Workflow:
    """A template and the SHA-256 of its file."""

    name: str
    graph: Graph
    sha256: str


def choose_workflow(name: str | None, *, quiet: bool = False) -> Workflow:
    """Return the workflow `name`; without one the locked Wan VACE where its models are, else the draft.

    That the draft has to do is said in a line, unless `quiet`. What is asked for by name is not looked for here: which
    model files a server has, only the server knows.
    """
    if name is not None:
        return load_workflow(name)
    locked = load_workflow(LOCKED)
    missing = [weight for weight in weights_of(locked.graph) if not place_of(weight).is_file()]
    if not missing:
        return locked
    if not quiet:
        say(
            f"reskin: {missing[0].file} is not in {models_dir()}, so the draft paints, without a model; "
            f"make weights PROFILE={missing[0].profiles[0]} gets Wan VACE, and --workflow {LOCKED} asks for it by name"
        )
    return load_workflow(DRAFT)


def workflow_names() -> list[str]:
    """Return the names that `load_workflow` knows."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_workflow(name: str) -> Workflow:
    """Read the template `name`, or the user's own when it is a path to a .json file.

    Raises UsageError for an unknown name, MissingFileError for a file that is not there, InputError for what
    is no graph.
    """
    path = FOLDER / f"{name}.json"
    if name not in workflow_names():
        path = Path(name)
        if path.suffix != ".json":
            raise UsageError(
                f"there is no workflow '{printable(name)}'; known: {', '.join(workflow_names())}, or give a .json file."
            )
        name = path.name
    try:
        data = read_bytes(path, advice=_EXPORT)
    except MissingFileError as error:
        raise MissingFileError(f"there is no workflow file {path}; check the path.") from error
    return Workflow(name, parse_graph(data, path.name), hashlib.sha256(data).hexdigest())


_EXPORT = "export it from ComfyUI's editor with Export (API), in older ones 'Save (API Format)'"


def parse_graph(data: bytes, name: str) -> Graph:
    """Parse API-format JSON; raise InputError when it is something else (such as the editor's own format)."""
    return check_graph(parse_json(data, f"the workflow {printable(name)}", advice=_EXPORT), name)


def check_graph(graph: Any, name: str) -> Graph:
    """Return a copy of `graph` when it is in API format, nodes without inputs with none; raise InputError else."""
    called = f"the workflow {printable(name)}"
    if not isinstance(graph, dict) or not graph:
        what = f"a list of {len(graph)}" if isinstance(graph, list) else "empty" if graph == {} else shown(graph)
        raise InputError(f"{called} is {what}, not an object of nodes; {_EXPORT}.")
    if isinstance(graph.get("nodes"), list):
        raise InputError(
            f"{called} is in the editor's own format, not in API format, which a server runs; {_EXPORT}: that leaves "
            "out notes, reroutes and bypassed nodes, and unpacks groups and subgraphs."
        )
    if isinstance(graph.get("prompt"), dict) and "class_type" not in graph["prompt"]:
        raise InputError(f"{called} is a whole request to a server; keep what stands under 'prompt' of it.")
    for node_id, node in graph.items():
        if wrong := _fault_of(node):
            at = printable(node_id, 60)
            raise InputError(f"{called} is not in API format: its node '{at}' {wrong}; {_EXPORT}.")
    return {node_id: {**node, "inputs": node.get("inputs", {})} for node_id, node in graph.items()}


def _fault_of(node: Any) -> str | None:
    if not isinstance(node, dict):
        return f"is {shown(node)}, and must be an object"
    for key, kind, words in (("class_type", str, "a text"), ("inputs", dict, "an object")):
        if key not in node and key != "inputs":
            return f"has no {key}"
        if key in node and not isinstance(node[key], kind):
            return f"has {shown(node[key])} as its {key}, which must be {words}"
    return None


def graph_sha256(graph: Graph) -> str:
    """Return the SHA-256 of a graph's canonical JSON (sorted keys, no spaces)."""
    return hashlib.sha256(json.dumps(graph, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def weights_of(graph: Graph) -> list[Weight]:
    """Return the entries of weights.toml whose files a graph names."""
    named = {value for node in graph.values() for value in node["inputs"].values() if isinstance(value, str)}
    return [weight for weight in load_registry().weights if PurePosixPath(weight.file).name in named]


def where_from(file_name: str) -> str | None:
    """Return what to do to get the model file of that name, None where weights.toml does not list it."""
    for weight in load_registry().weights:
        if PurePosixPath(weight.file).name == file_name:
            return f"fetch it with 'make weights PROFILE={weight.profiles[0]}', which knows {file_name}"
    return None


def is_link(value: Any) -> TypeGuard[list[Any]]:
    """Say whether an input's value is another node's output: [node id, number of the output]."""
    return (
        isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int | float)
    )


# How a node is named, and how slots are filled.

PASSES = ("", "skater", "object")
"""No pass of its own, the first pass, the second: a title may end in ", skater" or ", object"."""


_LONGEST_TITLE = 80


def own_title(graph: Graph, node_id: str) -> str | None:
    """Return the title that a node was given, None where it has none; a server takes anything for one."""
    meta = graph[node_id].get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title if isinstance(title, str) else None


def title_of(graph: Graph, node_id: str) -> str:
    """Return a node's title for people: its own, else its class, else its id."""
    titled = (own_title(graph, node_id) or graph[node_id].get("class_type")) if node_id in graph else None
    return printable(titled or node_id, _LONGEST_TITLE)


def nodes_of(graph: Graph, title: str, class_type: str | None = None, *, name: str = "") -> dict[str, str]:
    """Return pass -> id of the nodes titled `title`, or that with a pass; empty where there is none.

    name: the workflow's, for messages. Raises InputError for a title that two nodes bear, or for a node of another
    class than `class_type`.
    """
    found: dict[str, str] = {}
    for each in PASSES:
        full = f"{title}, {each}" if each else title
        ids = [node_id for node_id in graph if own_title(graph, node_id) == full]
        if len(ids) > 1:
            raise InputError(f"{_called(name)} has {len(ids)} nodes titled '{full}'; it may have one.")
        for node_id in ids:
            actual = graph[node_id]["class_type"]
            if class_type not in (None, actual):
                raise InputError(
                    f"{_called(name)} has a node '{full}' that is a {printable(actual)}; it must be a {class_type}."
                )
            found[each] = node_id
    return found


def find_node(graph: Graph, title: str, class_type: str | None = None) -> str:
    """Return the id of the one node titled `title`; raise InputError where there is none, and as `nodes_of`."""
    found = nodes_of(graph, title, class_type)
    if "" not in found:
        raise _missing(title)
    return found[""]


@overload
def find_node_by_class(graph: Graph, class_type: str, which: int = 0) -> str: ...
@overload
def find_node_by_class(graph: Graph, class_type: str, which: Literal["all"]) -> list[str]: ...


def find_node_by_class(graph: Graph, class_type: str, which: int | Literal["all"] = 0) -> str | list[str]:
    """Return the id of the first node of a class, of the one numbered `which` from 0, or of "all" of them, in order.

    Raises InputError where there is none, or none of that number.
    """
    ids = [node_id for node_id, node in check_graph(graph, "given").items() if node["class_type"] == class_type]
    if not ids or (which != "all" and not 0 <= which < len(ids)):
        there = f"{len(ids)} nodes of class {class_type}, numbered from 0; there is no {which}"
        raise InputError(f"the workflow has {there if ids else f'no node of class {class_type}'}.")
    return ids if which == "all" else ids[which]


def _called(name: str) -> str:
    return f"the workflow '{printable(name)}'" if name else "the workflow"


def _missing(title: str, name: str = "") -> InputError:
    return InputError(f"{_called(name)} has no node titled '{title}'; it needs one.")


@dataclass(frozen=True)
class Slot:
    """A place for a value: the first of `inputs` that each node titled `title`, or that with a pass, has.

    class_type: what such a node must be, where only one class will do. needed: a template without the slot is refused.
    option: what the user wrote to fill it; a template without the slot is then refused by that name.
    """

    title: str
    inputs: tuple[str, ...]
    class_type: str | None = None
    needed: bool = False
    option: str | None = None

    def input_of(self, node: dict[str, Any]) -> str | None:
        """Return the name of the node's input that is the slot, None where it has none of them."""
        return next((each for each in self.inputs if each in node["inputs"]), None)


def fill(graph: Graph, values: Mapping[Slot, Any], *, name: str = "") -> Graph:
    """Return a copy of `graph` with the slots filled; a value that is a dict is by pass.

    A slot that is not there is left out, unless it is needed (InputError, with its title) or the user asked for it
    (UsageError, with the option). Raises what `nodes_of` raises. name: the workflow's, for messages.
    """
    filled = copy.deepcopy(graph)
    for slot, value in values.items():
        set_in = 0
        nodes = nodes_of(filled, slot.title, slot.class_type, name=name)
        for each, node_id in nodes.items():
            held = slot.input_of(filled[node_id])
            if held is not None:
                filled[node_id]["inputs"][held] = value[each] if isinstance(value, dict) else value
                set_in += 1
        if slot.needed and not nodes:
            raise _missing(slot.title, name)
        if slot.needed and set_in < len(nodes):
            raise _without(slot, name)
        if slot.option and not set_in:
            raise UsageError(f"{_called(name)} has no slot for {slot.option}; leave it out.")
    return filled


def _without(slot: Slot, name: str) -> InputError:
    wanted = "' or '".join(slot.inputs)
    return InputError(f"{_called(name)} has a node '{slot.title}' without an input '{wanted}'.")


def value_of(graph: Graph, slot: Slot) -> Any:
    """Return what the template itself has in a slot; None where it has nothing there, or a link."""
    nodes = [graph[node_id] for node_id in nodes_of(graph, slot.title, slot.class_type).values()]
    values = [node["inputs"][held] for node in nodes if (held := slot.input_of(node)) is not None]
    return next((value for value in values if value is not None and not isinstance(value, list)), None)


def drop(graph: Graph, node_id: str) -> None:
    """Remove a node, with the inputs that it fed; the model and the CLIP that it handed on take its place."""
    inputs = graph.pop(node_id)["inputs"]
    instead = {0: inputs.get("model"), 1: inputs.get("clip")}
    for node in graph.values():
        fed = {name: value for name, value in node["inputs"].items() if is_link(value) and value[0] == node_id}
        for name, value in fed.items():
            if instead.get(value[1]) is None:
                del node["inputs"][name]
            else:
                node["inputs"][name] = instead[value[1]]


# The slots of a template with a model in it.

FILE_INPUTS = ("file", "video", "image")
REFERENCE, LORA = "reference image", "LoRA"
"""Titles of nodes that are taken out where they are not used."""

PICTURES = {
    title: Slot(title, FILE_INPUTS, needed=True)
    for title in ("source", "pose", "object mask", "skater mask", "skater, exact", REFERENCE)
}
"""The nodes that load what is uploaded for each window."""

PROMPT, NEGATIVE = Slot("prompt", ("text", "prompt"), needed=True), Slot("negative prompt", ("text", "prompt"))
SEED = Slot("sampler", ("seed", "noise_seed"), needed=True)
OUTPUT = Slot("output", ("filename_prefix",), needed=True)
COUNTS = (Slot("vace", ("length",)), Slot("sampler", ("num_frames",)), Slot("gray", ("batch_size",)))
"""What counts the window's frames."""
_SIZED = ("vace", "gray", "sampler")


def size_slots(width: int, height: int) -> dict[Slot, int]:
    """Return the slots that say how large the model's pictures are, px, with their values."""
    sides = (("width", width), ("height", height))
    return {Slot(title, (name,)): px for title in _SIZED for name, px in sides}


def check_slots(workflow: Workflow, skater: bool) -> None:
    """Raise InputError, with the title, for a template that could not do what is asked; skater: whether to paint one.

    A template sees both masks that it needs, or none: then the composite alone cuts the regions out. With one of two,
    the model would be told to leave the other region as it is.
    """
    graph, name = workflow.graph, workflow.name
    fill(graph, dict.fromkeys((PICTURES["source"], PROMPT, SEED, OUTPUT)), name=name)
    masks = {title for title in ("object mask", "skater mask") if nodes_of(graph, title)}
    if masks == {"skater mask"}:
        raise InputError(
            f"{_called(name)} has a node titled 'skater mask' and none titled 'object mask', so the "
            "object would stay as it is; give it both, or none."
        )
    if skater and masks == {"object mask"}:
        raise InputError(
            f"{_called(name)} has a node titled 'object mask' and none titled 'skater mask', so the "
            "skater would stay as she is; give it both, or name the object alone in --prompt."
        )


def window_frames(graph: Graph) -> int | None:
    """Return how many frames the template is made for; None when no node says."""
    return next((value for slot in COUNTS if isinstance(value := value_of(graph, slot), int)), None)


def has_two_passes(graph: Graph) -> bool:
    """Say whether the skater is painted in one pass and the object in another: the output has all frames twice."""
    return {"skater", "object"} <= nodes_of(graph, SEED.title).keys()


def window_slots(files: Mapping[str, str], frames: int, prefix: str) -> dict[Slot, Any]:
    """Return what comes with each window.

    files: title -> name on the server. frames: 4n+1. prefix: of the results' names.
    """
    return {PICTURES[title]: name for title, name in files.items()} | dict.fromkeys(COUNTS, frames) | {OUTPUT: prefix}


def unfilled(graph: Graph) -> set[tuple[str, str]]:
    """Return (node id, input) of the files and names of `window_slots`: what the template has there says nothing."""
    return {
        (node_id, held)
        for slot in (*PICTURES.values(), OUTPUT)
        for node_id in nodes_of(graph, slot.title).values()
        if (held := slot.input_of(graph[node_id])) is not None
    }
