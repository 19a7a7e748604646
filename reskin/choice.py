"""Which workflow: the one that is asked for, else the locked Wan VACE where its models are, else the draft."""

from __future__ import annotations

from pathlib import PurePosixPath

import click

from handoff.weights import load_registry, models_dir
from handoff.weights.places import place_of
from handoff.weights.registry import Weight
from reskin.workflow import Graph, Workflow, load_workflow

DRAFT, LOCKED, ONE_PASS = "draft", "wan_vace_locked", "wan_vace"


def choose_workflow(name: str | None, *, quiet: bool = False) -> Workflow:
    """Return the workflow `name`; without one says in a line when the draft has to do, unless `quiet`.

    What is asked for by name is not looked for here: which model files a server has, only the server knows.
    """
    if name is not None:
        return load_workflow(name)
    locked = load_workflow(LOCKED)
    missing = [weight for weight in weights_of(locked.graph) if not place_of(weight).is_file()]
    if not missing:
        return locked
    if not quiet:
        click.echo(
            f"reskin: {missing[0].file} is not in {models_dir()}, so the draft paints, without a model; "
            f"make weights PROFILE={missing[0].profiles[0]} gets Wan VACE, and --workflow {LOCKED} asks for it by name"
        )
    return load_workflow(DRAFT)


def weights_of(graph: Graph) -> list[Weight]:
    """Return the entries of weights.toml whose files a graph names."""
    named = {value for node in graph.values() for value in node["inputs"].values() if isinstance(value, str)}
    return [weight for weight in load_registry().weights if PurePosixPath(weight.file).name in named]
