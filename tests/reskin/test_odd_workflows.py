"""Whatever stands in a workflow's file, it is used or refused in a sentence; what a server would run is not refused."""

from __future__ import annotations

import copy
import json
import os
import uuid
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from handoff.errors import InputError, MissingFileError, PreserverError, UsageError
from handoff.run import Run
from reskin import find_node_by_class
from reskin.comfy.graph_check import find_problems
from reskin.comfy.results import find_output
from reskin.comfy.v2v import V2VInputs, prepare
from reskin.settings import LARGEST_SEED, check_seed
from reskin.workflow import (
    PICTURES,
    PROMPT,
    SEED,
    Graph,
    Workflow,
    check_slots,
    drop,
    fill,
    graph_sha256,
    has_two_passes,
    load_workflow,
    nodes_of,
    parse_graph,
    title_of,
    unfilled,
    weights_of,
    where_from,
    window_frames,
    window_slots,
    workflow_names,
)
from tests.helpers import many
from tests.reskin.helpers import reskin
from tests.reskin.mutations import JUNK, mutated
from tests.reskin.servers import get

MakeRun = Callable[..., Run]
PLAIN: Graph = {
    "1": {"class_type": "LoadVideo", "inputs": {"file": ""}, "_meta": {"title": "source"}},
    "2": {"class_type": "GetVideoComponents", "inputs": {"video": ["1", 0]}},
    "3": {
        "class_type": "ImageAddNoise",
        "inputs": {"image": ["2", 0], "seed": 0, "strength": 0.3},
        "_meta": {"title": "sampler"},
    },
    "4": {
        "class_type": "TextOverlay",
        "inputs": {
            "images": ["3", 0],
            "text": "",
            "font_size": 20.0,
            "color": "#ffffff",
            "position": "bottom",
            "align": "center",
            "outline": True,
        },
        "_meta": {"title": "prompt"},
    },
    "5": {
        "class_type": "SaveImage",
        "inputs": {"images": ["4", 0], "filename_prefix": ""},
        "_meta": {"title": "output"},
    },
}
"""A workflow of a user's own that a server runs without a model."""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"[]", "is a list of 0, not an object of nodes"),
        (b"[1, 2]", "is a list of 2, not an object of nodes"),
        (b"{}", "is empty, not an object of nodes"),
        (b"3", "is 3, not an object of nodes"),
        (b"null", "is null, not an object of nodes"),
        (b"", "is not JSON"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\xff", "is not UTF-8"),
        (b'{"1": ', "is not JSON"),
        (b"[" * 100_000, "more than 64 objects and lists within each other"),
        (b'{"1": {"class_type": "A", "inputs": {"x": NaN}}}', r"1\.inputs\.x is NaN, which is no finite number"),
        (b'{"1": {"class_type": "A", "inputs": {"x": 1e999}}}', r"1\.inputs\.x is 1e999, which is too large"),
        (b'{"1": {"inputs": {}}}', "not in API format: its node '1' has no class_type"),
        (b'{"1": {"class_type": null, "inputs": {}}}', "its node '1' has null as its class_type, which must be a text"),
        (b'{"1": {"class_type": "A", "inputs": null}}', "its node '1' has null as its inputs, which must be an object"),
        (b'{"1": {"class_type": "A", "inputs": []}}', "its node '1' has a list of 0 as its inputs"),
        (b'{"1": null}', "its node '1' is null, and must be an object"),
        (b'{"\\u001b[2J": 5}', r"its node '\\x1b\[2J' is 5, and must be an object"),
        (b'{"nodes": [], "links": [], "version": 0.4}', "is in the editor's own format, not in API format"),
        (b'{"prompt": {"1": {"class_type": "A", "inputs": {}}}, "client_id": "x"}', "a whole request.*'prompt'"),
    ],
)
def test_what_is_no_graph_is_named_for_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=rf"^the workflow my\.json .*{words}") as caught:
        parse_graph(data, "my.json")
    assert "Export (API)" in str(caught.value) or "a whole request" in words
    assert caught.value.exit_code == 2 and str(caught.value).isprintable()


def test_what_a_server_runs_is_taken(tmp_path: Path) -> None:
    """A title that is none, a node without inputs or with more keys, a seed of 64 bits, a byte order mark."""
    graph = copy.deepcopy(PLAIN)
    graph["2"]["_meta"] = None
    graph["3"] |= {"_meta": {"title": "sampler", "more": 1}, "is_changed": [1], "mode": 0}
    graph["3"]["inputs"]["seed"] = LARGEST_SEED
    graph["6"] = {"class_type": "EmptyImage"}
    graph["7"] = {"class_type": "EmptyImage", "inputs": {}, "_meta": {"title": ["source"]}}
    read = parse_graph(b"\xef\xbb\xbf" + json.dumps(graph).encode(), "my.json")
    assert read["6"]["inputs"] == {} and read["3"]["inputs"]["seed"] == LARGEST_SEED
    assert [title_of(read, each) for each in "237"] == ["GetVideoComponents", "sampler", "EmptyImage"]
    check_slots(Workflow("my.json", read, ""), skater=False)


def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "large.json").touch()
    os.truncate(tmp_path / "large.json", 2**33)
    (tmp_path / "circle.json").symlink_to("circle.json")
    for name, words in (
        ("folder.json", "is a folder, and must be a file"),
        ("pipe.json", "is a pipe or a device, and must be a file"),
        ("large.json", "has more than 16777216 bytes"),
        ("circle.json", "its symbolic links lead in a circle"),
        ("x" * 300 + ".json", "its name is too long"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_workflow(str(tmp_path / name))
        assert caught.value.exit_code == 2
    with pytest.raises(MissingFileError, match=r"there is no workflow file .*none\.json; check the path"):
        load_workflow(str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match=r"there is no workflow 'a\\x1b\[2Jb'"):
        load_workflow("a\x1b[2Jb")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is root may read everything, so the system's refusal is made here."""
    path = tmp_path / "mine.json"
    path.write_text("{}")

    def refuse(*arguments: Any, **named: Any) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("handoff.jsonfile.os.open", refuse)
    with pytest.raises(InputError, match=r"mine\.json cannot be used: permission denied"):
        load_workflow(str(path))


def test_links_that_go_in_circles_end() -> None:
    """A text that is handed on by itself, and a chain of conditions that is longer than Python's stack."""
    chain: Graph = {
        str(index): {"class_type": "Pass", "inputs": {"conditioning": [str(index + 1), 0]}} for index in range(3000)
    }
    chain["3000"] = {"class_type": "CLIPTextEncode", "inputs": {"text": "old"}}
    chain["sampler"] = {"class_type": "KSampler", "inputs": {"positive": ["0", 0], "negative": ["9001", 0], "seed": 1}}
    chain["9001"] = {"class_type": "CLIPTextEncode", "inputs": {"text": ["9002", 0]}}
    chain["9002"] = {"class_type": "Text", "inputs": {"text": ["9001", 0], "value": ["9002", 0]}}
    chain["save"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": ""}}
    chain["load"] = {"class_type": "LoadVideo", "inputs": {"file": "x.mp4"}}
    job = prepare(chain, V2VInputs(Path(__file__), positive="new"), "x")
    assert job.graph["3000"]["inputs"]["text"] == "new"
    with pytest.raises(UsageError, match="no place for negative_prompt"):
        prepare(chain, V2VInputs(Path(__file__), negative="new"), "x")


@pytest.mark.parametrize("seed", [-1, -(2**70), LARGEST_SEED + 1, 1.0, "7", True, float("nan"), None])
def test_a_seed_that_comfyui_has_not_is_refused(seed: object) -> None:
    with pytest.raises(UsageError, match=r"--seed .* is not a whole number from 0 to 18446744073709551615; .*chance"):
        check_seed("--seed", seed)


def test_the_last_of_several_seeds_is_one_too() -> None:
    check_seed("--seed", LARGEST_SEED)
    check_seed("--seed", LARGEST_SEED - 3, 4)
    with pytest.raises(UsageError, match="nor are the 4 from there on"):
        check_seed("--seed", LARGEST_SEED - 2, 4)
    with pytest.raises(UsageError, match="seed -1 is not"):
        prepare(PLAIN, V2VInputs(Path(__file__), seed=-1), "x")


@pytest.mark.parametrize("seed", ["-1", "18446744073709551616", "1.5", "x", "nan"])
def test_the_command_refuses_such_a_seed_with_2(seed: str, make_run: MakeRun) -> None:
    with pytest.raises(Exception, match=r"is not a (whole number|valid integer)") as caught:
        reskin(make_run(2, skater=False), "--seed", seed, "--check")
    assert getattr(caught.value, "exit_code", None) == 2


TEMPLATES = {name: load_workflow(name).graph for name in workflow_names()} | {"own": PLAIN}
GRAPHS = st.sampled_from(sorted(TEMPLATES)).flatmap(lambda name: mutated(TEMPLATES[name], 4))


def use(document: Any) -> None:
    """All that is done with a workflow before a server is asked."""
    graph = parse_graph(json.dumps(document).encode(), "my.json")
    workflow = Workflow("my.json", graph, "")
    weights_of(graph)
    graph_sha256(graph)
    find_problems(graph, lambda name: None, where_from, unfilled(graph))
    for work in (
        lambda: check_slots(workflow, True),
        lambda: window_frames(graph),
        lambda: has_two_passes(graph),
        lambda: find_output(fill(graph, window_slots(dict.fromkeys(PICTURES, "x.mp4"), 5, "x"), name="my.json")),
        lambda: fill(graph, {PROMPT: {"": "a", "skater": "b", "object": "c"}, SEED: 1}),
        lambda: [drop(copy.deepcopy(graph), each) for each in graph],
        lambda: [nodes_of(graph, title) for title in PICTURES],
        lambda: find_node_by_class(graph, "KSampler"),
        lambda: prepare(graph, V2VInputs(Path(__file__), Path(__file__), "a", "b", "c", 1), "x"),
        lambda: prepare(graph, V2VInputs(Path(__file__)), "x"),
    ):
        try:
            work()
        except PreserverError as error:
            assert str(error).replace("\n", "").isprintable()


def check_document(document: Any) -> None:
    try:
        use(document)
    except PreserverError as error:
        assert error.exit_code == 2 and str(error).isprintable()


@settings(max_examples=150)
@given(document=GRAPHS | JUNK)
def test_no_workflow_is_a_fault_of_ours(document: Any) -> None:
    check_document(document)


@pytest.mark.slow
@settings(max_examples=many(5000))
@given(document=GRAPHS | JUNK)
def test_none_of_many_workflows_is_a_fault_of_ours(document: Any) -> None:
    check_document(document)


def submit(address: str, graph: Graph) -> Any:
    """What the server answers to a graph: None where it takes all of it."""
    body = {"prompt": graph, "prompt_id": str(uuid.uuid4()), "client_id": uuid.uuid4().hex}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"http://{address}/prompt", json=body, timeout=60)
    refused = answer.status_code != 200 or answer.json()["node_errors"]
    return answer.text if refused else None


@cache
def described(address: str) -> dict[str, Any]:
    return dict(get(address, "/object_info"))


@st.composite
def nearly_right(draw: st.DrawFn, infos: dict[str, Any]) -> Graph:
    """A graph of core nodes with changes such as people and editors make."""
    name = draw(st.sampled_from(("draft", "wan_vace", "wan_vace_locked", "own")))
    graph: Graph = copy.deepcopy(TEMPLATES[name])
    for _ in range(draw(st.integers(1, 3))):
        node_id = draw(st.sampled_from(sorted(graph)))
        node = graph[node_id]
        inputs = node["inputs"]
        held = draw(st.sampled_from(sorted(inputs))) if inputs else "none"
        change = draw(st.integers(0, 9))
        if change == 0:
            inputs.pop(held, None)
        elif change == 1:
            inputs[draw(st.sampled_from(("upload", "control_after_generate", "choose file", "x.y", "prompt")))] = (
                "image"
            )
        elif change == 2:
            inputs[held] = draw(JUNK)
        elif change == 3:
            inputs[held] = {"__value__": inputs.get(held)}
        elif change == 4:
            inputs[held] = [draw(st.sampled_from(sorted(graph))), draw(st.integers(0, 2))]
        elif change == 5:
            node["class_type"] = draw(st.sampled_from(sorted(infos)) | st.sampled_from(("Note", "Reroute", "Nothing")))
        elif change == 6:
            del graph[node_id]
        elif change == 7:
            class_type = draw(st.sampled_from(sorted(infos)))
            graph[f"9{node_id}"] = {"class_type": class_type, "inputs": draw(st.just({}) | st.just(dict(inputs)))}
        elif change == 8:
            choices = [
                spec[0] for spec in infos.get(node["class_type"], {"input": {}})["input"].get("required", {}).values()
            ]
            inputs[held] = draw(
                st.sampled_from([each for spec in choices if isinstance(spec, list) for each in spec] or ["x"])
            )
        else:
            node["_meta"] = draw(JUNK)
        if not graph:
            break
    return graph


def check_against(address: str, data: st.DataObject) -> None:
    infos = described(address)
    graph = data.draw(nearly_right(infos))
    try:
        graph = parse_graph(json.dumps(graph).encode(), "my.json")
    except InputError:
        assume(False)
    replaced = get(address, "/node_replacements")
    found = find_problems(graph, infos.get, None, (), lambda name: name in replaced)
    event("refused" if found.problems or found.faults else "taken")
    if found.problems or found.faults:
        assert submit(address, graph) is not None, (found.problems, found.faults)


@pytest.mark.server
def test_a_field_of_the_editors_is_run_by_a_real_server_and_by_us(
    make_run: MakeRun, comfy_server: str, tmp_path: Path
) -> None:
    graph = copy.deepcopy(PLAIN)
    graph["1"]["inputs"]["upload"] = "image"
    graph["2"]["_meta"] = None
    graph["3"]["inputs"]["control_after_generate"] = "randomize"
    graph["4"]["inputs"] |= {"font_size": "20", "position": {"__value__": "top"}}
    graph["6"] = {"class_type": "GrowMask", "inputs": {}}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(graph))
    given = ("--workflow", str(path), "--size", "80x64", "--window", "5", "--server", comfy_server)
    assert reskin(make_run(3, skater=False), *given) == 0


@pytest.mark.server
@settings(max_examples=60)
@given(data=st.data())
def test_what_we_refuse_the_real_server_refuses(data: st.DataObject, comfy_server: str) -> None:
    check_against(comfy_server, data)


@pytest.mark.server
@pytest.mark.slow
@settings(max_examples=many(3000))
@given(data=st.data())
def test_of_many_workflows_what_we_refuse_the_real_server_refuses(data: st.DataObject, comfy_server: str) -> None:
    check_against(comfy_server, data)
