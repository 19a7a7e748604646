"""The check of templates finds what it is there to find: each fault, alone, in a graph that is whole without it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from reskin.workflow import Graph
from tests.reskin.schema import faults, read_nodes

NODES = read_nodes()[1]
WHOLE: Graph = {
    "1": {"class_type": "LoadVideo", "_meta": {"title": "source"}, "inputs": {"file": "a.mp4"}},
    "2": {"class_type": "GetVideoComponents", "_meta": {"title": "frames"}, "inputs": {"video": ["1", 0]}},
    "3": {"class_type": "ImageToMask", "_meta": {"title": "mask"}, "inputs": {"image": ["2", 0], "channel": "red"}},
    "4": {"class_type": "MaskToImage", "_meta": {"title": "gray"}, "inputs": {"mask": ["3", 0]}},
    "5": {
        "class_type": "ImageBlend",
        "_meta": {"title": "half"},
        "inputs": {"image1": ["2", 0], "image2": ["4", 0], "blend_factor": 0.5, "blend_mode": "normal"},
    },
    "6": {
        "class_type": "SaveImage",
        "_meta": {"title": "output"},
        "inputs": {"images": ["5", 0], "filename_prefix": ""},
    },
}


def broken(node_id: str, key: str | None = None, value: Any = None, **changes: Any) -> Graph:
    """The whole graph with one input of one node set (or, for None, taken away), or the node itself changed."""
    graph = copy.deepcopy(WHOLE)
    if key is not None and value is None:
        del graph[node_id]["inputs"][key]
    elif key is not None:
        graph[node_id]["inputs"][key] = value
    graph[node_id] |= changes
    return graph


def test_a_whole_graph_has_no_fault() -> None:
    assert faults(WHOLE, NODES) == []


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (broken("3", class_type="MaskDilate"), "'mask' is a MaskDilate, which no pinned package has"),
        (broken("5", "blend_mode"), "'half' lacks the input 'blend_mode'"),
        (broken("5", "opacity", 1.0), "'half' has an input 'opacity', which a ImageBlend does not take"),
        (broken("5", "blend_mode", "dissolve"), "'half' has 'dissolve' as 'blend_mode', which is none of "),
        (broken("5", "blend_factor", "0.5"), "'half' has '0.5' as 'blend_factor', which is no FLOAT"),
        (broken("5", "blend_factor", True), "'half' has True as 'blend_factor', which is no FLOAT"),
        (broken("5", "image2", "4"), "'half' has '4' as 'image2', where IMAGE comes by a link"),
        (broken("5", "image2", ["3", 0]), "'half' takes IMAGE as 'image2' and gets MASK of 'mask'"),
        (broken("5", "image2", ["9", 0]), "'half' has its 'image2' from ['9', 0], which is no node"),
        (broken("3", "image", ["2", 4]), "'mask' has its 'image' from output 4 of a GetVideoComponents, which has "),
        (broken("3", "image", ["2", 2]), "'mask' takes IMAGE as 'image' and gets FLOAT of 'frames'"),
        (broken("4", _meta={"title": "mask"}), "2 nodes are titled 'mask'"),
        (broken("4", _meta={}), "1 nodes have no title"),
        (broken("5", "image2", ["2", 0]), "'mask' leads nowhere"),
        (broken("3", "image", ["5", 0]), "it goes in a circle"),
        (broken("6", class_type="MaskToImage", inputs={"mask": ["3", 0]}), "it has 0 outputs, not one"),
    ],
)
def test_a_broken_graph_is_found_out(graph: Graph, said: str) -> None:
    assert any(fault.startswith(said) for fault in faults(graph, NODES)), faults(graph, NODES)


def test_two_outputs_are_one_too_many() -> None:
    graph = copy.deepcopy(WHOLE)
    graph["7"] = copy.deepcopy(graph["6"]) | {"_meta": {"title": "output, again"}}
    assert faults(graph, NODES) == ["it has 2 outputs, not one"]
