"""The whole stage on a real ComfyUI server: the right pixels, all of them, and no others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from handoff.files import sha256_file
from handoff.run import Run
from handoff.video import probe, read_frames
from reskin.cli import command
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.draft_painter import DraftPainter, decide_looks
from reskin.nouns import parse_prompt
from reskin.painting import Clip, read_windows
from reskin.sharing import OneServer
from reskin.windows import KeptWindows, plan_windows
from reskin.workflow import load_workflow
from tests.helpers import records
from tests.reskin.helpers import FPS, HEIGHT, WIDTH, disc_mask, square_mask

pytestmark = pytest.mark.server
MakeRun = Callable[..., Run]


def reskin(run: Run, server: str, *options: str, prompt: str = "cyberpunk drone, samurai") -> Result:
    arguments = ["--run", str(run.dir), "--prompt", prompt, "--server", server, *options]
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def test_the_clip_is_painted_in_its_regions_and_nowhere_else(make_run: MakeRun, comfy_server: str) -> None:
    run = make_run(8)
    assert reskin(run, comfy_server).return_value == 0
    folder = run.path("reskins/cyberpunk-drone-samurai")
    info = probe(folder / "output.mp4")
    assert (info.width, info.height, info.fps, info.frames) == (WIDTH, HEIGHT, FPS, 8)
    record = json.loads((folder / "output.json").read_text())
    objects = sum(int(square_mask(index).sum()) for index in range(8))
    skaters = sum(int((disc_mask(index) & ~square_mask(index)).sum()) for index in range(8))
    assert record["pixels"]["changed_outside_px"] == 0
    assert record["pixels"]["object_px"] == objects
    assert record["pixels"]["skater_px"] == skaters
    assert record["pixels"]["object_changed_px"] > 0.99 * objects
    assert record["pixels"]["skater_changed_px"] > 0.99 * skaters
    assert record["prompt"] == {"object": "cyberpunk drone", "skater": "samurai"}
    assert record["windows"] == [[0, 7]]
    stage = records(run.dir)["reskin/cyberpunk-drone-samurai"]
    recorded = {each["path"]: each["sha256"] for each in stage["outputs"]}
    assert recorded["reskins/cyberpunk-drone-samurai/output.mp4"] == sha256_file(folder / "output.mp4")
    assert not list(run.dir.rglob("*.partial"))


def test_each_region_has_its_own_colour_up_to_its_edge(make_run: MakeRun, comfy_server: str) -> None:
    run = make_run(8)
    reskin(run, comfy_server)
    folder = run.path("reskins/cyberpunk-drone-samurai")
    colours = json.loads((folder / "output.json").read_text())["colours"]
    thing, person = (np.array(list(bytes.fromhex(colours[key][1:])), float) for key in ("object", "skater"))
    for index, frame in enumerate(read_frames(folder / "output.mp4")):
        inside, beside = square_mask(index), disc_mask(index) & ~square_mask(index)
        # the paint is 60 % of the object and 30 % of the skater, the rest is the source's own shading
        assert np.corrcoef(frame[inside].mean(axis=0), thing)[0, 1] > 0.9
        assert np.corrcoef(frame[beside].mean(axis=0) - np.mean(frame[beside]), person)[0, 1] > 0.5


def test_the_graph_paints_each_region_to_its_edge_and_not_across_it(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    run = make_run(8)
    clip = Clip(run.info, run.source, run.path("mask.mp4"), run.path("human_mask.mp4"))
    look = decide_looks(clip, parse_prompt("drone, samurai"), [0])[0]
    kept, draft = KeptWindows(tmp_path), load_workflow("draft")
    painter = OneServer(DraftPainter(draft, [look], run.info), comfy, kept, tmp_path, lambda progress: None)
    cuts = read_windows(clip, plan_windows(8, WIDTH, HEIGHT))
    painted = [layers.object for cut in cuts for layers in painter.generate(cut)]
    tint = np.array(list(look.palette.skater.to_bytes(3, "big")), float)
    for index, (source, generated) in enumerate(zip(read_frames(run.source), painted, strict=True)):
        thing, person = square_mask(index), disc_mask(index) & ~square_mask(index)
        near = cv2.dilate(thing.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & person
        for region in (person, near):
            expected = 0.7 * source[region] + 0.3 * tint
            assert np.median(np.abs(generated[region] - expected)) < 4, "the skater's paint, to the object's edge"
        far = ~cv2.dilate((thing | person).astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
        assert not generated[far].any()


def test_the_same_command_again_does_no_work_and_force_gives_the_same_bytes(
    make_run: MakeRun, comfy_server: str
) -> None:
    run = make_run(8)
    reskin(run, comfy_server)
    output = run.path("reskins/cyberpunk-drone-samurai/output.mp4")
    before, written = sha256_file(output), output.stat().st_mtime_ns
    again = reskin(run, "127.0.0.1:9")
    assert again.return_value == 0
    assert "nothing has changed" in again.output
    assert output.stat().st_mtime_ns == written
    assert reskin(run, comfy_server, "--force").return_value == 0
    assert output.stat().st_mtime_ns != written
    assert sha256_file(output) == before


def test_short_windows_give_the_same_bytes_as_one(
    make_run: MakeRun, comfy_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(8)
    reskin(run, comfy_server, "--name", "one")
    monkeypatch.setattr("reskin.windows.MAX_FRAMES", 3)
    reskin(run, comfy_server, "--name", "three")
    records = [json.loads(run.path(f"reskins/{name}/output.json").read_text()) for name in ("one", "three")]
    assert [record["windows"] for record in records] == [[[0, 7]], [[0, 2], [3, 5], [6, 7]]]
    one, three = (sha256_file(run.path(f"reskins/{name}/output.mp4")) for name in ("one", "three"))
    assert one == three


def test_without_a_skaters_mask_only_the_object_changes_and_it_says_so(make_run: MakeRun, comfy_server: str) -> None:
    run = make_run(4, skater=False)
    result = reskin(run, comfy_server)
    assert "no human_mask.mp4, so only the object is re-skinned" in result.output
    record = json.loads(run.path("reskins/cyberpunk-drone-samurai/output.json").read_text())
    assert record["pixels"]["skater_px"] == 0
    assert record["prompt"]["skater"] is None
