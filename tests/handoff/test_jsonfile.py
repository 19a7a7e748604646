"""The door for JSON: what it takes comes back as Python's own reader has it, the rest is one sentence."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handoff import jsonfile
from handoff.errors import InputError, MissingFileError
from handoff.jsonfile import (
    Check,
    JsonError,
    anything,
    listing,
    mapping,
    number,
    one_of,
    or_null,
    parse_json,
    read_head,
    read_json,
    read_list,
    record,
    text,
    truth,
    whole,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-32-be")


def parse(data: bytes | str, shape: Check = anything, **more: Any) -> Any:
    return parse_json(data, "a.json", shape, advice="make it again", **more)


def write(folder: Path, data: bytes | str) -> Path:
    path = folder / "a.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def frames_of(path: Path, shape: Check = anything) -> list[Any]:
    return list(read_list(path, "frames", shape, advice="make it again"))


@settings(max_examples=200)
@given(DOCUMENTS, st.booleans(), st.sampled_from(ENCODINGS))
def test_what_is_json_comes_back(document: Any, plain: bool, encoding: str) -> None:
    data = json.dumps(document, ensure_ascii=plain).encode(encoding)
    assert parse(data) == document


@settings(max_examples=200)
@given(st.lists(DOCUMENTS, max_size=8), DOCUMENTS, st.sampled_from([None, 1, 4]), st.sampled_from(ENCODINGS), st.data())
def test_a_list_comes_back_record_by_record_wherever_its_pieces_end(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[Any],
    head: Any,
    indent: int | None,
    encoding: str,
    data: Any,
) -> None:
    document = {"head": head, "frames": records, "tail": head}
    path = write(tmp_path_factory.mktemp("list"), json.dumps(document, indent=indent).encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonfile, "_PIECE", data.draw(st.integers(4, 200)))
        assert read_head(path, "frames", advice="x") == {"head": head}
        assert frames_of(path) == records


@settings(max_examples=500)
@given(st.binary(max_size=60) | st.text(st.sampled_from('{}[]",:\\u0dD8 1e9.-tfn\n'), max_size=60).map(str.encode))
def test_no_bytes_end_in_anything_but_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        expected = json.loads(data)
    except ValueError:
        with pytest.raises(JsonError, match=r"a\.json cannot be used: .*; make it again\."):
            parse(data)
    else:
        try:
            assert parse(data) == expected
        except JsonError as error:  # what Python's own reader takes and the door does not
            assert any(each in str(error) for each in ("too large", "finite", "surrogate", "twice"))
    path = write(tmp_path_factory.mktemp("bytes"), b'{"frames": [' + data + b"]}")
    try:
        frames_of(path)
    except JsonError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"b":[', '[{"\\"[":'])
@pytest.mark.parametrize("size", [200_000, 2_000_000])
def test_deep_nesting_is_refused_before_anything_is_built(tmp_path: Path, opening: str, size: int) -> None:
    deep = opening * (size // len(opening))
    in_a_list = write(tmp_path, '{"schema": 1, "frames": [' + deep)
    tracemalloc.start()
    for read in (
        lambda: parse(deep),
        lambda: frames_of(in_a_list),
        lambda: read_head(write(tmp_path, '{"schema": ' + deep), "frames", advice="x"),
    ):
        with pytest.raises(JsonError, match="more than 64 objects and lists within each other"):
            read()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * size + 10_000_000


@pytest.mark.parametrize("piece", ['\\"', "\\\\", "a\\n", "[", "\\u4e2d"])
def test_a_text_of_any_letters_takes_little_memory(piece: str) -> None:
    """The longest that is taken, and one that nothing ends."""
    text = '"' + piece * ((jsonfile.LARGEST - 2) // len(piece.encode()))
    for data in (text + '"', text):
        tracemalloc.start()
        with contextlib.suppress(JsonError):
            parse(data)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 400_000_000


def test_the_deepest_that_is_taken(tmp_path: Path) -> None:
    assert parse("[" * 64 + "]" * 64)
    assert frames_of(write(tmp_path, '{"frames": [' + "[" * 62 + "]" * 62 + "]}"))
    brackets = json.dumps("[{" * 5000)
    assert parse(brackets) == "[{" * 5000, "what stands in a text is no nesting"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[" + "[]," * 1_100_000 + "[]]", "more than 1000000 values"),
        ('"' + "x" * jsonfile.LARGEST, f"more than {jsonfile.LARGEST} bytes"),
        ('"' + '\\"' * 4_000_000, "Unterminated string"),
    ],
)
def test_what_is_too_much_is_refused(data: str, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        parse(data)


@pytest.mark.parametrize(
    "record_text",
    ['"' + "x" * 9_000_000 + '"', "[" + "1," * 5_000_000 + "1]", '{"a": "' + '\\"' * 5_000_000 + '"}', "1" * 9_000_000],
)
def test_a_record_that_is_too_large_is_refused_before_it_is_all_there(tmp_path: Path, record_text: str) -> None:
    path = write(tmp_path, '{"frames": [1, ' + record_text + "]}")
    records = read_list(path, "frames", advice="make it again")
    assert next(records) == 1
    with pytest.raises(JsonError, match=rf"frames\[1\] has more than {jsonfile.LARGEST_RECORD} characters"):
        next(records)
    with pytest.raises(JsonError, match="more than"):
        read_head(write(tmp_path, '{"a": ' + record_text + ', "frames": []}'), "frames", advice="x")


def test_a_head_of_many_keys_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "{" + "".join(f'"k{i}": 0,' for i in range(2000)) + '"frames": []}')
    with pytest.raises(JsonError, match="more than 1000 keys"):
        read_head(path, "frames", advice="x")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"a": {"b": [0, NaN]}}', r"a\.b\[1\] is NaN, which is no finite number"),
        ('{"a": -Infinity}', r"a is -Infinity"),
        ('{"a": 1e999}', "a is 1e999, which is too large for a number"),
        ('{"a": 1' + "0" * 5000 + "}", "a is 10000.*too large for a whole number"),
        ('{"a": [{"b": 1, "c": 2, "b": 3}]}', r"a\[0\] has the key 'b' twice"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('{"a": ["\\ud800"]}', r"a\[0\] has half of a surrogate pair"),
        ('{"x\\udfff": 1}', "surrogate"),
        ("[1,]", "not JSON"),
        (" ", "not JSON"),
        ("{'a': 1}", "not JSON"),
        ('{"a": 1} 2', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b"\x00\x00\x00", "not JSON"),
        ('{"a": "\x00"}', "not JSON"),
    ],
)
def test_what_python_would_take_or_end_in_is_refused_with_its_place(
    tmp_path: Path, data: str | bytes, message: str
) -> None:
    with pytest.raises(JsonError, match=message):
        parse(data)
    record_bytes = data if isinstance(data, bytes) else data.encode()
    with pytest.raises(JsonError, match=message if message.startswith("not") else rf"frames\[0\].*{message}"):
        frames_of(write(tmp_path, b'{"frames": [' + (record_bytes.strip() or b",") + b"]}"))


def test_pairs_of_surrogates_and_bytes_of_file_names_are_taken() -> None:
    assert parse('"\\ud83d\\ude00"') == "\U0001f600"
    assert parse(json.dumps(os.fsdecode(b"caf\xe9.mp4"))) == "caf\udce9.mp4"


def test_infinite_numbers_are_taken_where_that_is_asked_for() -> None:
    low, high, none = parse("[-Infinity, 1e999, NaN]", finite=False)
    assert (low, high) == (-math.inf, math.inf) and math.isnan(none)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[]", "a list of 0"),
        ('{"frames": {}}', "frames is an object, and must be a list"),
        ('{"frames": null}', "frames is null"),
        ('{"other": []}', "has no 'frames'"),
        ('{"frames": [] "b": 1}', "not JSON"),
        ('{"frames": [], "frames": []}', "'frames' twice"),
        ('{"frames": []', "not JSON"),
        ('{"frames": [1 2]}', "not JSON"),
        ('{"frames": [1]}}', "not JSON"),
        ("{1: [1]}", "not JSON"),
        ('{"frames": [tru', "not JSON"),
        ('{"frames": [1, 2', "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_file_without_the_list_is_refused(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(JsonError, match=message):
        frames_of(write(tmp_path, data))


SHAPE = record(
    {
        "schema": one_of(1, 2),
        "stages": mapping(
            record({"outputs": listing(record({"path": text(r"[^/].*", "a relative path")}))}), r"[a-z]+"
        ),
    },
    {"fps": or_null(number(1, 60)), "frames": whole(1, 9), "on": truth, "box": listing(number(), 4, 4)},
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        ({"fps": None, "frames": 9, "on": False, "box": [1, 2.5, 3, 4], "more": [1]}, None),
        ({"schema": 3}, "schema is 3, and must be 1 or 2"),
        ({"schema": True}, "schema is true, and must be 1 or 2"),
        ({"schema": 1.0}, r"schema is 1\.0"),
        ({"fps": 61}, "fps is 61, and must be a number from 1 to 60"),
        ({"fps": "30"}, "fps is '30'"),
        ({"fps": True}, "fps is true"),
        ({"frames": 2.0}, r"frames is 2\.0, and must be a whole number from 1 to 9"),
        ({"on": 1}, "on is 1, and must be true or false"),
        ({"box": [1, 2, 3]}, "box is a list of 3, and must be a list of 4"),
        ({"box": [1, 2, 3, None]}, r"box\[3\] is null, and must be a number"),
        ({"stages": {}}, None),
        ({"stages": []}, "stages is a list of 0, and must be an object"),
        ({"stages": {"B B": 1}}, "stages has the key 'B B'"),
        ({"stages": {"a": {}}}, r"stages\.a has no 'outputs'"),
        (
            {"stages": {"a": {"outputs": [{"path": "x"}, {"path": "/x"}]}}},
            r"stages\.a\.outputs\[1\]\.path is '/x', and must be a relative path",
        ),
        ({"stages": {"a": {"outputs": [{"path": "y" * 200_000}]}}}, r"path is 'yyyy[y]*\.\.\.', and"),
    ],
)
def test_a_shape_is_held_to_at_its_place(change: dict[str, Any], message: str | None) -> None:
    data = json.dumps({"schema": 1, "stages": {}} | change)
    if message is None:
        assert parse(data, SHAPE) == json.loads(data)
        return
    with pytest.raises(JsonError, match=f"a.json cannot be used: .*{message}.*; make it again\\.") as caught:
        parse(data, SHAPE)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_record_of_a_list_is_held_to_its_shape(tmp_path: Path) -> None:
    path = write(tmp_path, '{"frames": [{"a": 1}, {"a": "b"}]}')
    with pytest.raises(JsonError, match=r"frames\[1\]\.a is 'b'"):
        frames_of(path, record({"a": whole()}))


def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("1")
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "pipe or a device"),
        (Path("/dev/zero"), "pipe or a device"),
        (tmp_path / "loop", "lead in a circle"),
        (tmp_path / ("x" * 300), "name is too long"),
        (tmp_path / "file" / "below", "part of the path is a file"),
        (tmp_path / "a\0b", "NUL"),
    ):
        with pytest.raises(InputError, match=message):
            read_json(path, advice="x")
        with pytest.raises(InputError, match=message):
            read_head(path, "frames", advice="x")
        with pytest.raises(InputError, match=message):
            frames_of(path)
    with pytest.raises(MissingFileError, match="there is no file"):
        read_json(tmp_path / "none.json", advice="x")
