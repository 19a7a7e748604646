"""What a server cannot do is said before anything is sent to it, node by node."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from handoff.weights.registry import load_registry
from reskin.comfy.errors import ServerLacks
from reskin.comfy.graph_check import find_problems
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.workflow import Graph, load_workflow, where_from

SAMPLER: Graph = {
    "1": {"class_type": "Sample", "inputs": {"steps": 4, "model": ["2", 0]}, "_meta": {"title": "the sampler"}},
    "2": {"class_type": "Load", "inputs": {"file": "b.safetensors"}, "_meta": {"title": "the model"}},
}
INFO: dict[str, Any] = {
    "Sample": {"input": {"required": {"model": ["MODEL"], "steps": ["INT", {}]}, "optional": {"mask": ["MASK"]}}},
    "Load": {"input": {"required": {"file": [["a.safetensors"], {}]}, "hidden": {"prompt": "PROMPT"}}},
}


def problems(graph: Graph, info: dict[str, Any] = INFO, **options: Any) -> list[str]:
    return find_problems(graph, info.get, options.get("where_from"))


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


def test_an_unknown_and_a_missing_input_are_named() -> None:
    assert problems(with_inputs(model=["2", 0], stepz=4)) == [
        "node 'the sampler' (Sample): the input 'steps' is missing",
        "node 'the sampler' (Sample): the server knows no input 'stepz', only model, steps, mask",
    ]


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
        (["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "auto"}, {"key": "h264"}]}], "h264", False),
        (["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "auto"}, {"key": "h264"}]}], "vp9", True),
        (["COMBO", {"options": [], "video_upload": True}], "to be uploaded.mp4", False),
        (["COMBO", {"remote": {"route": "/somewhere"}}], "anything", False),
        (["STRING", {}], "anything", False),
    ],
)
def test_a_choice_must_be_in_the_servers_list(spec: list[Any], value: str, refused: bool) -> None:
    graph: Graph = {"1": {"class_type": "Save", "inputs": {"kind": value, "kind.crf": 19.0}}}
    found = problems(graph, {"Save": {"input": {"required": {"kind": spec}}}})
    assert bool(found) is refused
    assert all(f"'kind' cannot be '{value}', only " in problem for problem in found)


def test_inputs_that_a_format_brings_along_and_lists_that_grow_are_known() -> None:
    formats = {"video/h264-mp4": [["crf", "INT", {}], ["pix_fmt", ["yuv420p"]]]}
    info = {
        "Combine": {"input": {"required": {"format": [["video/h264-mp4"], {"formats": formats}]}}},
        "Batch": {"input": {"required": {"images": ["COMFY_AUTOGROW_V3", {"template": {}}]}}},
    }
    graph: Graph = {
        "1": {"class_type": "Combine", "inputs": {"format": "video/h264-mp4", "crf": 19, "gop": 1}},
        "2": {"class_type": "Batch", "inputs": {"images.image0": ["1", 0]}},
    }
    assert problems(graph, info) == ["node 'Combine' (Combine): the server knows no input 'gop', only format"]


def test_a_model_of_the_registry_is_named_with_its_profile() -> None:
    name = next(weight for weight in load_registry().weights if "reskin" in weight.profiles).file.rsplit("/", 1)[1]
    assert where_from(name) == f"fetch it with 'make weights PROFILE=reskin', which knows {name}"
    assert where_from("nobody_knows.safetensors") is None


@pytest.mark.server
def test_a_real_server_takes_the_draft_and_refuses_what_it_cannot_run(comfy: ComfyOrchestrator) -> None:
    graph = copy.deepcopy(load_workflow("draft").graph)
    assert comfy.check(graph)[0].isdigit()
    graph["12"]["inputs"]["expant"] = 2
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
    assert [line.split(":")[0].strip() for line in lines] == [
        "node 'object channel' (ImageToMask)",
        "node 'object, grown' (GrowMask)",
        "node 'dragons' (PaintDragons)",
        "node 'the model' (UNETLoader)",
    ]
    words: list[Callable[[str], bool]] = [
        lambda line: "'channel' cannot be 'infrared', only red, green, blue, alpha" in line,
        lambda line: "knows no input 'expant'" in line,
        lambda line: "no such node class" in line,
        lambda line: "no model file 'wan2.1_vace_1.3B_fp17.safetensors' for 'unet_name'" in line,
    ]
    assert all(said(line) for said, line in zip(words, lines, strict=True))
