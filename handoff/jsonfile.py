"""The one door for JSON that comes from outside: bounded while it is read, strict, and of the shape that is needed.

In reading order: the two ways in, a whole document (`read_json`, `parse_json`) and a long list record by record
(`read_head`, `read_list`); what a document must be (`record`, `listing`, `text`, ... and `check_json`); then how it is
read. A document that cannot be taken is a JsonError, one sentence with the file, the place in it and the value there.

Refused while reading, before anything is built: more bytes, more values or deeper nesting than the limits, and what is
no plain file. Refused after: NaN, Infinity and whole numbers of many digits, a key that stands twice in an object, and
half of a surrogate pair. UTF-8 is the rule; UTF-16 and UTF-32 are recognised, and a byte order mark is skipped.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from handoff.errors import InputError, MissingFileError, unusable_path
from handoff.links import open_unlinked

LARGEST = 16 * 2**20
"""Bytes of a document where nothing else is said."""
MOST_VALUES = 1_000_000
"""Values of a document."""
LARGEST_RECORD = 4 * 2**20
"""Characters of one record of a long list."""
DEEPEST = 64
"""Objects and lists within each other."""


class JsonError(InputError):
    """A JSON document that cannot be read, or is not of the shape that is needed."""


Check = Callable[[Any, str], None]
"""Looks at a value at a place such as "stages.ingest.outputs[0]"; raises `Unfit` where it is not what is needed."""


class Unfit(ValueError):
    """What is wrong with a document, at which place ("" for all of it): the middle of a JsonError's sentence."""

    def __init__(self, place: str, wrong: str) -> None:
        super().__init__(f"{place} {wrong}" if place else f"it {wrong}")


def anything(_value: Any, _place: str) -> None:
    """Take every value."""


def read_json(
    path: Path,
    shape: Check = anything,
    *,
    advice: str,
    largest: int = LARGEST,
    most: int = MOST_VALUES,
    finite: bool = True,
) -> Any:
    """Return the document in a file, of the shape `shape`.

    advice: what to do where it cannot be taken, the end of the sentence. largest: bytes at most. most: values at most.
    finite: whether NaN and Infinity are refused; where they are not, as in a server's answers, neither is anything else
    that Python's own json takes (numbers of any size, a key that stands twice, half of a surrogate pair).
    Raises MissingFileError, or JsonError.
    """
    data = read_bytes(path, advice=advice, largest=largest)
    return parse_json(data, str(path), shape, advice=advice, largest=largest, most=most, finite=finite)


def read_bytes(path: Path, *, advice: str, largest: int = LARGEST) -> bytes:
    """Return the bytes of a plain file; raises as `read_json` where it is none, or has more than `largest` of them."""
    with _told(str(path), advice), _open(path, largest) as file:
        return file.read(largest + 1)


def parse_json(
    data: bytes | str,
    name: str,
    shape: Check = anything,
    *,
    advice: str,
    largest: int = LARGEST,
    most: int = MOST_VALUES,
    finite: bool = True,
) -> Any:
    """Return the document in `data`, as `read_json`; name: what the sentence calls it."""
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    with _told(name, advice):
        if len(data) > largest:
            raise _too_long(largest)
        value = _parse(data, most, finite)
        shape(value, "")
        return value


def check_json(value: Any, name: str, shape: Check, *, advice: str, place: str = "") -> None:
    """Raise JsonError unless a value that has been read has that shape; place: where in the document `name` it is."""
    with _told(name, advice):
        shape(value, place)


def read_head(path: Path, until: str, shape: Check = anything, *, advice: str) -> dict[str, Any]:
    """Return what stands in the file's object before the key `until`; raises as `read_json`.

    until: the key of a long list, which need not be there.
    """
    with _told(str(path), advice), _open(path) as file:
        head: dict[str, Any] = {}
        reader = _Reader(file)
        for name in reader.members():
            if name == until:
                break
            head[name] = reader.value(name)
            if reader.position > LARGEST_RECORD:
                raise Unfit("", f"has more than {LARGEST_RECORD} characters before '{until}'")
        shape(head, "")
        return head


def read_list(path: Path, key: str, shape: Check = anything, *, advice: str) -> Iterator[Any]:
    """Yield the records of the list `key` in the file's object, in order, one in memory at a time.

    shape: of each record. Raises as `read_json`, also where the list is not there and where nothing ends it.
    """
    with _told(str(path), advice), _open(path) as file:
        reader, found = _Reader(file), False
        for name in reader.members():
            if name != key:
                reader.value(name)
                continue
            found = True
            for index, value in enumerate(reader.items(key)):
                shape(value, f"{key}[{index}]")
                yield value
        reader.end()
        if not found:
            raise Unfit("", f"has no '{key}'")


# What a document must be: each function returns a Check.


def record(needed: Mapping[str, Check], maybe: Mapping[str, Check] | None = None) -> Check:
    """An object with the keys `needed`, and perhaps `maybe`; other keys are nobody's concern."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _not(value, place, "an object")
        for key, each in needed.items():
            if key not in value:
                raise Unfit(place, f"has no '{key}'")
            each(value[key], below(place, key))
        for key, each in (maybe or {}).items():
            if key in value:
                each(value[key], below(place, key))

    return check


def mapping(of: Check, keys: str = r".*", what: str = "a key that is expected") -> Check:
    """An object of any keys that match the pattern `keys`, all values alike; what: what such a key is, for people."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, dict):
            raise _not(value, place, "an object")
        for key, each in value.items():
            if not re.fullmatch(keys, key, re.DOTALL):
                raise Unfit(place, f"has the key {shown(key)}, which is not {what}")
            of(each, below(place, key))

    return check


def listing(of: Check = anything, least: int = 0, most: int = MOST_VALUES) -> Check:
    """A list of `least` to `most` values, all alike."""
    wanted = f"a list of {least}" if least == most else f"a list of {least} to {most}" if least else "a list"

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise _not(value, place, wanted)
        for index, each in enumerate(value if of is not anything else ()):
            of(each, f"{place}[{index}]")

    return check


def text(pattern: str = r".*", what: str = "a text", most: int = 100_000) -> Check:
    """A text of at most `most` characters that matches `pattern` as a whole; what: what such a text is, for people."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or len(value) > most or not re.fullmatch(pattern, value, re.DOTALL):
            raise _not(value, place, what)

    return check


def one_of(*values: str | int | None) -> Check:
    """One of these values."""

    def check(value: Any, place: str) -> None:
        if not any(type(value) is type(each) and value == each for each in values):
            raise _not(value, place, " or ".join(shown(each) for each in values))

    return check


def whole(least: int = -(2**53), most: int = 2**53) -> Check:
    """A whole number from `least` to `most`, written without a point."""

    def check(value: Any, place: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise _not(value, place, f"a whole number from {least} to {most}")

    return check


def number(least: float = -math.inf, most: float = math.inf) -> Check:
    """A number from `least` to `most`."""
    wanted = "a number" if math.isinf(least) and math.isinf(most) else f"a number from {least:g} to {most:g}"

    def check(value: Any, place: str) -> None:
        if type(value) not in (int, float) or not least <= value <= most or math.isinf(value):
            raise _not(value, place, wanted)

    return check


def truth(value: Any, place: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise _not(value, place, "true or false")


def or_null(check: Check) -> Check:
    """Null, or what `check` takes."""
    return lambda value, place: None if value is None else check(value, place)


SHA256 = text(r"[0-9a-f]{64}", "a SHA-256, 64 hexadecimal digits")
RATE = text(r"[1-9][0-9]{0,8}/[1-9][0-9]{0,8}", "a rate such as 30000/1001")
LINE = text(r"[^\x00-\x1f\x7f-\x9f]*", "one line of text")
BOX = listing(number(-1e6, 1e6), 4, 4)
"""x1, y1, x2, y2, px."""


def below(place: str, key: str) -> str:
    """Return the place of a key of the object at `place`."""
    if re.fullmatch(r"[\w-]{1,60}", key):
        return f"{place}.{key}" if place else key
    return f"{place}[{shown(key)}]"


def shown(value: Any) -> str:
    """Write a value for a sentence, on one line and short, as JSON names it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str):
        return ascii(value if len(value) <= 60 else f"{value[:57]}...")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _not(value: Any, place: str, wanted: str) -> Unfit:
    return Unfit(place, f"is {shown(value)}, and must be {wanted}")


# How it is read.


@contextlib.contextmanager
def _told(name: str, advice: str) -> Iterator[None]:
    try:
        yield
    except Unfit as error:
        raise JsonError(f"{name} cannot be used: {error}; {advice}.") from error


@contextlib.contextmanager
def _open(path: Path, largest: int | None = None) -> Iterator[BinaryIO]:
    """Open a plain file; a pipe or a device, which might never end, is none. largest: bytes at most."""
    try:
        descriptor = open_unlinked(path)
    except FileNotFoundError as error:
        raise MissingFileError(f"there is no file {path}; check the path.") from error
    except (OSError, ValueError) as error:
        raise unusable_path(error, path) from error
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and (largest is None or found.st_size <= largest):
        with os.fdopen(descriptor, "rb") as file:
            yield file
        return
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise _too_long(largest)
    raise Unfit("", f"is {'a folder' if stat.S_ISDIR(found.st_mode) else 'a pipe or a device'}, and must be a file")


def _too_long(largest: int | None) -> Unfit:
    return Unfit("", f"has more than {largest} bytes")


def _not_json(why: object) -> Unfit:
    return Unfit("", f"is not JSON ({why})")


def _parse(data: bytes, most: int, finite: bool) -> Any:
    with _decoding_errors():
        document = data.decode(json.detect_encoding(data))
    meter = _Meter()
    meter.feed(document)
    if meter.values > most:
        raise Unfit("", f"has more than {most} values")
    decoder = _Decoder(finite)
    try:
        value = decoder.decode(document)
    except json.JSONDecodeError as error:
        raise _not_json(error) from error
    decoder.check(value, "", document)
    return value


@contextlib.contextmanager
def _decoding_errors() -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise Unfit("", f"is not {error.encoding.upper()} ({error.reason})") from error


_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|(\\?\Z))', re.DOTALL)
"""A string, or as its group 1 the end of the text within one."""
_NO_BRACKETS = re.compile(r"[^][{}]+")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


class _Meter:
    """How deep a text that comes in pieces goes, and how many values it has at most, before it is parsed."""

    def __init__(self) -> None:
        self.values = 0
        self._depth = 0
        self._string = ""  # one that has begun and has not ended yet

    def feed(self, piece: str) -> None:
        """Look at the next piece; raise Unfit where more than DEEPEST objects and lists are open."""
        text, self._string = self._string + piece, ""

        def begun(found: re.Match[str]) -> str:
            if found.lastindex:
                self._string = found.group()
            return ""

        bare = _STRING.sub(begun, text)
        brackets = _NO_BRACKETS.sub("", bare)
        self.values += bare.count(",") + len(brackets)
        for start in range(0, len(brackets), _PIECE):
            depths = list(accumulate(map(_STEPS.__getitem__, brackets[start : start + _PIECE]), initial=self._depth))
            if max(depths) > DEEPEST:
                raise Unfit("", f"has more than {DEEPEST} objects and lists within each other")
            self._depth = depths[-1]


@dataclass(frozen=True)
class _Bad:
    """Stands where a value does that cannot be taken, so that its place can be said."""

    wrong: str


_GONE = object()
_MOST_DIGITS = 40


class _Decoder(json.JSONDecoder):
    """Python's decoder; what cannot be taken becomes a `_Bad`, which `check` finds."""

    def __init__(self, finite: bool) -> None:
        super().__init__(
            object_pairs_hook=self._object if finite else dict,
            parse_constant=self._constant if finite else float,
            parse_float=self._float if finite else float,
            parse_int=self._int if finite else self._any_int,
        )
        self._finite = finite
        self._bad = False

    def _refuse(self, wrong: str) -> _Bad:
        self._bad = True
        return _Bad(wrong)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Bad:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        left = dict(pairs)
        twice = next(name for name, _ in pairs if left.pop(name, _GONE) is _GONE)
        return self._refuse(f"has the key {shown(twice)} twice")

    def _constant(self, literal: str) -> _Bad:
        return self._refuse(f"is {literal}, which is no finite number")

    def _float(self, literal: str) -> float | _Bad:
        value = float(literal)
        return value if math.isfinite(value) else self._refuse(f"is {literal[:40]}, which is too large for a number")

    def _int(self, literal: str) -> int | _Bad:
        if len(literal) <= _MOST_DIGITS:
            return int(literal)
        return self._refuse(f"is {literal[:_MOST_DIGITS]}..., which is too large for a whole number")

    def _any_int(self, literal: str) -> int | float:
        return int(literal) if len(literal) <= _LONGEST_INT else float(literal)

    def check(self, value: Any, place: str, source: str) -> None:
        """Raise Unfit, with its place below `place`, for what cannot be taken in a value that was read from `source`.

        What stands for the bytes of a file name that is no UTF-8 (U+DC80 to U+DCFF, as Python has them) is taken.
        """
        texts = self._finite and _SURROGATE.search(source) is not None
        if self._bad or texts:
            self._bad = False
            _check_values(value, place, texts)


_LONGEST_INT = 300
"""Digits: what has no more is a finite float too."""
_SURROGATE = re.compile(r"\\u[dD]")


def _check_values(value: Any, place: str, texts: bool) -> None:
    if isinstance(value, _Bad):
        raise Unfit(place, value.wrong)
    if isinstance(value, dict):
        for key, each in value.items():
            _check_values(key, place, texts)
            _check_values(each, below(place, key), texts)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            _check_values(each, f"{place}[{index}]", texts)
    elif texts and isinstance(value, str):
        try:
            value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise Unfit(place, f"has half of a surrogate pair (character {error.start})") from error


_PIECE = 2**16  # characters, or bytes
_SPACE = re.compile(r"[ \t\n\r]*")
_MAYBE_A_NUMBER = re.compile(r"[-+.eE0-9]*")
"""What may stand between a number and the end of the piece, where the number goes on in the next one."""
_LONGEST_WORD = 16  # characters: what is cut off by the end of a piece is no error yet
_MOST_KEYS = 1000  # of the object that has a long list in it


class _Reader:
    """A file's text, read in pieces, as far as the next value needs."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        first = file.read(_PIECE)
        self._bytes = codecs.getincrementaldecoder(json.detect_encoding(first))()
        self._meter, self._decoder = _Meter(), _Decoder(finite=True)
        self._text, self._at, self._before = "", 0, 0
        self._add(first)

    @property
    def position(self) -> int:
        """How many characters have been used."""
        return self._before + self._at

    def members(self) -> Iterator[str]:
        """Yield the keys of the object that comes next; the value of each is to be read before the next key."""
        if self._next() not in ("{", ""):
            raise _not(self.value(""), "", "an object")
        self._take("{")
        names: set[str] = set()
        if self._next() == "}":
            self._take("}")
            return
        while True:
            name = self.value("")
            if not isinstance(name, str):
                raise _not_json(f"{shown(name)} stands where a key should, character {self.position}")
            if name in names:
                raise Unfit("", f"has the key {shown(name)} twice")
            names.add(name)
            if len(names) > _MOST_KEYS:
                raise Unfit("", f"has more than {_MOST_KEYS} keys")
            self._take(":")
            yield name
            if self._take(",}") == "}":
                return

    def items(self, place: str) -> Iterator[Any]:
        """Yield the values of the list that comes next, which is at `place`."""
        if self._next() != "[":
            raise _not(self.value(place), place, "a list")
        self._take("[")
        if self._next() == "]":
            self._take("]")
            return
        index = 0
        while True:
            yield self.value(f"{place}[{index}]")
            index += 1
            if self._take(",]") == "]":
                return

    def value(self, place: str) -> Any:
        """Return the value that comes next, which is at `place`."""
        self._next()
        while True:
            end, wrong = -1, None
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                wrong = error
                in_midst = len(self._text) - error.pos > _LONGEST_WORD and not error.msg.startswith("Unterminated")
                if in_midst:
                    raise self._error(error) from error
            if end >= 0 and not _MAYBE_A_NUMBER.fullmatch(self._text, end):
                break
            if len(self._text) - self._at > LARGEST_RECORD:
                raise Unfit(place, f"has more than {LARGEST_RECORD} characters")
            if not self._more():
                if wrong is not None:
                    raise self._error(wrong) from wrong
                break
        self._decoder.check(value, place, self._text[self._at : end])
        self._at = end
        return value

    def end(self) -> None:
        """Raise Unfit where something more comes."""
        if self._next():
            raise _not_json(f"something stands after its end, character {self.position}")

    def _error(self, error: json.JSONDecodeError) -> Unfit:
        return _not_json(f"{error.msg}: character {self._before + error.pos}")

    def _take(self, wanted: str) -> str:
        found = self._next()
        if not found or found not in wanted:
            seen = f"{shown(found)} stands" if found else "it ends"
            raise _not_json(f"{seen} where {' or '.join(wanted)} should be, character {self.position}")
        self._at += 1
        return found

    def _next(self) -> str:
        """Return the next character that is no space, which stays where it is; "" at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        piece = self._file.read(max(_PIECE, len(self._text)))
        self._add(piece)
        return bool(piece)

    def _add(self, piece: bytes) -> None:
        with _decoding_errors():
            text = self._bytes.decode(piece, final=not piece)
        self._meter.feed(text)
        self._text, self._before, self._at = self._text[self._at :] + text, self.position, 0
