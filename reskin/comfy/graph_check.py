"""Compare a graph with a server's own description of its nodes, /object_info, before anything is sent.

A problem is what the server itself would refuse, by the rules of its own validation (execution.py): it looks at the
class of every node, and at the inputs of those that a saving node needs. A value that is not in a list is taken where a
class checks it by code of its own, which no description shows. Whatever the server would run is a notice at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from handoff.errors import printable
from reskin.workflow import Graph, title_of

Describe = Callable[[str], Any]
WhereFrom = Callable[[str], str | None]
_SHOWN = 6
_MODEL_SUFFIXES = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".sft")
_COMBO, _CHOICE_WITH_INPUTS = "COMBO", "COMFY_DYNAMICCOMBO_V3"
_GROWING_LIST, _SLOT_WITH_INPUTS = "COMFY_AUTOGROW_V3", "COMFY_DYNAMICSLOT_V3"
_CHECK_THEMSELVES = {"LoadLatent", "CustomCombo", "SelectModelDevice", "SelectCLIPDevice", "SelectVAEDevice"}
"""Core classes that take values which are not in their lists, and are not marked as uploads."""
_OURS = re.compile(r"(nodes|comfy_extras)(\.|$)")
"""Modules of the core's own classes; what a package checks by code of its own, nobody knows."""
_MODES = {2: "muted", 4: "bypassed"}
"""What the editor calls a node that it leaves out."""

_NOTE = "is a note of the editor's, which nothing runs: remove it"
_EDITOR_ONLY: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(Markdown)?Note|Label \(rgthree\)"), _NOTE),
    (
        re.compile(r"Reroute( \(rgthree\))?"),
        "is a bend in the editor's lines, which nothing runs: link what it feeds straight to what feeds it",
    ),
    (
        re.compile(r"PrimitiveNode"),
        "holds a value in the editor, and nothing runs it: write the value into the inputs that it feeds",
    ),
    (
        re.compile(r"(Easy)?(Set|Get)Node"),
        "hands a value on by name in the editor, and nothing runs it: link the inputs to the value's source",
    ),
    (
        re.compile(r"workflow[>/].+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
        "is a group or subgraph of the editor's, which nothing runs: unpack it there",
    ),
    (
        re.compile(r"(Bookmark|Fast .+|Mute / Bypass .+|Node Collector|Random Unmuter) \(rgthree\)"),
        "is a switch of the editor's, which nothing runs: remove it",
    ),
)
_EXPORT = "or export the workflow anew with the editor's Export (API), which leaves such nodes out"


@dataclass
class GraphFindings:
    """A sentence for each thing that is wrong, with the node's title.

    problems: what this server refuses, and another one may not. faults: what every server refuses. notices: what the
    server runs all the same.
    """

    problems: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def find_problems(
    graph: Graph,
    describe: Describe,
    where_from: WhereFrom | None,
    later: Collection[tuple[str, str]] = (),
    replaced: Callable[[str], bool] = lambda class_type: False,
) -> GraphFindings:
    """Return what the server would say of the graph.

    describe: a class's entry in /object_info, None where there is none. where_from: where to get a model file, or None.
    later: (node id, input) whose values come later, so that they are not looked at yet; nor is a file to upload, or a
    value that comes from another node. replaced: whether the server puts another class in the place of an unknown one.
    """
    found, inputs = GraphFindings(), dict[str, _Inputs]()
    infos = {each: describe(each) for each in dict.fromkeys(node["class_type"] for node in graph.values())}
    for node_id, node in graph.items():
        class_type, where = node["class_type"], called(graph, node_id)
        info = infos[class_type]
        mode = node.get("mode")
        if isinstance(mode, int) and mode in _MODES:
            found.notices.append(
                f"{where} is {_MODES[mode]} in the editor, and the server runs it all the same; the editor's "
                "Export (API) leaves it out"
            )
        if isinstance(info, dict):
            inputs[node_id] = _Inputs.of(info, node["inputs"])
        elif editor := next((words for pattern, words in _EDITOR_ONLY if pattern.fullmatch(class_type)), None):
            found.faults.append(f"{where} {editor}, {_EXPORT}")
        elif not replaced(class_type):
            found.problems.append(
                f"{where}: the server has no such node class; update it or install the package it is from"
            )
    for node_id in _needed(graph, infos, inputs):
        node, where = graph[node_id], called(graph, node_id)
        unset = {name for each, name in later if each == node_id}
        for severe, words in _of_node(inputs[node_id], node, infos[node["class_type"]], where_from, unset):
            (found.problems if severe else found.notices).append(f"{where}: {words}")
    return found


def called(graph: Graph, node_id: str) -> str:
    """Return how a node is called in a sentence: by its title and its class."""
    return f"node '{title_of(graph, node_id)}' ({printable(graph[node_id]['class_type'])})"


@dataclass(frozen=True)
class _Inputs:
    """The inputs that a class takes, name -> its entry in /object_info, where the node's own choices have a say."""

    required: dict[str, Any]
    optional: dict[str, Any]
    hidden: dict[str, Any]
    choices: dict[str, Any]
    """Those that bring other inputs along, whichever is chosen."""

    @classmethod
    def of(cls, info: dict[str, Any], given: dict[str, Any]) -> _Inputs:
        made = cls({}, {}, _specs(info.get("input"), "hidden"), {})
        made._add(info.get("input"), given, "")
        return made

    def _add(self, described: Any, given: dict[str, Any], prefix: str) -> None:
        for kind, into in (("required", self.required), ("optional", self.optional)):
            for short, spec in _specs(described, kind).items():
                name, options = f"{prefix}{short}", _options(spec)
                form = spec[0] if isinstance(spec, list) and spec else None
                if form == _GROWING_LIST:
                    self._add_list(options.get("template"), name)
                elif form == _CHOICE_WITH_INPUTS:
                    self.choices[name] = spec
                    chosen = [each for each in _records(options.get("options")) if each.get("key") == given.get(name)]
                    if name in given and chosen:
                        self._add(chosen[0].get("inputs"), given, f"{name}.")
                        into[name] = spec
                elif form == _SLOT_WITH_INPUTS:
                    if name in given:
                        self._add(options.get("inputs"), given, f"{name}.")
                        into[name] = spec
                else:
                    into[name] = spec

    def _add_list(self, template: Any, name: str) -> None:
        template = template if isinstance(template, dict) else {}
        names, most, least = template.get("names"), template.get("max"), template.get("min")
        if not isinstance(names, list):
            count = most if isinstance(most, int) and 0 < most <= 100 else 0
            names = [f"{template.get('prefix')}{index}" for index in range(count)]
        kinds = [(kind, specs) for kind in ("required", "optional") if (specs := _specs(template.get("input"), kind))]
        for index, short in enumerate(names if kinds else []):
            kind, specs = kinds[0]
            needed = kind == "required" and isinstance(least, int) and index < least
            (self.required if needed else self.optional)[f"{name}.{short}"] = next(iter(specs.values()))

    @property
    def all(self) -> dict[str, Any]:
        return {**self.optional, **self.required}


def _needed(graph: Graph, infos: dict[str, Any], inputs: dict[str, _Inputs]) -> Iterator[str]:
    """Yield the nodes that the server looks into, in the graph's order: those that one needs which gives results.

    Where none gives any, the server refuses the graph as a whole; then they are all looked into.
    """
    left = [node_id for node_id in inputs if infos[graph[node_id]["class_type"]].get("output_node") is True]
    found = set(left) if left else set(inputs)
    while left:
        node_id = left.pop()
        for name, value in graph[node_id]["inputs"].items():
            source = value[0] if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) else None
            if name in inputs[node_id].all and source in inputs and source not in found:
                found.add(source)
                left.append(source)
    return (node_id for node_id in graph if node_id in found)


def _of_node(
    takes: _Inputs, node: dict[str, Any], info: dict[str, Any], where_from: WhereFrom | None, unset: set[str]
) -> Iterator[tuple[bool, str]]:
    """Yield whether the server refuses it, and the words, for each thing that is wrong with one node."""
    given, known = node["inputs"], takes.all
    for name in takes.required:
        if name not in given:
            yield True, f"the input '{printable(name)}' is missing"
    beside = {*takes.hidden, *takes.choices, *_widgets(known)}
    checks_itself = node["class_type"] in _CHECK_THEMSELVES
    for name, value in given.items():
        if name in unset or isinstance(value, list):
            continue
        if name not in known and name in takes.choices:
            yield False, _not_listed(name, value, _keys(takes.choices[name]))
        elif name not in known and name not in beside and known:
            yield False, f"the server knows no input '{printable(name)}', only {_listed(known)}, and leaves it out"
        for each, choices in _not_chosen(value, known.get(name)):
            if isinstance(each, str) and each.lower().endswith(_MODEL_SUFFIXES):
                yield not checks_itself, _no_model(name, each, choices, where_from)
            else:
                yield not checks_itself and _is_core(info), _not_listed(name, each, choices)


def _not_chosen(value: Any, spec: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each value that is not in the input's list, with the list. The editor may wrap a value, or several."""
    plain = value["__value__"] if isinstance(value, dict) and "__value__" in value else value
    several = plain if isinstance(plain, list) and _options(spec).get("multiselect") else [plain]
    choices = _choices(spec)
    yield from ((each, choices) for each in several if choices is not None and each not in choices)


def _is_core(info: dict[str, Any]) -> bool:
    module = info.get("python_module")
    return not isinstance(module, str) or _OURS.match(module) is not None


def _specs(described: Any, kind: str) -> dict[str, Any]:
    specs = described.get(kind) if isinstance(described, dict) else None
    return specs if isinstance(specs, dict) else {}


def _records(values: Any) -> list[dict[str, Any]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, list) else []


def _options(spec: Any) -> dict[str, Any]:
    return spec[1] if isinstance(spec, list) and len(spec) > 1 and isinstance(spec[1], dict) else {}


def _keys(spec: Any) -> list[Any]:
    return [each.get("key") for each in _records(_options(spec).get("options"))]


def _widgets(specs: dict[str, Any]) -> set[str]:
    """Inputs that a choice brings along: VideoHelperSuite lists them beside its formats."""
    names = set()
    for spec in specs.values():
        formats = _options(spec).get("formats")
        for widgets in formats.values() if isinstance(formats, dict) else []:
            listed = widgets if isinstance(widgets, list) else []
            names |= {each[0] for each in listed if isinstance(each, list) and each and isinstance(each[0], str)}
    return names


def _choices(spec: Any) -> list[Any] | None:
    """Return the values that an input may have, None where that is no list or is asked for elsewhere."""
    options = _options(spec)
    if any(key.endswith("_upload") and options[key] for key in options) or "remote" in options:
        return None
    if isinstance(spec, list) and spec and isinstance(spec[0], list):
        return spec[0]
    if isinstance(spec, list) and spec and spec[0] == _COMBO:
        listed = options.get("options")
        return listed if isinstance(listed, list) else None
    return None


def _no_model(name: str, value: str, choices: list[Any], where_from: WhereFrom | None) -> str:
    source = where_from(value.rsplit("/", 1)[-1]) if where_from else None
    return (
        f"the server has no model file '{printable(value)}' for '{printable(name)}' (it has {_listed(choices)}); "
        f"{source or 'put it into the models folder of that server'}"
    )


def _not_listed(name: str, value: Any, choices: list[Any]) -> str:
    return f"'{printable(name)}' cannot be {printable(repr(value))}, only {_listed(choices)}"


def _listed(values: Iterable[Any]) -> str:
    named = [printable(value) for value in values]
    shown = ", ".join(named[:_SHOWN])
    return f"{shown} and {len(named) - _SHOWN} more" if len(named) > _SHOWN else shown or "none"
