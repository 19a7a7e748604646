"""Templates: slots by title and class, never by id; one that is missing or doubled is refused by its title."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from handoff.errors import InputError, UsageError
from handoff.run import Run
from reskin.cli import command
from reskin.workflow import (
    Graph,
    Slot,
    Workflow,
    check_slots,
    fill,
    graph_sha256,
    load_workflow,
    nodes_of,
    parse_graph,
    title_of,
    workflow_names,
)

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


def test_a_value_goes_to_every_pass_or_to_its_own() -> None:
    graph = load_workflow("wan_vace_locked").graph
    filled = fill(graph, {Slot("sampler", ("seed",)): 7, Slot("prompt", ("text",)): {"skater": "she", "object": "it"}})
    assert [filled[each]["inputs"]["seed"] for each in nodes_of(filled, "sampler").values()] == [7, 7]
    prompts = nodes_of(filled, "prompt")
    assert {each: filled[node]["inputs"]["text"] for each, node in prompts.items()} == {"skater": "she", "object": "it"}


def test_a_slot_that_is_not_there_is_left_out_unless_it_is_needed_or_asked_for() -> None:
    graph = load_workflow("draft").graph
    assert fill(graph, {Slot("pose", ("file",)): "x", Slot("source", ("path",)): "x"}) == graph
    with pytest.raises(UsageError, match="the workflow 'mine' has no slot for --pose; leave it out"):
        fill(graph, {Slot("pose", ("file",), option="--pose"): "x"}, name="mine")


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


WITH_MODEL = [name for name in workflow_names() if name != "draft"]


def own(name: str, change: Callable[[Graph], object]) -> Workflow:
    """A template of the user's, with a change."""
    workflow = load_workflow(name)
    change(workflow.graph)
    return replace(workflow, name="own.json")


def node_of(graph: Graph, title: str) -> dict[str, Any]:
    (node_id,) = nodes_of(graph, title).values()
    return dict(graph[node_id])


@pytest.mark.parametrize(
    ("title", "name"), [("source", "file"), ("prompt", "text"), ("sampler", "seed"), ("output", "filename_prefix")]
)
def test_a_users_template_without_a_slot_that_is_needed_is_refused_by_its_title(title: str, name: str) -> None:
    untitled = own("wan_vace", lambda graph: node_of(graph, title)["_meta"].update(title="mine"))
    with pytest.raises(InputError, match=rf"'own\.json' has no node titled '{title}'; it needs one"):
        check_slots(untitled, True)
    without = own("wan_vace", lambda graph: node_of(graph, title)["inputs"].pop(name))
    with pytest.raises(InputError, match=rf"'own\.json' has a node '{title}' without an input '.*{name}"):
        check_slots(without, True)


def test_a_doubled_slot_is_refused_by_its_title() -> None:
    doubled = own("wan_vace", lambda graph: graph.update(more=node_of(graph, "sampler")))
    with pytest.raises(InputError, match="2 nodes titled 'sampler'"):
        check_slots(doubled, True)


def test_a_sampler_may_call_its_seed_noise_seed() -> None:
    def rename(graph: Graph) -> None:
        inputs = node_of(graph, "sampler")["inputs"]
        inputs["noise_seed"] = inputs.pop("seed")

    check_slots(own("wan_vace", rename), True)


def test_a_template_sees_both_masks_or_none() -> None:
    def without(*titles: str) -> Workflow:
        return own(
            "wan_vace", lambda graph: [node_of(graph, each)["_meta"].update(title=f"my {each}") for each in titles]
        )

    check_slots(without("object mask", "skater mask"), True)
    with pytest.raises(InputError, match="none titled 'object mask', so the object would stay as it is"):
        check_slots(without("object mask"), False)
    with pytest.raises(InputError, match="none titled 'skater mask', so the skater would stay as she is"):
        check_slots(without("skater mask"), True)
    check_slots(without("skater mask"), False)


@pytest.mark.parametrize("name", WITH_MODEL)
def test_every_template_of_ours_has_the_slots(name: str) -> None:
    check_slots(load_workflow(name), True)


def test_a_template_that_would_ignore_the_seed_is_refused_before_a_server_is_asked(
    make_run: Callable[..., Run], tmp_path: Path
) -> None:
    workflow = own("wan_vace", lambda graph: node_of(graph, "sampler")["_meta"].update(title="KSampler"))
    (tmp_path / "own.json").write_text(json.dumps(workflow.graph))
    given = ["--run", str(make_run(4).dir), "--prompt", "drone, samurai", "--seeds", "4", "--server", "127.0.0.1:9"]
    with pytest.raises(InputError, match=r"'own\.json' has no node titled 'sampler'"):
        CliRunner().invoke(
            command, [*given, "--workflow", str(tmp_path / "own.json")], catch_exceptions=False, standalone_mode=False
        )
