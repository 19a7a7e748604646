"""Every template is a graph that a server with the pinned packages would take, and every file it names can be had."""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePosixPath

import pytest

from handoff.weights import load_registry
from reskin.workflow import Graph, load_workflow, workflow_names
from tests.reskin.schema import ROOT, faults, read_nodes, read_packages

VERSION, NODES = read_nodes()
PACKAGES = read_packages()
DOCS = (ROOT / "docs" / "guides" / "workflows.md").read_text(encoding="utf-8")
WITHOUT_PACKAGES = {"draft", "wan_vace", "wan_vace_locked"}


def packages_of(graph: Graph) -> set[str]:
    return {NODES[node["class_type"]].package for node in graph.values()} - {"ComfyUI"}


def model_files(graph: Graph) -> set[tuple[str, str]]:
    """The folder and the name of every model file that the template names."""
    wanted = [(NODES[node["class_type"]].model_file, node["inputs"]) for node in graph.values()]
    return {(facts["folder"], inputs[facts["input"]]) for facts, inputs in wanted if facts and inputs[facts["input"]]}


@pytest.mark.parametrize("name", workflow_names())
def test_the_template_fits_the_nodes_that_there_are(name: str) -> None:
    assert faults(load_workflow(name).graph, NODES) == []


@pytest.mark.parametrize("name", workflow_names())
def test_the_template_needs_only_the_packages_that_say_so(name: str) -> None:
    needed = packages_of(load_workflow(name).graph)
    assert needed == {package for package, pin in PACKAGES.items() if name in pin["workflows"]}
    assert bool(needed) != (name in WITHOUT_PACKAGES)


@pytest.mark.parametrize("name", workflow_names())
def test_each_model_file_is_in_the_registry_or_is_said_to_be_the_users_to_bring(name: str) -> None:
    registered = {weight.file for weight in load_registry(ROOT / "weights.toml").weights}
    bring = DOCS[DOCS.index("## Model files to bring yourself") :]
    for folder, file in model_files(load_workflow(name).graph):
        known = f"{folder}/{file}" in registered
        assert known != (f"`{folder}/{file}`" in bring), f"{folder}/{file}"


@pytest.mark.parametrize("name", workflow_names())
def test_the_registry_has_a_profile_for_what_it_holds_of_the_template(name: str) -> None:
    registry = load_registry(ROOT / "weights.toml")
    files = {f"{folder}/{file}" for folder, file in model_files(load_workflow(name).graph)}
    needed = {weight.file for weight in registry.weights} & files
    assert not needed or any(needed == {weight.file for weight in registry.of([each])} for each in registry.profiles)


def test_the_facts_are_of_the_pinned_versions() -> None:
    pins = tomllib.loads((ROOT / "comfyui" / "pins.toml").read_text(encoding="utf-8"))
    assert pins["version"] == VERSION
    assert {node.package for node in NODES.values()} == {"ComfyUI", *PACKAGES}
    for name, pin in PACKAGES.items():
        assert set(pin) == {"url", "commit", "date", "licence", "workflows"}, name
        assert re.fullmatch(r"[0-9a-f]{40}", pin["commit"])
        assert pin["url"].startswith("https://github.com/") and PurePosixPath(pin["url"]).name == name
        assert pin["licence"] and set(pin["workflows"]) <= set(workflow_names())


def test_every_fact_is_of_a_node_that_a_template_uses() -> None:
    used = {node["class_type"] for name in workflow_names() for node in load_workflow(name).graph.values()}
    assert set(NODES) == used


def test_the_documents_have_a_section_and_a_row_for_each_template() -> None:
    for name in workflow_names():
        assert f"\n## {name}\n" in DOCS, name
        assert f"\n| [`{name}`](#{name}) |" in DOCS, name
    for package, pin in PACKAGES.items():
        assert f"]({pin['url']}) | `{pin['commit'][:10]}` |" in DOCS, package


def without_titles_changed(graph: Graph, *titles: str) -> dict[str, object]:
    """The graph by title, its links as titles, without the nodes of these titles."""
    name = {node_id: node["_meta"]["title"] for node_id, node in graph.items()}
    return {
        name[node_id]: {
            key: [name[value[0]].removesuffix(" frames"), value[1]] if isinstance(value, list) else value
            for key, value in node["inputs"].items()
        }
        for node_id, node in graph.items()
        if name[node_id] not in titles
    }


def test_the_gguf_template_is_wan_vace_with_another_loader() -> None:
    ours, theirs = load_workflow("wan_vace_gguf").graph, load_workflow("wan_vace").graph
    assert without_titles_changed(ours, "model") == without_titles_changed(theirs, "model")


def test_the_vhs_template_is_wan_vace_with_other_ways_in_and_out() -> None:
    ours, theirs = load_workflow("wan_vace_vhs").graph, load_workflow("wan_vace").graph
    loaders = [title for title in without_titles_changed(theirs) if theirs_is_io(theirs, title)]
    assert len(loaders) == 9
    assert without_titles_changed(ours, *loaders) == without_titles_changed(theirs, *loaders)


def theirs_is_io(graph: Graph, title: str) -> bool:
    classes = {node["class_type"] for node in graph.values() if node["_meta"]["title"] == title}
    return bool(classes & {"LoadVideo", "GetVideoComponents", "SaveImage"})
