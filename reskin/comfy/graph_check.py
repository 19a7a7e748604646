"""Compare a graph with a server's own description of its nodes, /object_info, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from reskin.workflow import Graph, title_of

Describe = Callable[[str], Any]
_SHOWN = 6
_MODEL_SUFFIXES = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".sft")
_DYNAMIC = "COMFY_DYNAMICCOMBO_V3"


def find_problems(
    graph: Graph,
    describe: Describe,
    where_from: Callable[[str], str | None] | None,
    later: Collection[tuple[str, str]] = (),
) -> list[str]:
    """Return a sentence for each thing that the server cannot do, each with the node's title.

    describe: a class's entry in /object_info, None where there is none. where_from: where to get a model file, or None.
    later: (node id, input) whose values come later, so that they are not looked at yet; nor is a file to upload, or a
    value that comes from another node.
    """
    problems = []
    for node_id, node in graph.items():
        class_type, where = node["class_type"], f"node '{title_of(graph, node_id)}' ({node['class_type']})"
        info = describe(class_type)
        if info is None:
            problems.append(f"{where}: the server has no such node class; update it or install the package it is from")
            continue
        unset = {name for each, name in later if each == node_id}
        problems += [f"{where}: {problem}" for problem in _node_problems(info, node["inputs"], where_from, unset)]
    return problems


def _node_problems(
    info: dict[str, Any], inputs: dict[str, Any], where_from: Callable[[str], str | None] | None, unset: set[str]
) -> Iterator[str]:
    required, optional = _specs(info, "required"), _specs(info, "optional")
    hidden = (info.get("input") or {}).get("hidden") or {}
    extra = _widgets({**required, **optional})
    for name, spec in list(required.items()):
        if name not in inputs and not _is_autogrow(spec):
            yield f"the input '{name}' is missing"
    for name, value in inputs.items():
        top = name.split(".")[0]
        spec = required.get(top, optional.get(top))
        if spec is None:
            if name not in hidden and name not in extra:
                yield f"the server knows no input '{name}', only {_listed([*required, *optional])}"
        elif name == top and name not in unset and not isinstance(value, list):
            yield from _value_problems(name, value, spec, where_from)


def _specs(info: dict[str, Any], kind: str) -> dict[str, Any]:
    specs = (info.get("input") or {}).get(kind)
    return specs if isinstance(specs, dict) else {}


def _is_autogrow(spec: Any) -> bool:
    return isinstance(spec, list) and bool(spec) and spec[0] == "COMFY_AUTOGROW_V3"


def _options(spec: Any) -> dict[str, Any]:
    return spec[1] if isinstance(spec, list) and len(spec) > 1 and isinstance(spec[1], dict) else {}


def _widgets(specs: dict[str, Any]) -> set[str]:
    """Inputs that a choice brings along: VideoHelperSuite lists them beside its formats."""
    names = set()
    for spec in specs.values():
        formats = _options(spec).get("formats")
        for widgets in formats.values() if isinstance(formats, dict) else []:
            names |= {each[0] for each in widgets if isinstance(each, list) and each and isinstance(each[0], str)}
    return names


def _choices(spec: Any) -> list[Any] | None:
    """Return the values that an input may have, None where that is no list or is asked for elsewhere."""
    options = _options(spec)
    if any(key.endswith("_upload") and options[key] for key in options) or "remote" in options:
        return None
    if isinstance(spec, list) and spec and isinstance(spec[0], list):
        return spec[0]
    if isinstance(spec, list) and spec and spec[0] == "COMBO":
        listed = options.get("options")
        return listed if isinstance(listed, list) else None
    if isinstance(spec, list) and spec and spec[0] == _DYNAMIC:
        return [each.get("key") for each in options.get("options") or [] if isinstance(each, dict)]
    return None


def _value_problems(name: str, value: Any, spec: Any, where_from: Callable[[str], str | None] | None) -> Iterator[str]:
    choices = _choices(spec)
    if choices is None or value in choices:
        return
    if isinstance(value, str) and value.lower().endswith(_MODEL_SUFFIXES):
        source = where_from(value.rsplit("/", 1)[-1]) if where_from else None
        yield (
            f"the server has no model file '{value}' for '{name}' (it has {_listed(choices)}); "
            f"{source or 'put it into the models folder of that server'}"
        )
    else:
        yield f"'{name}' cannot be {value!r}, only {_listed(choices)}"


def _listed(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return f"{shown} and {len(values) - _SHOWN} more" if len(values) > _SHOWN else shown or "none"
