"""The one painter fills every template with a model: nothing stays empty, nothing is sent that no node reads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from handoff.errors import UsageError
from handoff.masks import write_png
from handoff.run import Run, run_stage
from handoff.video import ClipInfo, probe
from reskin.comfy.client import ServerFile
from reskin.comfy.graph_check import GraphFindings, find_problems
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.jobs import Job
from reskin.nouns import parse_prompt
from reskin.plan import PaintRequest
from reskin.settings import Settings
from reskin.stage import find_inputs, paint_run
from reskin.workflow import Graph, find_node, has_two_passes, load_workflow, nodes_of, workflow_names
from tests.reskin.helpers import write_ffv1
from tests.reskin.schema import faults, object_info, read_nodes

NODES = read_nodes()[1]
WITH_MODEL = [name for name in workflow_names() if name != "draft"]
FRAMES, LENGTH, MODEL, SEED = 6, 9, (96, 64), 41
"""Frames of the clip, of the job (4n+1), the model's size in px, and the seed."""
BOTH, OBJECT_ONLY = "cyberpunk drone, samurai", "cyberpunk drone"


class StandIn:
    """In place of a server: keeps what it is given, answers with as many gray pictures as a server would."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.uploads = folder, dict[str, ClipInfo | None]()
        self.graph: Graph = {}
        self.client_id, self.server = "stand-in", SimpleNamespace(address="127.0.0.1:1")

    def check(self, graph: Graph, where_from: Any, later: Any) -> str:
        assert find_problems(graph, lambda name: object_info(name, NODES), where_from, later) == GraphFindings()
        return "0.30.0"

    def noting(self, path: Path) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def upload(self, path: Path, name: str) -> str:
        self.uploads[name] = probe(path) if path.suffix == ".mp4" else None
        return name

    def run(self, graph: Graph, output: tuple[str, str], listener: Any) -> list[ServerFile]:
        find_node(graph, *output)  # as the orchestrator does
        self.graph = graph
        pictures = [np.full((MODEL[1], MODEL[0], 3), 128, np.uint8)] * (LENGTH * (2 if has_two_passes(graph) else 1))
        if output[1] == "VHS_VideoCombine":
            write_ffv1(self.folder / "all.mkv", pictures)
            return [ServerFile("all.mkv", "", "output")]
        files = [ServerFile(f"{index}.png", "", "output") for index in range(len(pictures))]
        for file, picture in zip(files, pictures, strict=True):
            write_png(self.folder / file.filename, picture)
        return files

    def fetch(self, file: ServerFile, target: Path, max_bytes: int) -> None:
        target.write_bytes((self.folder / file.filename).read_bytes())


Paint = Callable[..., StandIn]


@pytest.fixture
def paint(tmp_path: Path, make_run: Callable[..., Run]) -> Paint:
    def paint_with(name: str, prompt: str = BOTH, **settings: Any) -> StandIn:
        """Paint a clip of one window with the template, and return what the server got."""
        run, comfy, workflow, nouns = make_run(FRAMES), StandIn(tmp_path), load_workflow(name), parse_prompt(prompt)
        chosen = Settings(size=MODEL, **settings)
        request = PaintRequest(Job("new", nouns, SEED), workflow, find_inputs(run, nouns, None, None, workflow), chosen)
        own = run.reskin("new")
        with run_stage(own, "reskin", params={}, inputs=[run.source], tools={}) as stage:
            paint_run(own, stage, [cast(ComfyOrchestrator, comfy)], request, threading.Event())
        assert probe(run.path("reskins") / "new" / "output.mp4").frames == FRAMES
        return comfy

    return paint_with


def extras_of(name: str, folder: Path) -> dict[str, Any]:
    """A LoRA and a reference picture, where the template has slots for them."""
    graph, reference = load_workflow(name).graph, folder / "drone.png"
    write_png(reference, np.full((20, 30, 3), 200, np.uint8))
    lora = {"lora": ("look.safetensors", 0.8)} if nodes_of(graph, "LoRA") else {}
    return lora | ({"reference": reference} if nodes_of(graph, "reference image") else {})


def assert_whole(graph: Graph) -> None:
    assert graph and faults(graph, NODES) == []
    inputs = [(node["_meta"]["title"], key, value) for node in graph.values() for key, value in node["inputs"].items()]
    assert [(title, key) for title, key, value in inputs if value in ("", None, [])] == []


@pytest.mark.parametrize("prompt", [BOTH, OBJECT_ONLY])
@pytest.mark.parametrize("name", WITH_MODEL)
def test_the_painter_leaves_no_input_empty(paint: Paint, name: str, prompt: str) -> None:
    assert_whole(paint(name, prompt).graph)


@pytest.mark.parametrize("name", WITH_MODEL)
def test_with_all_extras_the_painter_leaves_no_input_empty(paint: Paint, tmp_path: Path, name: str) -> None:
    extras = extras_of(name, tmp_path)
    comfy = paint(name, **extras)
    assert_whole(comfy.graph)
    assert ("look.safetensors" in str(comfy.graph)) == ("lora" in extras)
    assert any(info is None for info in comfy.uploads.values()) == ("reference" in extras)


@pytest.mark.parametrize("name", WITH_MODEL)
def test_all_that_is_uploaded_is_read_and_has_the_jobs_length_and_size(paint: Paint, name: str) -> None:
    comfy = paint(name)
    read = {value for node in comfy.graph.values() for value in node["inputs"].values() if isinstance(value, str)}
    assert comfy.uploads and set(comfy.uploads) <= read
    sizes = {(info.width, info.height, info.frames) for info in comfy.uploads.values() if info}
    assert sizes == {(*MODEL, LENGTH)}


@pytest.mark.parametrize("name", WITH_MODEL)
def test_what_counts_frames_or_pixels_gets_the_windows_and_the_sampler_the_seed(paint: Paint, name: str) -> None:
    inputs = [node["inputs"] for node in paint(name).graph.values()]
    counts = {each[key] for each in inputs for key in ("length", "num_frames", "batch_size") if key in each}
    # WanVaceToVideo's own batch_size is one clip
    assert counts - {1} == (set() if name == "sd15_dual_controlnet" else {LENGTH})
    assert {(each["width"], each["height"]) for each in inputs if "width" in each} <= {MODEL}
    assert {each["seed"] for each in inputs if "seed" in each} == {SEED}


@pytest.mark.parametrize("name", WITH_MODEL)
def test_each_region_has_its_own_prompt_where_the_template_has_regions(paint: Paint, name: str) -> None:
    graph = paint(name).graph
    said = {
        title: graph[node_id]["inputs"].get("text", graph[node_id]["inputs"].get("prompt"))
        for title, node_id in nodes_of(graph, "prompt").items()
    }
    regions = {"sd15_dual_controlnet": {"", "object", "skater"}, "wan_vace_locked": {"object", "skater"}}
    assert said.keys() == regions.get(name, {""}) and len(set(said.values())) == len(said)
    assert all("drone" in said[each] for each in said.keys() & {"", "object"})
    assert all("samurai" in said[each] for each in said.keys() & {"", "skater"})


@pytest.mark.parametrize(("option", "value"), [("lora", ("look.safetensors", 0.8)), ("reference", Path("drone.png"))])
def test_what_a_template_has_no_slot_for_is_refused_by_the_options_name(paint: Paint, option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"'cogvideox_fun' has no slot for --{option}; leave it out"):
        paint("cogvideox_fun", **{option: value})
