"""What a server cannot do is said before anything is sent to it, node by node."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from handoff.weights.registry import load_registry
from reskin.comfy.errors import ServerLacks
from reskin.comfy.graph_check import GraphFindings, find_problems
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.workflow import Graph, load_workflow, where_from

SAMPLER: Graph = {
    "1": {"class_type": "Sample", "inputs": {"steps": 4, "model": ["2", 0]}, "_meta": {"title": "the sampler"}},
    "2": {"class_type": "Load", "inputs": {"file": "b.safetensors"}, "_meta": {"title": "the model"}},
}
GROWING = {"prefix": "image", "min": 1, "max": 3, "input": {"required": {"image": ["IMAGE", {}]}}}
INFO: dict[str, Any] = {
    "Sample": {"input": {"required": {"model": ["MODEL"], "steps": ["INT", {}]}, "optional": {"mask": ["MASK"]}}},
    "Load": {"input": {"required": {"file": [["a.safetensors"], {}]}, "hidden": {"prompt": "PROMPT"}}},
}


def found(graph: Graph, info: dict[str, Any] = INFO) -> GraphFindings:
    return find_problems(graph, info.get, None)


def problems(graph: Graph, info: dict[str, Any] = INFO, **options: Any) -> list[str]:
    """Of a graph that has no other findings."""
    made = find_problems(graph, info.get, options.get("where_from"))
    assert made == GraphFindings(made.problems)
    return made.problems


def with_inputs(**inputs: Any) -> Graph:
    graph = copy.deepcopy(SAMPLER)
    graph["2"]["inputs"]["file"] = "a.safetensors"
    graph["1"]["inputs"] = inputs
    return graph


def test_a_graph_that_fits_has_no_problem() -> None:
    assert problems(with_inputs(model=["2", 0], steps=4, mask=["3", 0])) == []


def test_a_class_that_the_server_lacks_is_named_with_its_node() -> None:
    (problem,) = problems(with_inputs(model=["2", 0], steps=4), {"Load": INFO["Load"]})
    assert problem.startswith("node 'the sampler' (Sample): the server has no such node class; update it or install")


def test_a_missing_input_is_a_problem_and_an_unknown_one_which_the_server_leaves_out_is_not() -> None:
    made = found(with_inputs(model=["2", 0], stepz=4))
    assert made.problems == ["node 'the sampler' (Sample): the input 'steps' is missing"]
    assert made.notices == [
        "node 'the sampler' (Sample): the server knows no input 'stepz', only mask, model, steps, and leaves it out"
    ]


def test_a_field_of_the_editors_is_a_notice_at_most() -> None:
    """The editor writes `upload` beside a file's name, and `control_after_generate` beside a seed."""
    graph = with_inputs(model=["2", 0], steps=4, control_after_generate="randomize")
    graph["2"]["inputs"]["upload"] = "image"
    made = found(graph)
    assert (made.problems, made.faults) == ([], []) and len(made.notices) == 2
    assert "'control_after_generate'" in made.notices[0] and "'upload'" in made.notices[1]


def test_a_model_file_that_is_not_there_is_named_with_where_to_get_it() -> None:
    (problem,) = problems(SAMPLER, where_from=lambda name: f"get {name} with make weights")
    assert problem == (
        "node 'the model' (Load): the server has no model file 'b.safetensors' for 'file' (it has a.safetensors); "
        "get b.safetensors with make weights"
    )
    (problem,) = problems(SAMPLER)
    assert problem.endswith("put it into the models folder of that server")


@pytest.mark.parametrize(
    ("spec", "value", "refused"),
    [
        (["COMBO", {"options": ["mp4", "webm"]}], "mp4", False),
        (["COMBO", {"options": ["mp4", "webm"]}], "avi", True),
        ([["nearest", "area"], {"default": "area"}], "bicubic", True),
        (["COMBO", {"options": [], "video_upload": True}], "to be uploaded.mp4", False),
        (["COMBO", {"remote": {"route": "/somewhere"}}], "anything", False),
        (["STRING", {}], "anything", False),
    ],
)
def test_a_choice_must_be_in_the_servers_list(spec: list[Any], value: str, refused: bool) -> None:
    graph: Graph = {"1": {"class_type": "Save", "inputs": {"kind": value, "kind.crf": 19.0}}}
    made = found(graph, {"Save": {"input": {"required": {"kind": spec}}}}).problems
    assert bool(made) is refused
    assert all(f"'kind' cannot be '{value}', only " in problem for problem in made)


def test_inputs_that_a_format_brings_along_and_lists_that_grow_are_known() -> None:
    formats = {"video/h264-mp4": [["crf", "INT", {}], ["pix_fmt", ["yuv420p"]]]}
    info = {
        "Combine": {"input": {"required": {"format": [["video/h264-mp4"], {"formats": formats}]}}},
        "Batch": {"input": {"required": {"images": ["COMFY_AUTOGROW_V3", {"template": GROWING}]}}},
    }
    graph: Graph = {
        "1": {"class_type": "Combine", "inputs": {"format": "video/h264-mp4", "crf": 19, "gop": 1}},
        "2": {"class_type": "Batch", "inputs": {"images.image0": ["1", 0]}},
    }
    assert found(graph, info) == GraphFindings(
        notices=["node 'Combine' (Combine): the server knows no input 'gop', only format, and leaves it out"]
    )


def test_only_what_a_saving_node_needs_is_looked_into() -> None:
    """The server looks at the class of every node, and at the inputs of those alone."""
    info = {**INFO, "Save": {"input": {"required": {"images": ["IMAGE"]}}, "output_node": True}}
    graph = with_inputs(model=["2", 0])
    graph["3"] = {"class_type": "Save", "inputs": {"images": ["2", 0], "beside": ["1", 0]}}
    made = found(graph, info)
    assert made.problems == [], "the sampler, whose steps are missing, is linked to an input that is left out"
    graph["3"]["inputs"]["images"] = ["1", 0]
    assert found(graph, info).problems == ["node 'the sampler' (Sample): the input 'steps' is missing"]
    del graph["3"]
    assert found(graph, info).problems, "what saves nothing at all is refused anyway"


CHOICE = {
    "options": [
        {"key": "auto", "inputs": {"required": {}}},
        {"key": "h264", "inputs": {"required": {"crf": ["FLOAT", {}], "preset": [["slow"], {}]}}},
    ]
}


@pytest.mark.parametrize(
    ("inputs", "severe", "notices"),
    [
        ({"codec": "auto"}, [], 0),
        ({}, [], 0),
        ({"codec": "h264", "codec.crf": 19, "codec.preset": "slow"}, [], 0),
        ({"codec": "h264", "codec.preset": "slow"}, ["the input 'codec.crf' is missing"], 0),
        ({"codec": "h264", "codec.crf": 19, "codec.preset": "fast"}, ["'codec.preset' cannot be 'fast', only slow"], 0),
        ({"codec": "auto", "codec.crf": 19}, [], 1),
        ({"codec": "vp9"}, [], 1),
        ({"images.image0": ["2", 0]}, [], 0),
        ({"images.image1": ["2", 0], "images.image9": ["2", 0]}, ["the input 'images.image0' is missing"], 0),
    ],
)
def test_inputs_that_a_choice_brings_along_are_asked_for_as_the_server_does(
    inputs: dict[str, Any], severe: list[str], notices: int
) -> None:
    """A choice that is not given, or that the server does not have, is no reason for it to refuse the graph."""
    spec = (
        {"images": ["COMFY_AUTOGROW_V3", {"template": GROWING}]}
        if any(name.startswith("images") for name in inputs)
        else {"codec": ["COMFY_DYNAMICCOMBO_V3", CHOICE]}
    )
    made = found({"1": {"class_type": "Save", "inputs": inputs}}, {"Save": {"input": {"required": spec}}})
    assert [problem.removeprefix("node 'Save' (Save): ") for problem in made.problems] == severe
    assert len(made.notices) == notices and made.faults == []


@pytest.mark.parametrize(
    ("spec", "value", "refused"),
    [
        ([["a"], {}], {"__value__": "a"}, False),
        ([["a"], {}], {"__value__": "b"}, True),
        (["COMBO", {"options": ["a", "b"], "multiselect": True}], {"__value__": ["b", "a"]}, False),
        (["COMBO", {"options": ["a", "b"], "multiselect": True}], {"__value__": ["c"]}, True),
        ([[1, 2], {}], 2.0, False),
        ([["a"], {}], None, True),
    ],
)
def test_a_value_is_taken_out_of_what_the_editor_wraps_it_in(spec: list[Any], value: Any, refused: bool) -> None:
    graph: Graph = {"1": {"class_type": "Save", "inputs": {"kind": value}}}
    assert bool(found(graph, {"Save": {"input": {"required": {"kind": spec}}}}).problems) is refused


@pytest.mark.parametrize(
    ("class_type", "module", "value", "severe"),
    [
        ("Some", "nodes", "x", True),
        ("Some", "comfy_extras.nodes_video", "x", True),
        ("Some", "custom_nodes.pack", "x", False),
        ("Some", "custom_nodes.pack", "x.gguf", True),
        ("LoadLatent", "nodes", "x.latent", False),
        ("CustomCombo", "comfy_extras.nodes_logic", "x.safetensors", False),
    ],
)
def test_where_a_class_may_check_its_values_itself_its_list_is_not_the_last_word(
    class_type: str, module: str, value: str, severe: bool
) -> None:
    info = {class_type: {"input": {"required": {"kind": [["a"], {}]}}, "python_module": module}}
    made = found({"1": {"class_type": class_type, "inputs": {"kind": value}}}, info)
    assert (len(made.problems), len(made.notices)) == ((1, 0) if severe else (0, 1))


@pytest.mark.parametrize(
    ("class_type", "words"),
    [
        ("Note", "is a note of the editor's, which nothing runs: remove it"),
        ("MarkdownNote", "is a note of the editor's"),
        ("Reroute", "is a bend in the editor's lines, which nothing runs: link what it feeds straight to what feeds"),
        ("PrimitiveNode", "holds a value in the editor, and nothing runs it: write the value into the inputs"),
        ("SetNode", "hands a value on by name in the editor"),
        ("workflow>my group", "is a group or subgraph of the editor's, which nothing runs: unpack it"),
        ("workflow/my group", "is a group or subgraph of the editor's"),
        ("5e4bb6ba-6b0b-4d2e-8e6f-3a4b2f0f8a11", "is a group or subgraph of the editor's"),
        ("Fast Bypasser (rgthree)", "is a switch of the editor's"),
    ],
)
def test_a_node_that_only_the_editor_has_is_named_for_what_it_is(class_type: str, words: str) -> None:
    graph = with_inputs(model=["2", 0], steps=4)
    graph["9"] = {"class_type": class_type, "inputs": {}}
    made = found(graph)
    assert made.problems == [] and len(made.faults) == 1
    assert words in made.faults[0] and made.faults[0].endswith("Export (API), which leaves such nodes out")
    assert found(graph, {**INFO, class_type: {"input": {}}}) == GraphFindings(), "where a package has such a class"


def test_a_node_that_was_muted_in_the_editor_is_said_to_run() -> None:
    graph = with_inputs(model=["2", 0], steps=4)
    graph["1"]["mode"], graph["2"]["mode"] = 4, 2
    made = found(graph)
    assert made.problems == [] and len(made.notices) == 2
    assert "is bypassed in the editor, and the server runs it all the same" in made.notices[0]


def test_a_class_that_the_server_replaces_is_no_problem() -> None:
    graph: Graph = {"1": {"class_type": "Old", "inputs": {"gone": 1}}}
    assert find_problems(graph, INFO.get, None, (), lambda name: name == "Old") == GraphFindings()


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"input": None},
        {"input": []},
        {"input": {"required": None, "optional": "x"}},
        {"input": {"required": {"steps": "INT", "model": None, "kind": [], "other": [None], "last": ["COMBO", "x"]}}},
        {"input": {"required": {"steps": ["COMFY_DYNAMICCOMBO_V3", {"options": [None, {"key": 4, "inputs": 7}]}]}}},
        {"input": {"optional": {"steps": ["COMFY_AUTOGROW_V3", {"template": {"min": "a", "max": 1e9}}]}}},
        {"input": {"optional": {"steps": ["COMFY_DYNAMICSLOT_V3", None]}}},
        {"input": {"optional": {"steps": [["a"], {"formats": {"a": 5, "b": [5, [], [7]]}}]}}},
        {"input": {"hidden": "x"}, "output_node": "yes", "python_module": 7},
    ],
)
def test_a_description_that_is_odd_is_read_as_far_as_it_goes(info: dict[str, Any]) -> None:
    graph: Graph = {"1": {"class_type": "Odd", "inputs": {"steps": 4, "x": [], "y": {"__value__": []}}}}
    assert find_problems(graph, lambda name: info, None).faults == []


def test_what_steers_a_terminal_is_said_as_an_escape() -> None:
    graph: Graph = {"1": {"class_type": "E\x1b[2J", "inputs": {}, "_meta": {"title": "t\x1b]0;\u202e"}}}
    (problem,) = problems(graph, {})
    assert problem.startswith(r"node 't\x1b]0;\u202e' (E\x1b[2J): the server has no such node class")


def test_a_model_of_the_registry_is_named_with_its_profile() -> None:
    name = next(weight for weight in load_registry().weights if "reskin" in weight.profiles).file.rsplit("/", 1)[1]
    assert where_from(name) == f"fetch it with 'make weights PROFILE=reskin', which knows {name}"
    assert where_from("nobody_knows.safetensors") is None


@pytest.mark.server
def test_a_real_server_takes_the_draft_and_refuses_what_it_cannot_run(comfy: ComfyOrchestrator) -> None:
    graph = copy.deepcopy(load_workflow("draft").graph)
    assert comfy.check(graph)[0].isdigit()
    graph["12"]["inputs"]["expant"] = graph["12"]["inputs"].pop("expand")
    graph["10"]["inputs"]["channel"] = "infrared"
    graph["99"] = {"class_type": "PaintDragons", "inputs": {}, "_meta": {"title": "dragons"}}
    graph["98"] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": "wan2.1_vace_1.3B_fp17.safetensors", "weight_dtype": "default"},
        "_meta": {"title": "the model"},
    }
    with pytest.raises(ServerLacks) as caught:
        comfy.check(graph, where_from)
    assert caught.value.exit_code == 3
    heading, *lines = str(caught.value).splitlines()
    assert f"the server at {comfy.server.address} (ComfyUI 0.30.0) cannot run this" in heading
    assert [line.strip() for line in lines] == [
        "node 'dragons' (PaintDragons): the server has no such node class; update it or install the package it is from",
        "node 'object channel' (ImageToMask): 'channel' cannot be 'infrared', only red, green, blue, alpha",
        "node 'object, grown' (GrowMask): the input 'expand' is missing",
    ], "what nothing that is saved needs, the server does not look into"
    graph = {node_id: node for node_id, node in graph.items() if node_id not in ("98", "99")} | {
        "7": {"class_type": "PreviewAny", "inputs": {"source": ["98", 0]}},
        "98": graph["98"],
    }
    with pytest.raises(
        ServerLacks, match=r"no model file 'wan2.1_vace_1.3B_fp17.safetensors' for 'unet_name' \(it has"
    ):
        comfy.check(graph, where_from)
