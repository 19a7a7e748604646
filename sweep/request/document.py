"""The sweep's file as plain values, each with its line: YAML without what hides a value or lets it be misread.

The file is read event by event with PyYAML's safe loader, and no objects are made of it. So every value has its line,
and a file that is nested without end is left where it is too deep.
"""

from __future__ import annotations

import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sweep.errors import SweepError, printable

LARGEST = 4 * 2**20
"""Bytes of a sweep's file at most."""
DEEPEST = 20
"""Lists and keys in one another at most; a sweep's file needs six."""
MOST_FAULTS = 10
"""Faults that are told at once."""
EXAMPLE = "sweep/example.yaml"

Place = tuple[str | int, ...]
"""Where a value stands: the keys, and the numbers in lists from 0, that lead to it; () is the whole file."""
Fault = tuple[int, str]
"""A line, counted from 1, and what is wrong there."""

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_MOST_DIGITS = 21
"""With a sign; the largest seed has 20."""
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """A file's values: dicts with text keys, lists, str, int, float, bool and None; text is one line each.

    name: the file as it was given, for messages. folder: where it lies, absolute. lines: each value's line; that of
    its key where it has one. written: how a value that is no text was written, such as "no" for False.
    """

    name: str
    folder: Path
    value: Any
    lines: Mapping[Place, int]
    written: Mapping[Place, str]

    def at(self, place: Place) -> Any:
        """Return the value at a place that is there."""
        value = self.value
        for each in place:
            value = value[each]
        return value

    def shown(self, place: Place) -> str:
        """Return the value at a place as a message has it: 'text', 5, no, which YAML reads as false, a list of 3."""
        value = self.at(place)
        if value is None:
            return "empty"
        if isinstance(value, dict):
            return "a group of keys"
        if isinstance(value, list):
            return f"a list of {len(value)}"
        if isinstance(value, str):
            return f"'{shortened(value)}'"
        written, word = self.written[place], str(value).lower()
        odd = isinstance(value, bool) and written.lower() != word
        return f"{written}, which YAML reads as {word}" if odd else written


def shortened(text: str) -> str:
    """Return a text for a message: of a long one the beginning."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def refusal(name: str, faults: Iterable[Fault]) -> SweepError:
    """Return what to raise for the faults of a file: one a line, in the order of their lines, at most ten."""
    told = sorted(dict.fromkeys(faults), key=lambda fault: fault[0])
    lines = [printable(f"{name}:{line}: {text}") for line, text in told[:MOST_FAULTS]]
    more = len(told) - len(lines)
    return SweepError("\n".join(lines + ([printable(f"{name}: and {more} more of them.")] if more else [])))


def read_document(path: Path) -> Document:
    """Read a file's values with their lines. Raises SweepError (2) for what is no file, no text or no plain YAML."""
    name = str(path)
    text = _text(path)
    values = _Values(name)
    try:
        loader: Any = yaml.SafeLoader(text)
        while loader.check_event():
            values.take(loader, loader.get_event())
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        told = f"the character U+{ord(text[error.position]):04X} cannot stand in a text file; take it out."
        raise refusal(name, [(line, told)]) from None
    except yaml.MarkedYAMLError as error:
        raise refusal(name, [*values.faults, _no_yaml(error)]) from None
    except (ValueError, OverflowError):  # PyYAML asks chr() and int() for whatever number stands there
        told = "the number of a letter (\\U in quotes), or of a version (%YAML), is too large; take it out."
        raise refusal(name, [(loader.get_mark().line + 1, told)]) from None
    if not values.lines or values.root is None:
        raise refusal(name, [(1, f"the file is empty; copy {EXAMPLE} and change it.")])
    if values.faults:
        raise refusal(name, values.faults)
    return Document(name, path.absolute().parent.resolve(), values.root, values.lines, values.written)


def _text(path: Path) -> str:
    """Return a plain file's text."""
    name = printable(str(path))
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe is not waited for
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(LARGEST + 1) if plain else b""
    except IsADirectoryError:
        plain = False
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "a name has no NUL in it"
        raise SweepError(f"{name}: the sweep's file cannot be read ({why}); check the path.") from None
    if not plain:
        raise SweepError(f"{name}: this is a folder, a pipe or a device; name the sweep's file, such as {EXAMPLE}.")
    if len(data) > LARGEST:
        raise SweepError(f"{name}: this has more than {LARGEST // 2**20} MiB, and is no sweep's file; check the path.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        told = f"the byte 0x{data[error.start]:02x} is no UTF-8; save the file as UTF-8."
        raise refusal(str(path), [(line, told)]) from None


def _no_yaml(error: yaml.MarkedYAMLError) -> Fault:
    """Return what is wrong where no YAML can be read."""
    mark, problem = error.problem_mark or error.context_mark, error.problem or ""
    line = mark.line + 1 if mark else 1
    if r"'\t'" in problem:
        return line, "a tab stands where YAML wants spaces; write spaces in its place."
    if problem.startswith("mapping values are not allowed"):
        return line, "a ':' stands where no key can be; put text that has ': ' in it in quotes, and check the spaces."
    said = "; ".join(each for each in (error.context, problem) if each)
    return line, f"this is no YAML ({said}); compare it with {EXAMPLE}, and put text with signs in it in quotes."


@dataclass
class _Open:
    """A list, or a group of keys, that is being read; key: the one whose value comes next, None where a key comes."""

    value: dict[str, Any] | list[Any]
    place: Place
    key: str | None = None


@dataclass
class _Values:
    """What the events of one file make; faults: values that could be misread."""

    name: str
    root: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    opened: list[_Open] = field(default_factory=list)

    def take(self, loader: Any, event: yaml.Event) -> None:
        """Take the next event; raise SweepError for what no value can be made of."""
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent) and self.lines:
            self._refuse(line, "a second document begins here (---); a sweep is one: take it out.")
        if isinstance(event, yaml.CollectionEndEvent):
            self.opened.pop()
        if not isinstance(event, yaml.NodeEvent):
            return
        self._check_node(event, line)
        wanted = self._wants_key()
        if isinstance(event, yaml.ScalarEvent):
            value, fault = _read(loader, event)
            if wanted:
                self._take_key(value, event.value, fault, line)
                return
            if fault:
                self.faults.append((line, fault))
            place = self._put(value, line)
            if not isinstance(value, str):
                self.written[place] = event.value
            return
        if wanted:
            self._refuse(line, "a list or a group of keys stands where a key should; write a name, such as prompts:.")
        if len(self.opened) >= DEEPEST:
            self._refuse(line, f"this is nested more than {DEEPEST} deep; compare it with {EXAMPLE}.")
        opened: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.opened.append(_Open(opened, self._put(opened, line)))

    def _refuse(self, line: int, text: str) -> None:
        raise refusal(self.name, [*self.faults, (line, text)])

    def _check_node(self, event: yaml.NodeEvent, line: int) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(line, f"*{shortened(str(event.anchor))} stands for what is elsewhere; write it out here.")
        if event.anchor:
            self._refuse(line, f"&{shortened(event.anchor)} names a value for later; take the name out.")
        if tag := getattr(event, "tag", None):
            told = tag.replace(_TAG, "!!", 1)
            self._refuse(line, f"the tag {shortened(told)} says how to read a value; take it out.")

    def _wants_key(self) -> bool:
        return bool(self.opened) and isinstance(self.opened[-1].value, dict) and self.opened[-1].key is None

    def _take_key(self, value: Any, written: str, fault: str | None, line: int) -> None:
        """Take a key; of one that is there twice the second value takes the place of the first, once it is told."""
        if written == "<<":
            self._refuse(line, "<< takes in the keys of another group; write them out here.")
        if not isinstance(value, str) or fault:
            self.faults.append((line, f"the key {shortened(written)} is no name; put it in quotes if it is one."))
        group = self.opened[-1]
        place = (*group.place, written)
        if isinstance(group.value, dict) and written in group.value:
            told = f"{shortened(written)} stands here and in line {self.lines[place]}; leave one of them out."
            self.faults.append((line, told))
        self.lines[place] = line
        group.key = written

    def _put(self, value: Any, line: int) -> Place:
        """Put a value where it belongs, and return its place."""
        if not self.opened:
            self.root = value
            return self._at(line)
        group = self.opened[-1]
        if isinstance(group.value, list):
            group.value.append(value)
            return self._at(line, *group.place, len(group.value) - 1)
        key, group.key = str(group.key), None
        group.value[key] = value
        return self._at(line, *group.place, key)

    def _at(self, line: int, *place: str | int) -> Place:
        self.lines.setdefault(place, line)
        return place


def _read(loader: Any, event: yaml.ScalarEvent) -> tuple[Any, str | None]:
    """Return a single value, and what is wrong with how it is written; None where nothing is."""
    text = event.value
    tag = loader.resolve(yaml.ScalarNode, text, event.implicit).removeprefix(_TAG)
    quotes = f"'{shortened(text)}' is {{}}; put it in quotes if it is text"
    if tag == "null":
        return None, None
    if tag == "bool":
        return text.lower() in ("true", "yes", "on"), None
    if tag == "timestamp":
        return text, f"{quotes.format('read as a date by YAML')}."
    if tag == "int" and _WHOLE.fullmatch(text):
        if len(text) <= _MOST_DIGITS:
            return int(text), None
        return text, f"{shortened(text)} is too large a number; write a smaller one."
    plain = event.implicit[0]
    if (tag == "float" or (tag == "str" and plain and re.search("[eE]", text))) and _DECIMAL.fullmatch(text):
        number = float(text)
        if math.isfinite(number):
            return number, None
        return text, f"{shortened(text)} is too large a number; write a smaller one."
    elif tag not in ("int", "float"):
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
            return text, f"{text[:60]!r} has a line break or a control character; write one line of plain text."
        return text, None
    return text, f"{quotes.format('read as a number in another notation by YAML')}, else write a plain number."
