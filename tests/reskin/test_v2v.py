"""The spec's own calls: any template, with our titles or without, runs on a clip and its results come back."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handoff.errors import InputError, UsageError
from handoff.masks import frame_name, read_png, write_png
from handoff.run import Run
from handoff.video import probe, read_frames
from reskin import ComfyOrchestrator, find_node_by_class, upload_asset
from reskin.comfy.v2v import MASK_PROMPT, V2VInputs, prepare
from reskin.workflow import COUNTS, Graph, Slot, fill, find_node, load_workflow, size_slots
from runner.process import ROOT
from tests.reskin.helpers import FPS, HEIGHT, WIDTH, disc_mask
from tests.reskin.servers import history

MakeRun = Callable[..., Run]
PREFIX = "preserver/job"


def node(class_type: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


def untitled(graph: Graph) -> Graph:
    """The same graph as it is exported when nobody gave a node a title: each has its class's own."""
    graph = copy.deepcopy(graph)
    for each in graph.values():
        each["_meta"] = {"title": each["class_type"]}
    return graph


def sampled(**more: Any) -> Graph:
    """A template with a sampler, a text on either side, and a step between sampler and texts."""
    vace = {"control_video": ["1", 0], "reference_image": ["2", 0]}
    return {
        "1": node("LoadVideo", file="old.mp4"),
        "2": node("LoadImage", image="old.png"),
        "5": node("CLIPTextEncode", text="old negative", clip=["9", 1]),
        "6": node("CLIPTextEncode", text="old positive", clip=["9", 1]),
        "7": node("WanVaceToVideo", positive=["6", 0], negative=["5", 0], **vace),
        "8": node("KSampler", positive=["7", 0], negative=["7", 1], latent_image=["7", 2], model=["9", 0], seed=3),
        "9": node("CheckpointLoaderSimple", ckpt_name="model.safetensors"),
        "10": node("SaveImage", images=["8", 0], filename_prefix="ComfyUI"),
    } | more


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "clip.mp4").write_bytes(b"a clip")
    return tmp_path / "clip.mp4"


def test_texts_are_found_by_following_the_samplers_links(clip: Path) -> None:
    job = prepare(sampled(), V2VInputs(clip, None, "a drone", "a board", None, 7), PREFIX)
    assert job.graph["6"]["inputs"]["text"] == "a drone" and job.graph["5"]["inputs"]["text"] == "a board"
    assert job.graph["8"]["inputs"]["seed"] == 7
    assert job.files == {("1", "file"): clip} and job.outputs == ["10"]
    assert job.graph["10"]["inputs"]["filename_prefix"] == PREFIX


COMBINED = {
    "5": node("ConditioningZeroOut", conditioning=["11", 0]),
    "6": node("ConditioningCombine", conditioning_1=["11", 0], conditioning_2=["11", 0]),
    "11": node("CLIPTextEncode", text="old"),
}
HANDED_ON = {"6": node("CLIPTextEncode", text=["11", 0]), "11": node("PrimitiveString", value="old")}
ONE_FOR_BOTH = {
    "7": node("WanVideoEncode", image=["1", 0]),
    "8": node("WanVideoSampler", text_embeds=["11", 0], seed=3),
    "11": node("WanVideoTextEncode", positive_prompt="old", negative_prompt="old"),
}
NO_SIDES = {"7": node("BasicGuider", conditioning=["6", 0]), "8": node("SamplerCustomAdvanced", guider=["7", 0])}


@pytest.mark.parametrize(
    ("graph", "place"),
    [
        (sampled(**COMBINED), ("11", "text")),
        (sampled(**HANDED_ON), ("11", "value")),
        (sampled(**ONE_FOR_BOTH), ("11", "positive_prompt")),
        ({name: each for name, each in sampled(**NO_SIDES).items() if name != "5"}, ("6", "text")),
    ],
    ids=["combined", "a string of its own", "one node for both", "the one text that there is"],
)
def test_a_text_is_found_through_what_lies_between(clip: Path, graph: Graph, place: tuple[str, str]) -> None:
    filled = prepare(graph, V2VInputs(clip, positive="a drone"), PREFIX).graph
    values = {(node_id, name): value for node_id, each in filled.items() for name, value in each["inputs"].items()}
    assert [where for where, value in values.items() if value == "a drone"] == [place]


def test_our_titles_come_before_what_is_found_by_class(clip: Path) -> None:
    more = {
        "1": node("LoadVideo", "source", file="old.mp4"),
        "3": node("LoadVideo", file="pose.mp4"),
        "11": node("CLIPTextEncode", "prompt", text="old"),
        "12": node("SaveVideo", "output", video=["1", 0], filename_prefix="x"),
    }
    job = prepare(sampled(**more), V2VInputs(clip, positive="a drone"), PREFIX)
    assert list(job.files) == [("1", "file")] and job.outputs == ["12"]
    assert job.graph["11"]["inputs"]["text"] == "a drone" and job.graph["6"]["inputs"]["text"] == "old positive"


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"11": node("GroundingDinoSAMSegment (segment anything)", prompt="old")}, ("11", "prompt")),
        ({"11": node("SAM3_Detect", conditioning=["12", 0]), "12": node("CLIPTextEncode", text="old")}, ("12", "text")),
        ({"11": node("MyFinder", MASK_PROMPT.title, text="old")}, ("11", "text")),
    ],
    ids=["own text", "linked text", "titled"],
)
def test_the_text_of_the_mask_goes_to_the_segmentation(clip: Path, more: Graph, place: tuple[str, str]) -> None:
    job = prepare(sampled(**more), V2VInputs(clip, None, "a drone", None, "skateboard"), PREFIX)
    assert job.graph[place[0]]["inputs"][place[1]] == "skateboard"
    assert job.graph["6"]["inputs"]["text"] == "a drone" and str(job.graph).count("skateboard") == 1


def test_what_is_not_given_stays_and_an_unused_picture_goes(clip: Path) -> None:
    job = prepare(sampled(), V2VInputs(clip), PREFIX)
    assert job.graph["6"]["inputs"]["text"] == "old positive" and job.graph["2"]["inputs"]["image"] == "old.png"
    assert job.graph["8"]["inputs"]["seed"] != prepare(sampled(), V2VInputs(clip), PREFIX).graph["8"]["inputs"]["seed"]
    job = prepare(sampled(**{"2": node("LoadImage", image="")}), V2VInputs(clip), PREFIX)
    assert "2" not in job.graph and "reference_image" not in job.graph["7"]["inputs"]


def without(*ids: str) -> Graph:
    return {node_id: each for node_id, each in sampled().items() if node_id not in ids}


ZEROED = {"5": node("ConditioningZeroOut", conditioning=["11", 0]), "11": node("CLIPTextEncode", text="old")}
SHARED = {"7": node("WanVaceToVideo", positive=["6", 0], negative=["6", 0], control_video=["1", 0])}
UNSAID = {"1": node("LoadVideo", "source", file=""), "3": node("LoadVideo", "the mask", file="")}


@pytest.mark.parametrize(
    ("graph", "given", "words"),
    [
        (without("1"), {}, "no node that loads a video; title the one that is meant 'source'"),
        (sampled(**{"3": node("LoadVideo", file="b")}), {}, r"2 nodes that load a video \(1 'LoadVideo', 3 'LoadV"),
        (without("2"), {"reference": Path(__file__)}, "no node that loads a picture; title .* 'reference image'"),
        (without("5", "6"), {"positive": "a drone"}, "no place for positive_prompt; leave it out"),
        (sampled(**ZEROED), {"negative": "a board"}, "no place for negative_prompt"),
        (sampled(**SHARED), {"negative": "a board"}, "no place for negative_prompt"),
        (sampled(), {"mask_text": "skateboard"}, "no place for mask_text_prompt; leave it out"),
        (without("8"), {"seed": 1}, "no place for seed; leave it out"),
        (without("10"), {}, "saves nothing; add a SaveVideo or a SaveImage"),
        (sampled(**UNSAID), {}, "'the mask' that loads a file and names none; put there what upload_asset returns"),
    ],
)
def test_what_has_no_place_is_refused_with_a_sentence(
    clip: Path, graph: Graph, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        prepare(graph, V2VInputs(clip, **given), PREFIX)


def test_a_template_that_is_none_and_a_clip_that_is_not_there_are_named(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not in API format"):
        prepare({"nodes": []}, V2VInputs(clip), PREFIX)
    with pytest.raises(InputError, match=r"no workflow file .*none\.json"):
        prepare(tmp_path / "none.json", V2VInputs(clip), PREFIX)
    with pytest.raises(InputError, match=r"no clip .*none\.mp4"):
        prepare(sampled(), V2VInputs(tmp_path / "none.mp4"), PREFIX)
    with pytest.raises(InputError, match=r"no picture .*none\.png"):
        prepare(sampled(), V2VInputs(clip, tmp_path / "none.png"), PREFIX)


def test_a_template_is_left_as_it_was(clip: Path) -> None:
    graph = sampled()
    prepare(graph, V2VInputs(clip, None, "a drone", "a board", None, 7), PREFIX)
    assert graph == sampled()


def test_nodes_are_found_by_class_the_first_the_nth_or_all() -> None:
    graph = sampled()
    assert find_node_by_class(graph, "CLIPTextEncode") == "5"
    assert find_node_by_class(graph, "CLIPTextEncode", 1) == "6"
    assert find_node_by_class(graph, "CLIPTextEncode", "all") == ["5", "6"]
    with pytest.raises(InputError, match="no node of class VAEDecode"):
        find_node_by_class(graph, "VAEDecode")
    with pytest.raises(InputError, match="2 nodes of class CLIPTextEncode, numbered from 0; there is no 2"):
        find_node_by_class(graph, "CLIPTextEncode", 2)
    with pytest.raises(InputError, match="not in API format"):
        find_node_by_class({"nodes": []}, "CLIPTextEncode")


def test_the_package_is_light_until_a_name_is_used() -> None:
    program = "import sys, reskin; print(sorted(m for m in sys.modules if m.startswith('reskin')))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['reskin']"


def test_the_orchestrators_address_is_the_local_one_unless_it_is_given() -> None:
    assert ComfyOrchestrator().server.address == "127.0.0.1:8188"
    assert ComfyOrchestrator(server_addr="127.0.0.1:8189").server.address == "127.0.0.1:8189"
    assert ComfyOrchestrator("localhost:8190").server.address == "localhost:8190"


def test_an_asset_that_is_not_there_is_named_before_a_server_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file .*none\.png"):
        upload_asset("127.0.0.1:9", tmp_path / "none.png")


def inverted() -> Graph:
    """Core nodes only: the clip's negative, as pictures and as a video."""
    return {
        "1": node("LoadVideo", file="example.mp4"),
        "2": node("GetVideoComponents", video=["1", 0]),
        "3": node("ImageInvert", image=["2", 0]),
        "4": node("SaveImage", images=["3", 0], filename_prefix="ComfyUI"),
        "5": node("CreateVideo", images=["3", 0], fps=["2", 2]),
        "6": node("SaveVideo", video=["5", 0], filename_prefix="video/ComfyUI", format="mp4", codec="h264"),
    }


@pytest.mark.server
def test_an_untitled_template_runs_and_its_pictures_and_its_video_come_back(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    run = make_run(5)
    (tmp_path / "invert.json").write_text(json.dumps(inverted()))
    pictures, video = comfy.execute_v2v(
        workflow_template=tmp_path / "invert.json",
        source_video_path=str(run.source),
        ref_image_path=None,
        positive_prompt=None,
        negative_prompt=None,
        mask_text_prompt=None,
    )
    assert (pictures, video) == (run.path("source-v2v"), run.path("source-v2v-2.mp4"))
    assert sorted(path.name for path in pictures.iterdir()) == [frame_name(index) for index in range(5)]
    for index, frame in enumerate(read_frames(run.source)):
        # both are decoded from 4:2:0, by the server and by us
        assert np.abs(255 - frame.astype(int) - read_png(pictures / frame_name(index))).mean() < 4
    info = probe(video)
    assert (info.width, info.height, info.frames) == (WIDTH, HEIGHT, 5) and abs(info.fps - FPS) < 0.01
    again = comfy.execute_v2v(inverted(), run.source, output_dir=tmp_path / "out")
    assert again == [tmp_path / "out" / "source-v2v", tmp_path / "out" / "source-v2v-2.mp4"]
    assert len(list(again[0].iterdir())) == 5, "a rerun that the server has in its cache has results too"


@pytest.mark.server
def test_the_draft_without_its_titles_paints_the_clip(make_run: MakeRun, comfy: ComfyOrchestrator) -> None:
    run, server = make_run(4), comfy.server.address
    graph = load_workflow("draft").graph
    for title, path in (("object mask", "mask.mp4"), ("skater mask", "human_mask.mp4"), ("texture", "source.mp4")):
        graph[find_node(graph, title, "LoadVideo")]["inputs"]["file"] = upload_asset(server, run.path(path))
    values: dict[Slot, Any] = {Slot("canvas", ("batch_size",)): 4, Slot("object colour", ("color",)): 0xFF0000}
    for title in ("object colour", "skater colour", "canvas"):
        values |= {Slot(title, ("width",)): WIDTH, Slot(title, ("height",)): HEIGHT}
    (pictures,) = comfy.execute_v2v(untitled(fill(graph, values)), run.source)
    for index, mask in enumerate(read_frames(run.path("mask.mp4"))):
        picture, thing = read_png(pictures / frame_name(index)).astype(int), (mask[..., 0] > 127) & ~disc_mask(index)
        assert np.median(picture[thing][:, 0] - picture[thing][:, 2]) > 120, "the object is red"


@pytest.mark.server
@pytest.mark.slow
def test_a_template_with_a_model_gets_texts_picture_and_seed_with_titles_and_without(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    run, server = make_run(5), comfy.server.address
    drone = tmp_path / "drone.png"
    write_png(drone, np.full((64, 64, 3), 90, np.uint8))
    graph = load_workflow("wan_vace").graph
    for title, path in (("object mask", "mask.mp4"), ("skater mask", "human_mask.mp4"), ("pose", "source.mp4")):
        graph[find_node(graph, title)]["inputs"]["file"] = upload_asset(server, run.path(path))
    titled = fill(graph, size_slots(WIDTH, 128) | dict.fromkeys(COUNTS, 5) | {Slot("sampler", ("steps",)): 1})
    lora = find_node(titled, "LoRA")
    plain = untitled(titled)
    plain[lora]["inputs"]["lora_name"] = "tiny_lora.safetensors"
    for template in (titled, plain):
        before = set(history(server))
        (pictures,) = comfy.execute_v2v(template, run.source, drone, "a drone", "a board", seed=11)
        assert len(list(pictures.iterdir())) == 5
        (job,) = set(history(server)) - before
        sent = history(server)[job]["prompt"][2]
        assert [sent[each]["inputs"]["text"] for each in find_node_by_class(sent, "CLIPTextEncode", "all")] == [
            "a drone",
            "a board",
        ]
        assert sent[find_node_by_class(sent, "KSampler")]["inputs"]["seed"] == 11
        assert sent[find_node_by_class(sent, "LoadImage")]["inputs"]["image"].endswith(".png")
        assert (lora in sent) == (template is plain), "a titled LoRA that names no file is taken out"
