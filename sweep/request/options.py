"""The options of the product's commands that a sweep's file may name, under settings:, extract: and gate:.

handoff/commands.json says what options there are. Names stand there without dashes in front, and a dash inside may be
an underscore. What the sweep itself says to a command is refused, with the key that says it instead.
"""

from __future__ import annotations

import csv
import difflib
import functools
import io
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.request.document import Document, Fault, Place, shortened

Options = Mapping[str, tuple[str, ...]]
"""What a command is given: names without the dashes in front, each with its values; () where it is a flag."""
Said = dict[str, tuple[str, ...] | None]
"""The same of one group of the file; None where the file says that an option is not given (false)."""

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ROOT / "handoff" / "commands.json"
PROGRAMS = {"settings": "generate_reskin.py", "extract": "extract_physics.py", "gate": "generate_reskin.py's gate"}
GATE = ("accept-mask", "second-judge")
"""What generate_reskin.py hands on to the gate."""
KEEP_TAKES: dict[str, Any] = {"names": ["--keep-takes"], "value": "WHICH", "choices": ["best", "all"]}
"""An option of generate_reskin.py itself, which no stage has."""
INTERNAL = ("check", "plan", "window-settings", "prompt-only", "keep-detections", "again-as")
"""Options of the stages that generate_reskin.py and extract_physics.py do not have."""
IN_ONE_CLIP = ("point", "person")
"""Options of extract_physics.py that name a place in one clip."""

_RUN_HAS_IT, _AGAIN = "it is that of the clip's run; leave it out", "what has changed is done again; leave it out"
_PROMPTS, _SEEDS = "the sweep has prompts: for all", "the sweep has seeds: for all"
OWN: Mapping[str, Mapping[str, str]] = {
    "settings": {
        "run": "a clip has run: of its own",
        "prompt": _PROMPTS,
        "prompts-file": _PROMPTS,
        "seed": _SEEDS,
        "seeds": _SEEDS,
        "window-seeds": _SEEDS,
        "until-pass": "the sweep has until_pass: for all",
        "workflow": "the sweep has workflow: for all",
        "name": "a reskin is named by its prompt and seed; leave it out",
        "take": "the best take is kept; leave it out",
        "server": "each job starts its own; leave it out",
        "mask": _RUN_HAS_IT,
        "pose": _RUN_HAS_IT,
        "force": _AGAIN,
    },
    "extract": {
        "run": "a clip has run: of its own",
        "input": "a clip has path: of its own",
        "i": "a clip has path: of its own",
        **{name: f"a clip has {name}: of its own" for name in ("bbox", "frame", "correct", "cuts", "object")},
        "select": "nobody draws a box in a sweep; a clip has bbox: of its own",
        "force": _AGAIN,
    },
    "gate": {},
}
"""What the sweep itself says to a command, by group, and what to do instead."""


@dataclass(frozen=True)
class Offered:
    """An option that the file may name. value: what its value looks like, None of a flag; multiple: may be a list."""

    name: str
    value: str | None
    choices: tuple[str, ...]
    multiple: bool


@functools.cache
def offered(group: str) -> dict[str, Offered]:
    """Return the options of settings, extract or gate, by each of their names without the dashes in front."""
    recorded = {name: command["options"] for name, command in json.loads(COMMANDS.read_text("utf-8")).items()}
    if group == "settings":
        entries = [*recorded["reskin"], KEEP_TAKES]
    elif group == "gate":
        entries = [each for each in recorded["evaluator"] if any(name.lstrip("-") in GATE for name in each["names"])]
    else:
        entries = [*recorded["tracker"], *recorded["posegen"]]  # a name that both have is the tracker's
    found: dict[str, Offered] = {}
    for each in entries:
        names = [name for name in each["names"] if name.lstrip("-") not in found]
        bare = [name.lstrip("-") for name in names]
        if names and not {*OWN[group], *INTERNAL}.intersection(bare):
            name = max(names, key=lambda each: each.startswith("--")).lstrip("-")
            multiple, choices = each.get("multiple", False), tuple(each.get("choices", ()))
            found |= dict.fromkeys(bare, Offered(name, each.get("value"), choices, multiple))
    return found


def options(given: Options) -> list[str]:
    """Return what was given as words of a command line, in the order of the names."""
    words: list[str] = []
    for name, values in sorted(given.items()):
        words += [part for value in values for part in (f"--{name}", value)] or [f"--{name}"]
    return words


def together(*said: Said) -> Options:
    """Return what groups say together; a later one has the last word, also of --no-X over --X."""
    given: dict[str, tuple[str, ...]] = {}
    for group in said:
        for name, values in group.items():
            given.pop(name, None)
            if values is not None:
                given.pop(_opposite(name), None)
                given[name] = values
    return given


def read_options(document: Document, place: Place, group: str, faults: list[Fault]) -> Said:
    """Return what the file says at a place that holds a group of options, and add what is wrong there to `faults`."""
    said: Said = {}
    lines: dict[str, int] = {}
    for written in document.at(place):
        here = (*place, written)
        line = document.lines[here]
        option = offered(group).get(written.replace("_", "-"))
        if option is None or (option.name in IN_ONE_CLIP and len(place) == 1):
            faults.append((line, _not_offered(written, group)))
            continue
        for other in (option.name, _opposite(option.name)):
            if other in lines:
                what = "" if other == option.name else f"{other} "
                told = f"{shortened(written)} stands here and {what}in line {lines[other]}; leave one of them out."
                faults.append((line, told))
        values = _values(document, here, option, faults)
        said[option.name] = values
        if values is not None:
            lines[option.name] = line
    return said


def file_from(folder: Path, text: str) -> Path:
    """Return the absolute path of a plain file that is named from `folder`; ValueError says what is wrong with it."""
    if text.startswith("~"):
        raise ValueError("~ is nobody's folder here; write the whole path")
    path = folder / text
    try:
        path = path.parent.resolve() / path.name
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}; check the path") from None
    except (OSError, RuntimeError) as error:  # Path.resolve says RuntimeError of links that lead in a circle
        why = error.strerror if isinstance(error, OSError) else "its links lead in a circle"
        raise ValueError(f"it cannot be used: {why}; check the path") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}; name a file")
    return path


def nearest(name: str, known: Mapping[str, Any]) -> str | None:
    """Return the known name that is most like this one, None where none is."""
    plain = {each.replace("-", "_"): each for each in known}
    near = difflib.get_close_matches(name[:100].lower().strip("- ").replace("-", "_"), plain, 1)
    return plain[near[0]] if near else None


def _opposite(name: str) -> str:
    return name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"


def _not_offered(written: str, group: str) -> str:
    name, said = written.replace("_", "-"), shortened(written)
    if advice := OWN[group].get(name):
        return f"the sweep itself gives {said} to {PROGRAMS[group]}; {advice}."
    if name in offered(group):
        return f"{said} is a place in one clip; write it under extract: of that clip."
    for other, program in PROGRAMS.items():
        if name in offered(other):
            return f"{said} is an option of {program}; write it under {other}:."
    if near := nearest(name, offered(group)):
        return f"{PROGRAMS[group]} has no option {said}; did you mean {near}?"
    known = ", ".join(GATE) if group == "gate" else f"{PROGRAMS[group]} --help lists them"
    return f"{PROGRAMS[group]} has no option {said}; what there is: {known}."


def _values(document: Document, place: Place, option: Offered, faults: list[Fault]) -> tuple[str, ...] | None:
    value, shown = document.at(place), document.shown(place)
    if option.value is None:
        if not isinstance(value, bool):
            faults.append((document.lines[place], f"{option.name} is {shown}; it is a flag: write true or false."))
        return () if value else None
    entries = [place]
    if isinstance(value, list):
        if not option.multiple:
            faults.append((document.lines[place], f"{option.name} is {shown}; it takes one value."))
            return None
        entries = [(*place, number) for number in range(len(value))]
    words = []
    for entry in entries:
        try:
            words.append(_word(document, entry, option))
        except ValueError as error:
            faults.append((document.lines[entry], f"{option.name} is {document.shown(entry)}; {error}."))
    return tuple(words) or None


def _word(document: Document, place: Place, option: Offered) -> str:
    """Return a value as a word of a command line; ValueError says what to do about one that cannot be."""
    value = document.at(place)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if option.value == "N":
        if not number or isinstance(value, float):
            raise ValueError("write a whole number")
        return str(value)
    if option.value in ("X", "SHARE"):
        if not number:
            raise ValueError("write a number")
        return str(value)
    if option.choices:
        if value not in option.choices:
            raise ValueError(f"write one of {', '.join(option.choices)}")
        return str(value)
    if not isinstance(value, str):
        quotes = "" if value is None or isinstance(value, list | dict) else f' in quotes, "{document.written[place]}"'
        raise ValueError(f"write {option.value}{quotes}")
    if not value.strip():
        raise ValueError(f"write {option.value}")
    if option.value == "PATH":
        return str(file_from(document.folder, value))
    return _varied(document.folder, value) if option.name == "vary" else value


def _varied(folder: Path, text: str) -> str:
    """Return a --vary, NAME=V,V, whose pictures, if it varies them, have their whole paths."""
    name, equals, rest = text.partition("=")
    option = offered("settings").get(name.strip().replace("_", "-"))
    if not equals or option is None or option.value is None:
        near = nearest(name.strip(), offered("settings"))
        raise ValueError("write NAME=V,V with an option of generate_reskin.py" + (f" such as {near}" if near else ""))
    if option.name != "reference":
        return text
    try:
        names = next(csv.reader([rest], skipinitialspace=True, strict=True), [])
    except csv.Error:
        raise ValueError("its quotes do not match") from None
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(str(file_from(folder, each)) for each in names)
    return f"reference={line.getvalue()}"
