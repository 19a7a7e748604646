"""Each painting option does what it says to the graph, the windows or the size; what cannot be is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from handoff.command import with_options
from handoff.errors import InputError, PreserverError, UsageError
from handoff.run import Run
from reskin.cli import PAINTING, command
from reskin.settings import Settings, read_settings
from reskin.workflow import (
    LORA,
    REFERENCE,
    Slot,
    choose_workflow,
    drop,
    fill,
    find_node,
    load_workflow,
    nodes_of,
    size_slots,
    value_of,
    weights_of,
)

MakeRun = Callable[..., Run]


def read(*arguments: str) -> Settings:
    """Read options as the command line does."""

    @click.command()
    @with_options(*PAINTING)
    def probe(**painting: Any) -> Settings:
        return read_settings(painting)

    result = CliRunner().invoke(probe, list(arguments), catch_exceptions=False, standalone_mode=False)
    settings = result.return_value
    assert isinstance(settings, Settings)
    return settings


@pytest.mark.parametrize(
    ("options", "title", "name", "value"),
    [
        (("--steps", "7"), "sampler", "steps", 7),
        (("--cfg", "3.5"), "sampler", "cfg", 3.5),
        (("--sampler", "euler"), "sampler", "sampler_name", "euler"),
        (("--shift", "5"), "shift", "shift", 5.0),
        (("--model", "wan2.1_vace_14B_fp16.safetensors"), "model", "unet_name", "wan2.1_vace_14B_fp16.safetensors"),
        (("--lora", "a/look.safetensors:0.8"), "LoRA", "strength_model", 0.8),
        (("--lora", "look.safetensors"), "LoRA", "lora_name", "look.safetensors"),
    ],
)
def test_an_option_reaches_every_node_of_its_slot(
    options: tuple[str, ...], title: str, name: str, value: object
) -> None:
    for workflow in (load_workflow("wan_vace"), load_workflow("wan_vace_locked")):
        untouched = fill(workflow.graph, read().slots())
        graph = fill(workflow.graph, read(*options).slots())
        found = nodes_of(graph, title)
        assert found
        for node_id in found.values():
            assert graph[node_id]["inputs"][name] == value
            assert untouched[node_id]["inputs"][name] != value or options == ("--lora", "look.safetensors")


def test_both_passes_of_the_locked_workflow_sample_alike() -> None:
    graph = fill(load_workflow("wan_vace_locked").graph, read("--steps", "9").slots())
    assert set(nodes_of(graph, "sampler")) == {"skater", "object"}
    assert [graph[each]["inputs"]["steps"] for each in nodes_of(graph, "sampler").values()] == [9, 9]


def test_an_option_without_a_slot_is_refused() -> None:
    with pytest.raises(UsageError, match="'draft' has no slot for --steps; leave it out"):
        workflow = load_workflow("draft")
        workflow.graph["20"]["_meta"]["title"] = "prompt"
        fill(workflow.graph, read("--steps", "9").slots(), name=workflow.name)


def test_a_lora_that_is_not_used_leaves_the_models_own_link_and_a_reference_none() -> None:
    graph = load_workflow("wan_vace").graph
    (model,) = nodes_of(graph, "model").values()
    for title in (LORA, REFERENCE):
        drop(graph, find_node(graph, title))
    assert graph[nodes_of(graph, "shift")[""]]["inputs"]["model"] == [model, 0]
    assert "reference_image" not in graph[nodes_of(graph, "vace")[""]]["inputs"]
    assert all(value[0] in graph for node in graph.values() for value in node["inputs"].values() if type(value) is list)


def test_the_size_reaches_all_nodes_that_make_pictures() -> None:
    graph = fill(load_workflow("wan_vace_locked").graph, size_slots(768, 432))
    sized = [node["inputs"] for node in graph.values() if "width" in node["inputs"]]
    assert len(sized) == 3
    assert {(each["width"], each["height"]) for each in sized} == {(768, 432)}


@pytest.mark.parametrize(
    ("options", "frames", "windows"),
    [
        ((), None, (81, 21)),
        ((), 49, (49, 21)),
        (("--window", "33"), 81, (33, 13)),
        (("--window", "17", "--overlap", "1"), 81, (17, 1)),
        (("--overlap", "0"), 81, (81, 0)),
    ],
)
def test_windows_are_the_templates_own_unless_the_user_says_otherwise(
    options: tuple[str, ...], frames: int | None, windows: tuple[int, int]
) -> None:
    assert read(*options).windows(frames) == windows


def test_what_was_given_is_part_of_the_stages_parameters_and_nothing_else() -> None:
    assert read().asked() == {}
    asked = read("--no-lock", "--grow", "0", "--overlap-mode", "anchor", "--size", "832x480").asked()
    assert asked == {"no-lock": True, "grow": 0, "overlap-mode": "anchor", "size": (832, 480)}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--window", "80"), r"--window 80 is not 4n\+1"),
        (("--overlap", "50"), "--overlap 50 is neither"),
        (("--size", "100x100"), "--size 100x100 is not auto"),
        (("--lora", "look.safetensors:nan"), "--lora look.safetensors:nan is not FILE"),
        (("--lora", ":0.5"), "--lora :0.5 is not FILE"),
        (("--object-prompt", "  "), "--object-prompt '  ' is empty"),
        (("--human-prompt", "a\x07b"), r"--human-prompt 'a.x07b' is empty, has control characters"),
        (("--reference", "nowhere.png"), "no picture nowhere.png; check --reference"),
    ],
)
def test_what_cannot_be_is_refused_by_the_options_name(options: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(*options)


def test_a_number_that_is_none_is_refused_by_the_options_name() -> None:
    for option in ("--cfg", "--shift"):
        with pytest.raises(click.BadParameter, match="nan is no number from 0 to"):
            read(option, "nan")


def test_a_reference_that_is_no_picture_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "drone.png").write_text("a drone")
    with pytest.raises(InputError, match=r"drone\.png is not a picture that can be read"):
        read("--reference", str(tmp_path / "drone.png"))


def reskin(run: Run, *options: str) -> int:
    given = ["--run", str(run.dir), "--prompt", "drone, samurai", "--check", *options]
    code = CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False).return_value
    assert isinstance(code, int)
    return code


def refused(error: type[PreserverError], words: str, run: Run, *options: str) -> None:
    with pytest.raises(error, match=words):
        reskin(run, *options)


def test_the_draft_has_no_model_to_set(make_run: MakeRun) -> None:
    refused(UsageError, "--steps is for workflows with a model", make_run(4), "--workflow", "draft", "--steps", "3")


def test_a_run_without_drawn_skeletons_is_refused_by_what_draws_after_them(make_run: MakeRun) -> None:
    run = make_run(4)
    for picture in run.path("pose_skater").iterdir():
        picture.unlink()
    run.path("pose_skater").rmdir()
    refused(InputError, r"neither pose_skater/ nor pose\.mp4", run, "--workflow", "wan_vace")
    assert reskin(run, "--workflow", "draft") == 4


def test_a_file_of_the_users_own_is_a_workflow(make_run: MakeRun, tmp_path: Path) -> None:
    run, own = make_run(4), tmp_path / "own.json"
    refused(InputError, r"no workflow file .*own\.json", run, "--workflow", str(own))
    own.write_text("[]")
    refused(InputError, "is a list of 0, not an object of nodes; export it", run, "--workflow", str(own))
    own.write_bytes((Path(__file__).parents[2] / "reskin/workflows/wan_vace.json").read_bytes())
    assert reskin(run, "--workflow", str(own), "--steps", "3") == 4


def test_the_default_is_the_locked_workflow_where_its_models_are_else_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    assert choose_workflow(None, quiet=True).name == "draft"
    assert capsys.readouterr().out == ""
    assert choose_workflow(None).name == "draft"
    assert "wan2.1_vace_1.3B_fp16.safetensors is not in" in (said := capsys.readouterr().out)
    assert "make weights PROFILE=reskin" in said and said.count("\n") == 1
    weights = weights_of(load_workflow("wan_vace_locked").graph)
    assert len(weights) == 3
    for weight in weights:
        assert choose_workflow(None, quiet=True).name == "draft"
        (tmp_path / weight.file).parent.mkdir(parents=True)
        (tmp_path / weight.file).write_bytes(b"weights")
    assert choose_workflow(None).name == "wan_vace_locked"
    assert capsys.readouterr().out == ""


def test_a_model_in_the_template_is_told_by_its_file() -> None:
    assert (
        value_of(load_workflow("wan_vace").graph, Slot("model", ("unet_name",))) == "wan2.1_vace_1.3B_fp16.safetensors"
    )
