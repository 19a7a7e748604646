"""Settings that vary from window to window: how they are named, what each window is given, what is written of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from handoff.errors import PreserverError, UsageError
from handoff.run import Run
from handoff.video import read_frames
from reskin.cli import _TYPES, PAINTING, command
from reskin.jobs import Job
from reskin.nouns import parse_prompt
from reskin.painting import read_windows
from reskin.plan import PaintRequest, Plan, plan_painting
from reskin.settings import FIXED, Settings, differing, read_choices, read_settings, read_varied
from reskin.stage import find_inputs
from reskin.workflow import SEED, Slot, load_workflow, value_of
from tests.helpers import read_gray
from tests.reskin.helpers import NAME, TWO, disc_mask, kept_open, paint_vace, square_mask
from tests.reskin.servers import history

MakeRun = Callable[..., Run]
NOTHING: dict[str, Any] = {
    names[0].removeprefix("--").replace("-", "_"): False if "is_flag" in how else None for names, how, _ in PAINTING
}


def vary(*texts: str, **given: Any) -> tuple[Settings, ...]:
    values = {**NOTHING, **given}
    return read_varied(texts, values, read_settings(values), _TYPES)


def told(*texts: str, **given: Any) -> list[dict[str, Any]]:
    return differing(vary(*texts, **given))


def test_all_values_are_tried_with_one_another_the_first_ones_first() -> None:
    assert vary() == ()
    assert told("grow=4,12", "cfg=6, 4.5") == [
        {"cfg": 6.0, "grow": 4},
        {"cfg": 4.5, "grow": 4},
        {"cfg": 6.0, "grow": 12},
        {"cfg": 4.5, "grow": 12},
    ]
    assert all(each.steps == 7 for each in vary("grow=4,12", steps=7)), "the rest is as it was given"


def test_a_value_that_was_given_for_itself_comes_first_and_once() -> None:
    assert told("grow=4,12", grow=8) == [{"grow": 8}, {"grow": 4}, {"grow": 12}]
    assert told("grow=4,8", grow=8) == [{"grow": 8}, {"grow": 4}]
    assert told("cfg=4", cfg=5.0) == [{"cfg": 5.0}, {"cfg": 4.0}]


def test_every_kind_of_value_is_read_as_the_option_itself_reads_it(tmp_path: Path) -> None:
    pictures = [tmp_path / "a.png", tmp_path / "b, c.png"]
    for picture in pictures:
        cv2.imwrite(str(picture), np.full((8, 8, 3), 200, np.uint8))
    assert [each.reference for each in vary(f'reference={pictures[0]},"{pictures[1]}"')] == pictures
    assert [each.lora for each in vary("lora=look.safetensors:0.5,look.safetensors")] == [
        ("look.safetensors", 0.5),
        ("look.safetensors", 1.0),
    ]
    assert told("lora=look.safetensors:0.5,look.safetensors") == [
        {"lora": "look.safetensors:0.5"},
        {"lora": "look.safetensors:1.0"},
    ]
    assert told('object-prompt="a red, matte drone",a blue one') == [
        {"object-prompt": "a red, matte drone"},
        {"object-prompt": "a blue one"},
    ]
    assert told("--sampler=euler,uni_pc") == [{"sampler": "euler"}, {"sampler": "uni_pc"}]
    assert set(_TYPES) - FIXED.keys() == {
        *("object-prompt", "human-prompt", "steps", "cfg", "shift", "sampler", "model", "lora", "reference", "grow")
    }, "each of these can be varied"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (("grow",), "--vary grow is not NAME=VALUE,VALUE with one of the names cfg, grow, human-prompt, lora, model"),
        (("growth=4,12",), "--vary growth=4,12 is not NAME=VALUE,VALUE with one of the names"),
        (("timeout=4,12",), "--vary timeout=4,12 is not NAME=VALUE,VALUE with one of the names"),
        (("=4,12",), "--vary =4,12 is not NAME=VALUE,VALUE"),
        (("window=49,81",), "--vary window cannot be: the windows are planned once for the clip; leave it out"),
        (("overlap=5,21",), "--vary overlap cannot be: the windows are planned once"),
        (("overlap-mode=fade,anchor",), "--vary overlap-mode cannot be: it joins a window to the next"),
        (("size=832x480,1280x720",), "--vary size cannot be: all windows have the model's pictures in one size"),
        (("no-lock=1,0",), "--vary no-lock cannot be: what is put back"),
        (("seed=1,2",), "--vary seed cannot be: every take has a seed of its own anyway"),
        (("replaces=a,b",), "--vary replaces cannot be: what the object was is the same"),
        (("workflow=draft,wan_vace",), "--vary workflow cannot be"),
        (("prompt=a,b",), "--vary prompt cannot be: it names the reskin; object-prompt and human-prompt can be varied"),
        (("grow=4,12", "grow=16"), "--vary grow is there twice"),
        (("grow=4",), "--vary grow=4 has one value alone; give another one too, or --grow itself"),
        (("grow=4,4",), "--vary grow=4,4 has one value twice"),
        (("cfg=4,4.0",), "--vary cfg=4,4.0 has one value twice"),
        (("grow=4,",), "--vary grow has an empty value"),
        (("grow=",), "--vary grow"),
        (("grow=4,x",), "--vary grow has x, which cannot be: 'x' is not a valid integer"),
        (("grow=4,300",), "--vary grow has 300, which cannot be: 300 is not in the range 0<=x<=256"),
        (("cfg=nan,4",), "--vary cfg has nan, which cannot be: nan is no number from 0 to 30"),
        (("lora=a,b:nan",), "--lora b:nan is not FILE or FILE:STRENGTH"),
        (("reference=a.png,b.png",), "there is no picture a.png"),
        (('object-prompt="a,b',), '--vary object-prompt="a,b is not NAME=VALUE,VALUE; a value with a comma or a quote'),
        (('sampler=a,"b\nc"',), "has control characters"),
        (("object-prompt=a,  ",), "--vary object-prompt has an empty value"),
        ((f"steps={','.join(map(str, range(1, 22)))}", "grow=1,2,3,4,5"), "--vary makes 105 settings, which are more"),
    ],
)
def test_what_cannot_be_varied_is_refused_with_what_was_seen(texts: tuple[str, ...], words: str) -> None:
    with pytest.raises(PreserverError) as caught:
        vary(*texts)
    assert words in str(caught.value) and caught.value.exit_code == 2 and "\n" not in str(caught.value)


def test_which_setting_a_window_has_is_its_place() -> None:
    assert read_choices("0, 1,0", 2) == (0, 1, 0)
    for text in ("", "0,", "0,2", "-1", "x", "1.0", "٣", "99999"):
        with pytest.raises(UsageError, match=r"--window-settings has .*, and --vary makes 2 settings, counted from 0"):
            read_choices(text, 2)


def check(run: Run, *options: str) -> int:
    given = ["--run", str(run.dir), "--prompt", "drone, samurai", "--check", *options]
    return int(CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False).return_value)


def test_the_draft_and_workflows_without_the_slot_have_nothing_to_vary(make_run: MakeRun) -> None:
    run = make_run(4)
    with pytest.raises(UsageError, match="--vary is for workflows with a model, and the draft has none; leave it out"):
        check(run, "--workflow", "draft", "--vary", "grow=4,12")
    with pytest.raises(UsageError, match="--window-settings has 1, and --vary makes 1 settings"):
        check(run, "--workflow", "wan_vace", "--window-settings", "1")
    with pytest.raises(UsageError, match="--window-settings is for one reskin, and 2 are asked for"):
        check(run, "--seeds", "2", "--vary", "grow=4,12", "--window-settings", "1")
    assert check(run, "--workflow", "wan_vace", "--vary", "grow=4,12", "--window-settings", "1") == 4


def plan_of(run: Run, name: str, varied: tuple[Settings, ...], chosen: tuple[int, ...], **given: Any) -> Plan:
    settings = Settings(size=(160, 128), window=21, overlap=5, **given)
    workflow, nouns = load_workflow(name), parse_prompt("drone, samurai")
    clip = find_inputs(run, nouns, None, None, workflow)
    more = {"varied": varied, "window_settings": chosen, "window_seeds": (3, 9)}
    return plan_painting(PaintRequest(Job("drone", nouns, 0), workflow, clip, settings, **more))


@pytest.mark.parametrize("name", ["wan_vace", "wan_vace_locked"])
def test_each_window_is_given_its_own_graph_regions_and_seed(make_run: MakeRun, tmp_path: Path, name: str) -> None:
    """Two windows of 33 frames, 0-20 and 16-32: of the five that both have, each is given its own regions."""
    run, values = make_run(33), {"size": (160, 128), "window": 21, "overlap": 5}
    varied = (Settings(grow=0, cfg=3.0, **values), Settings(grow=20, cfg=6.0, **values))
    plans = [plan_of(run, name, varied, chosen) for chosen in ((0, 1), (1, 0), (0, 0))]
    clip = find_inputs(run, parse_prompt("drone, samurai"), None, None, load_workflow(name))
    grown: dict[tuple[int, int], int] = {}
    keys: dict[tuple[int, int], str] = {}
    for place, (plan, chosen) in enumerate(zip(plans, ((0, 1), (1, 0), (0, 0)), strict=True)):
        for cut in read_windows(clip, plan.windows):
            window, folder = cut.window.index, tmp_path / f"{place}-{cut.window.index}"
            folder.mkdir()
            order = plan.painter.prepare(cut, folder)
            setting = chosen[window]
            assert value_of(order.graph, Slot("sampler", ("cfg",))) == (3.0, 6.0)[setting]
            assert value_of(order.graph, SEED) == (3, 9)[window]
            masks = [frame > 127 for frame in read_gray(order.inputs["object mask"])]
            shared = masks[16:21] if window == 0 else masks[:5]
            area = sum(int(mask.sum()) for mask in shared)
            assert grown.setdefault((window, setting), area) == area
            assert keys.setdefault((window, setting), order.key) == order.key, (
                "a take has one key, whoever is beside it"
            )
    assert len(set(keys.values())) == 4
    assert grown[0, 1] > 1.5 * grown[0, 0] and grown[1, 1] > 1.5 * grown[1, 0]
    record = plans[0].record
    assert record["varied"] == [{"cfg": 3.0, "grow": 0}, {"cfg": 6.0, "grow": 20}]
    assert record["window_settings"] == [0, 1] and len(plans[0].graphs) == 2


def test_another_number_of_settings_than_of_windows_is_refused(make_run: MakeRun) -> None:
    varied = tuple(Settings(size=(160, 128), window=21, overlap=5, grow=each) for each in (4, 12))
    with pytest.raises(
        UsageError, match="--window-settings has 3 settings for the clip's 2 windows; give one a window"
    ):
        plan_of(make_run(33), "wan_vace", varied, (0, 1, 0))


def test_a_reference_that_is_varied_is_an_input_and_only_what_a_window_has_is_in_its_graph(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run, paths = make_run(33), [tmp_path / "red.png", tmp_path / "blue.png"]
    for path, colour in zip(paths, ((0, 0, 255), (255, 0, 0)), strict=True):
        cv2.imwrite(str(path), np.full((16, 16, 3), colour, np.uint8))
    values = {"size": (160, 128), "window": 21, "overlap": 5}
    varied = tuple(Settings(reference=path, **values) for path in paths)
    plan = plan_of(run, "wan_vace", varied, (0, 1))
    clip = find_inputs(run, parse_prompt("drone, samurai"), None, None, load_workflow("wan_vace"))
    for cut in read_windows(clip, plan.windows):
        folder = tmp_path / str(cut.window.index)
        folder.mkdir()
        order = plan.painter.prepare(cut, folder)
        middle = cv2.imread(str(order.inputs["reference image"]))[64, 80]
        assert tuple(middle) == ((0, 0, 255), (255, 0, 0))[cut.window.index]


def plan_file(run: Run, *options: str) -> dict[str, Any]:
    path = run.dir.parent / "plan.json"
    arguments = ["--run", str(run.dir), "--prompt", "drone, samurai", "--workflow", "wan_vace", "--size", "80x64", *TWO]
    given = [*arguments, "--steps", "2", "--vary", "grow=0,12", "--plan", str(path), *options]
    result = CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False)
    assert result.return_value == 0
    return dict(json.loads(path.read_text()))


def test_a_plan_is_written_before_anything_is_painted_and_makes_no_folder(make_run: MakeRun) -> None:
    run = make_run(33)
    plan = plan_file(run)
    assert plan["reskin"] == NAME and plan["windows"] == [[0, 20], [16, 32]] and plan["there"] is None
    assert plan["settings"] == [{"grow": 0}, {"grow": 12}] and plan["chained"] is False
    assert plan["of"]["params"]["varied"] == plan["settings"] and "source.mp4" in plan["of"]["inputs"]
    assert plan_file(run, "--overlap-mode", "anchor")["chained"] is True
    assert not run.path("reskins").exists() or not any(run.path("reskins").iterdir())
    assert plan_file(run, "--window-seeds", "3,4")["of"] == plan["of"], "seeds of windows are no part of it"


@pytest.mark.slow
@pytest.mark.server
def test_windows_with_settings_of_their_own_on_a_real_server(make_run: MakeRun, comfy_server: str) -> None:
    """Outside of every mask the source stays, in the shared frames too, whose two windows have grown differently."""
    run, more = make_run(33), ("--workflow", "wan_vace", *TWO, "--vary", "grow=0,12")

    def paint(*options: str) -> tuple[dict[str, Any], int, str]:
        before = len(history(comfy_server))
        result = paint_vace(run, comfy_server, *more, "--keep-windows", *options)
        assert result.return_value == 0, result.output
        record = json.loads(run.path(f"{NAME}/output.json").read_text())
        return record, len(history(comfy_server)) - before, result.output

    first, jobs, _ = paint()
    assert jobs == 2 and first["window_settings"] == [0, 0] and first["varied"] == [{"grow": 0}, {"grow": 12}]
    kept = sorted(path.name for path in run.path(f"{NAME}/.windows").iterdir())
    assert paint("--window-settings", "0,0")[1:] == (0, _unchanged(run)), "that is what it was"
    with kept_open() as written:
        second, jobs, _ = paint("--window-settings", "0,1", "--window-seeds", "0,7")
    assert jobs == 1 and second["window_settings"] == [0, 1] and second["windows_resumed"] == 1
    assert second["pixels"]["changed_outside_px"] == 0
    notes = json.loads(run.path(f"{NAME}/run.json").read_text())["stages"]["reskin"]["notes"]["windows"]
    assert [(each["window"], each["resumed"]) for each in notes] == [(0, True), (1, False)]
    assert notes[0]["pictures"] in kept and notes[1]["pictures"] not in kept
    assert all(run.path(f"{NAME}/.windows/{each['pictures']}").is_dir() for each in notes)
    assert plan_file(run)["there"] == {"seeds": [0, 7], "settings": [0, 1]}
    assert plan_file(run, "--seed", "1")["there"] is None, "of another command"
    for index, (picture, source) in enumerate(zip(written, read_frames(run.source), strict=True)):
        outside = ~(square_mask(index) | disc_mask(index))
        assert np.array_equal(picture[outside], source[outside]), index
    run.path(f"{NAME}/output.mp4").unlink()
    assert plan_file(run)["there"] is None, "it is not there any more"


def _unchanged(run: Run) -> str:
    name = NAME.removeprefix("reskins/")
    return f"reskin/{name}: nothing has changed, nothing to do (--force does it again)\n"
