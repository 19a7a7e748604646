"""Templates: slots by title and class, never by id; a missing or doubled one is refused by name."""

from __future__ import annotations

import json
import re

import pytest

from handoff.errors import InputError, UsageError
from reskin.workflow import Graph, Slot, fill, graph_sha256, load_workflow, parse_graph, title_of, workflow_names

SOURCE = Slot("source", ("file",), "LoadVideo", needed=True)


def renumbered(graph: Graph) -> Graph:
    """The same graph under other ids, as another export of it would have."""
    return json.loads(re.sub(r'"(\d+)"(?=[:,])', r'"9\1"', json.dumps(graph)))


@pytest.mark.parametrize("name", workflow_names())
def test_every_template_links_only_to_nodes_that_it_has(name: str) -> None:
    graph = load_workflow(name).graph
    links = [value for node in graph.values() for value in node["inputs"].values() if isinstance(value, list)]
    assert links
    assert all(link[0] in graph for link in links)


def test_a_slot_is_found_by_its_title_under_any_id() -> None:
    graph = renumbered(load_workflow("draft").graph)
    filled = fill(graph, {SOURCE: "clip.mp4"})
    assert title_of(filled, "91") == "source"
    assert filled["91"]["inputs"]["file"] == "clip.mp4"


def test_filling_leaves_the_template_as_it_was() -> None:
    workflow = load_workflow("draft")
    before = graph_sha256(workflow.graph)
    assert graph_sha256(fill(workflow.graph, {SOURCE: "clip.mp4"})) != before
    assert graph_sha256(workflow.graph) == before


def test_a_missing_slot_is_named() -> None:
    with pytest.raises(InputError, match="no node titled 'pose'; it needs one"):
        fill(load_workflow("draft").graph, {Slot("pose", ("file",), needed=True): "x"})


def test_a_doubled_slot_is_named() -> None:
    graph = load_workflow("draft").graph
    graph["99"] = {"class_type": "LoadVideo", "inputs": {"file": ""}, "_meta": {"title": "source"}}
    with pytest.raises(InputError, match="2 nodes titled 'source'"):
        fill(graph, {SOURCE: "x"})


def test_a_slot_of_another_class_is_named() -> None:
    with pytest.raises(InputError, match="'source' that is a LoadVideo; it must be a LoadImage"):
        fill(load_workflow("draft").graph, {Slot("source", ("file",), "LoadImage"): "x"})


def test_a_slot_without_the_input_is_named() -> None:
    with pytest.raises(InputError, match="node 'source' without an input 'path'"):
        fill(load_workflow("draft").graph, {Slot("source", ("path",), "LoadVideo", needed=True): "x"})


def test_an_unknown_workflow_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"no workflow '\.\./draft'; known: .*draft"):
        load_workflow("../draft")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"nodes": [], "links": []}', b'{"1": {"class_type": 3}}'])
def test_what_is_no_graph_in_api_format_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"my\.json"):
        parse_graph(data, "my.json")
