"""Any template in API format as one video-to-video job: where its clip, picture, texts, seed and results are.

`prepare` is all of it: it finds the places, fills the texts and the seed, and says which files go where. A place is
found by our title where the template has it, else by class and by links: a text by following the `positive` and
`negative` of the sampler. What is given and has no place is refused, never left out in silence.
"""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.errors import InputError, MissingFileError, UsageError, printable
from reskin.settings import check_seed
from reskin.workflow import (
    LORA,
    NEGATIVE,
    OUTPUT,
    PICTURES,
    PROMPT,
    REFERENCE,
    Graph,
    Slot,
    check_graph,
    drop,
    is_link,
    load_workflow,
    nodes_of,
    title_of,
)

Place = tuple[str, str]
"""Node id and the name of its input."""

MASK_PROMPT = Slot("mask prompt", ("text", "prompt"))
_VIDEO, _IMAGE = re.compile(r"LoadVideo(?!\w*Path)"), re.compile(r"^LoadImage$")
_SAVES = re.compile(r"^Save(Image|Video|Animated|WEBM)|VideoCombine")
_SEGMENTS = re.compile(r"(?i:segment|grounding|clipseg|florence)|(SAM|Sam)(?![a-z])")
_TEXTS = ("text", "prompt", "text_prompt", "text_input", "text_g", "text_l", "clip_l", "t5xxl")
_STRINGS = (*_TEXTS, "value", "string")
"""Inputs of a node that hands a text on to another."""
_SEEDS = ("seed", "noise_seed")
_MOST_SEEDS = 2**32


@dataclass(frozen=True)
class V2VInputs:
    """What a template is given; None is left as the template has it, but for the seed, which is then drawn."""

    source: Path
    reference: Path | None = None
    positive: str | None = None
    negative: str | None = None
    mask_text: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class V2VJob:
    """A graph that is ready but for its files: place -> file to upload. outputs: ids of the nodes that save."""

    graph: Graph
    files: dict[Place, Path]
    outputs: list[str]


def prepare(template: str | Path | Graph, given: V2VInputs, prefix: str) -> V2VJob:
    """Fill a copy of the template; prefix: of the results' names on the server.

    template: a graph, a path to a .json file, or the name of a template of ours. Raises InputError for what is no graph
    in API format, MissingFileError for a file that is not there, UsageError for what is given and has no
    place, or more than one.
    """
    if isinstance(template, dict):
        name, graph = "given", copy.deepcopy(check_graph(template, "given"))
    else:
        workflow = load_workflow(str(template))
        name, graph = workflow.name, workflow.graph
    for path, what in ((given.source, "clip"), (given.reference, "picture")):
        if path is not None and not path.is_file():
            raise MissingFileError(f"there is no {what} {path}; check the path.")
    files = {_loader(graph, name, PICTURES["source"], _VIDEO, "a video"): given.source}
    if given.reference is not None:
        files[_loader(graph, name, PICTURES[REFERENCE], _IMAGE, "a picture")] = given.reference
    for place, value in _texts(graph, name, given).items():
        _set(graph, place, value)
    _set_seed(graph, name, given.seed)
    outputs = list(nodes_of(graph, OUTPUT.title).values()) or [each for each in graph if _is(graph, each, _SAVES)]
    if not outputs:
        raise UsageError(f"the workflow '{printable(name)}' saves nothing; add a SaveVideo or a SaveImage.")
    for node_id in outputs:
        if OUTPUT.inputs[0] in graph[node_id]["inputs"]:
            _set(graph, (node_id, OUTPUT.inputs[0]), prefix)
    _drop_unused(graph, files)
    _check_files(graph, name, files)
    return V2VJob(graph, files, outputs)


def _is(graph: Graph, node_id: str, pattern: re.Pattern[str]) -> bool:
    return pattern.search(graph[node_id]["class_type"]) is not None


def _set(graph: Graph, place: Place, value: Any) -> None:
    graph[place[0]]["inputs"][place[1]] = value


def _loader(graph: Graph, name: str, slot: Slot, pattern: re.Pattern[str], what: str) -> Place:
    """Return the place of the file that has this title, else of the one such loader, else of the one that has none."""
    ids = list(nodes_of(graph, slot.title, name=name).values())
    ids = ids or [each for each in graph if _is_loader(graph, each, pattern)]
    if len(ids) > 1:
        ids = [each for each in ids if graph[each]["inputs"].get(slot.input_of(graph[each]) or "") == ""] or ids
    if len(ids) != 1:
        found = ", ".join(f"{printable(each)} '{title_of(graph, each)}'" for each in ids)
        problem = f"{len(ids)} nodes that load {what} ({found})" if ids else f"no node that loads {what}"
        raise UsageError(f"the workflow '{printable(name)}' has {problem}; title the one that is meant '{slot.title}'.")
    held = slot.input_of(graph[ids[0]])
    if held is None:
        raise InputError(f"the workflow '{printable(name)}' has a node '{slot.title}' that takes no file.")
    return ids[0], held


def _is_loader(graph: Graph, node_id: str, pattern: re.Pattern[str]) -> bool:
    """Say whether a node of such a class names a file itself."""
    held = PICTURES["source"].input_of(graph[node_id])
    return _is(graph, node_id, pattern) and isinstance(graph[node_id]["inputs"].get(held), str)


def _texts(graph: Graph, name: str, given: V2VInputs) -> dict[Place, str]:
    """Return the places of the texts that are given, with the texts."""
    positive, negative = _sampler_texts(graph, PROMPT, "positive"), _sampler_texts(graph, NEGATIVE, "negative")
    masks = _titled(graph, MASK_PROMPT) or list(_segmentation_texts(graph))
    if not positive:  # no sampler names its sides: then the one text that there is
        alone = [place for node_id in graph for place in _own_texts(graph, node_id) if place not in (*negative, *masks)]
        positive = alone if len({node_id for node_id, _ in alone}) == 1 else []
    found: dict[Place, str] = {}
    for argument, value, places in (
        ("positive_prompt", given.positive, positive),
        ("negative_prompt", given.negative, [place for place in negative if place not in positive]),
        ("mask_text_prompt", given.mask_text, masks),
    ):
        if value and not places:
            raise UsageError(
                f"the workflow '{printable(name)}' has no place for {argument}; leave it out, or title a text node."
            )
        if value is not None:
            found |= dict.fromkeys(places, value)
    return found


def _titled(graph: Graph, slot: Slot) -> list[Place]:
    ids = nodes_of(graph, slot.title).values()
    return [(node_id, held) for node_id in ids if (held := slot.input_of(graph[node_id])) is not None]


def _sampler_texts(graph: Graph, slot: Slot, side: str) -> list[Place]:
    """Return the texts behind every input `positive` (or `negative`), each once."""
    found = dict.fromkeys(_titled(graph, slot))
    if not found:
        for node_id, node in graph.items():
            for held in (side, f"{side}_prompt"):
                value = node["inputs"].get(held)
                if isinstance(value, str):
                    found[node_id, held] = None
                elif is_link(value):
                    found |= dict.fromkeys(_texts_behind(graph, value[0], side))
    return list(found)


def _segmentation_texts(graph: Graph) -> Iterator[Place]:
    for node_id, node in graph.items():
        if _is(graph, node_id, _SEGMENTS):
            own = list(_own_texts(graph, node_id))
            link = node["inputs"].get("conditioning")
            yield from own or (_texts_behind(graph, link[0], "positive") if is_link(link) else ())


def _own_texts(graph: Graph, node_id: str, inputs: Sequence[str] = _TEXTS) -> Iterator[Place]:
    """Yield where a node has a text: in an input of its own, or in the node that hands it one."""
    for held in inputs:
        value = _inputs(graph, node_id).get(held)
        if isinstance(value, str):
            yield node_id, held
        elif is_link(value) and held in _TEXTS:
            yield from _handed_text(graph, value[0])


def _inputs(graph: Graph, node_id: str) -> dict[str, Any]:
    return graph[node_id]["inputs"] if node_id in graph else {}


def _handed_text(graph: Graph, node_id: str) -> list[Place]:
    """Return the one place of the text that a node hands on: its own first text, else that of the node before it."""
    left: list[str | Place] = [node_id]
    seen = set[str]()
    while left:
        ahead = left.pop()
        if isinstance(ahead, tuple):
            return [ahead]
        if ahead in seen:
            continue
        seen.add(ahead)
        found: list[str | Place] = []
        for held in _STRINGS:
            value = _inputs(graph, ahead).get(held)
            if isinstance(value, str):
                found.append((ahead, held))
            elif is_link(value) and held in _TEXTS:
                found.append(value[0])
        left += reversed(found)
    return []


def _texts_behind(graph: Graph, node_id: str, side: str) -> Iterator[Place]:
    """Follow a condition back to its texts: through `positive` to `positive`, and through any `conditioning`."""
    left, seen = [node_id], set[str]()
    while left:
        node_id = left.pop()
        if node_id not in graph or node_id in seen or graph[node_id]["class_type"] == "ConditioningZeroOut":
            continue
        seen.add(node_id)
        own, inputs = list(_own_texts(graph, node_id)), _inputs(graph, node_id)
        yield from own
        if not own:
            ahead = [
                each for each in inputs if each == side or (side not in inputs and each.startswith("conditioning"))
            ]
            left += [inputs[each][0] for each in reversed(ahead) if is_link(inputs[each])]


def _set_seed(graph: Graph, name: str, seed: int | None) -> None:
    """Set every seed of the graph to `seed`, or to one number that is drawn."""
    if seed is not None:
        check_seed("seed", seed)
    places = [(each, held) for each in graph for held in _SEEDS if type(graph[each]["inputs"].get(held)) is int]
    if seed is not None and not places:
        raise UsageError(f"the workflow '{printable(name)}' has no place for seed; leave it out.")
    value = secrets.randbelow(_MOST_SEEDS) if seed is None else seed
    for place in places:
        _set(graph, place, value)


def _drop_unused(graph: Graph, files: dict[Place, Path]) -> None:
    """Take out a loader of a picture, and a LoRA titled so, that names no file."""
    loras = set(nodes_of(graph, LORA).values())
    for node_id in list(graph):
        inputs = graph[node_id]["inputs"]
        picture = _is_loader(graph, node_id, _IMAGE) and inputs.get("image") == ""
        lora = node_id in loras and inputs.get("lora_name") == ""
        if (picture or lora) and node_id not in {each for each, _ in files}:
            drop(graph, node_id)


def _check_files(graph: Graph, name: str, files: dict[Place, Path]) -> None:
    for node_id, node in graph.items():
        held = PICTURES["source"].input_of(node) or ""
        if node["inputs"].get(held) == "" and (node_id, held) not in files:
            raise UsageError(
                f"the workflow '{printable(name)}' has a node '{title_of(graph, node_id)}' that loads a file and names "
                "none; put there what upload_asset returns for a file of yours."
            )
