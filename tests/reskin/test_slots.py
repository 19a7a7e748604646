"""Which slots a template needs: one that lacks a slot, or has it twice, is refused by the slot's title."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from handoff.errors import InputError
from handoff.run import Run
from reskin.cli import command
from reskin.workflow import Graph, Workflow, check_slots, load_workflow, nodes_of, workflow_names

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
