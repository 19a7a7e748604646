"""Wan VACE end to end on a real ComfyUI server, with tiny random checkpoints: it paints noise, in exact regions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from handoff.masks import Mask, frame_name
from handoff.poses import PoseWriter
from handoff.run import Run
from handoff.video import Frame, VideoWriter, probe, read_frames
from reskin.cli import command
from reskin.clip import read_png
from reskin.keep import FOLDER, KeptWindows
from reskin.server import ComfyServer
from reskin.sizes import fit_into
from reskin.windows import later_weight
from runner.process import ROOT
from tests.reskin.conftest import FPS, HEIGHT, WIDTH, disc_mask, square_mask

pytestmark = [pytest.mark.server, pytest.mark.slow]
MakeRun = Callable[..., Run]
MODEL = (80, 64)
FIT = fit_into(WIDTH, HEIGHT, *MODEL)
SMALL = ("--size", "80x64", "--steps", "2")
TWO = ("--window", "21", "--overlap", "5")
"""Two windows of 33 frames: 0-20 and 16-32."""
NAME = "reskins/drone-samurai"


def arguments(run: Run, server: str, *options: str, prompt: str = "drone, samurai") -> list[str]:
    return ["--run", str(run.dir), "--prompt", prompt, "--server", server, *SMALL, *options]


def reskin(run: Run, server: str, *options: str, prompt: str = "drone, samurai") -> Result:
    given = arguments(run, server, *options, prompt=prompt)
    return CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False)


@contextmanager
def kept_open() -> Iterator[list[Frame]]:
    """Keep the windows' pictures, which a finished reskin removes, and every frame as it goes into output.mp4."""
    written: list[Frame] = []
    encode = VideoWriter.write

    def write(self: VideoWriter, frame: Frame) -> None:
        if self.path.name == "output.mp4":
            written.append(frame.copy())
        encode(self, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoWriter, "write", write)
        patch.setattr(KeptWindows, "clear", lambda self: None)
        yield written


def pictures(run: Run, window: int, first: int, count: int) -> list[Frame]:
    """What the server gave for a window, from picture `first` on, at the clip's size."""
    (folder,) = run.path(f"{NAME}/{FOLDER}").glob(f"{window:04d}-*")
    return [FIT.to_source(read_png(folder / frame_name(first + index))) for index in range(count)]


def regions(index: int) -> tuple[Mask, Mask]:
    return square_mask(index), disc_mask(index) & ~square_mask(index)


def finished_jobs(server: str) -> int:
    return len(ComfyServer(server).get("/history"))


def kill_after(run: Run, server: str, windows: int, *options: str) -> list[Path]:
    """Start the command, SIGKILL it when so many windows are finished, and return their folders."""
    process = subprocess.Popen(
        [sys.executable, "-m", "reskin", *arguments(run, server, *options)], cwd=ROOT, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 400
        while time.monotonic() < deadline and process.poll() is None:
            done = sorted(run.path(f"{NAME}/{FOLDER}").glob("[0-9]*"))
            if len(done) >= windows:
                return done
            time.sleep(0.05)
        pytest.fail(f"no {windows} windows were finished (exit code {process.poll()})")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def stop_all(server: str) -> None:
    """Stop what the killed command left running on the server."""
    comfy = ComfyServer(server)
    while any(comfy.get("/queue").values()):
        for entry in [each for entries in comfy.get("/queue").values() for each in entries]:
            comfy.interrupt(entry[1])
        time.sleep(0.5)


def test_a_killed_locked_reskin_goes_on_and_every_pixel_is_where_it_belongs(
    make_run: MakeRun, comfy_server: str
) -> None:
    run = make_run(33)
    options = ("--workflow", "wan_vace_locked", *TWO)
    first = kill_after(run, comfy_server, 1, *options)[0]
    assert not run.path(f"{NAME}/output.mp4").exists()
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    assert len(before) == 2 * 21
    stop_all(comfy_server)
    jobs = finished_jobs(comfy_server)

    with kept_open() as written:
        assert reskin(run, comfy_server, *options).return_value == 0
    record = json.loads(run.path(f"{NAME}/output.json").read_text())
    assert record["windows"] == [[0, 20], [16, 32]]
    assert record["windows_resumed"] == 1
    assert finished_jobs(comfy_server) - jobs == 1, "a finished window is not painted again"
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == before

    info = probe(run.path(f"{NAME}/output.mp4"))
    assert (info.width, info.height, info.fps, info.frames) == (WIDTH, HEIGHT, FPS, 33)
    assert record["size"] == {"model": [80, 64], "inner": [80, 60], "offset": [0, 2]}
    check_pixels(run, written, record["pixels"])


def check_pixels(run: Run, written: list[Frame], counted: dict[str, int]) -> None:
    """Hold every frame against what the server gave for each pass and window."""
    lengths, starts = (21, 17), (0, 16)
    skaters = [pictures(run, window, 0, count) for window, count in enumerate(lengths)]
    objects = [pictures(run, window, count, count) for window, count in enumerate(lengths)]
    told_apart = 0
    for index, (source, output) in enumerate(zip(read_frames(run.source), written, strict=True)):
        thing, person = regions(index)
        outside = ~(thing | person)
        assert np.array_equal(output[outside], source[outside]), f"frame {index}: the background is the source's"
        places = [(k, index - start) for k, start in enumerate(starts) if start <= index < start + lengths[k]]
        for mask, layers, other in ((thing, objects, skaters), (person, skaters, objects)):
            if len(places) == 1:
                ((window, at),) = places
                assert np.array_equal(output[mask], layers[window][at][mask]), f"frame {index}: its own pass, exactly"
                told_apart += int((layers[window][at] != other[window][at]).any(axis=2)[mask].sum())
            else:
                (early, at), (late, then) = places
                weight = later_weight(then, 5)
                mixed = (1 - weight) * layers[early][at][mask] + weight * layers[late][then][mask]
                assert np.abs(output[mask] - mixed).max(initial=0) <= 0.501, f"frame {index}: cross-faded"
    inside = [[int(mask.sum()) for mask in regions(index)] for index in range(33)]
    assert counted["changed_outside_px"] == 0
    assert [counted["object_px"], counted["skater_px"]] == list(np.sum(inside, axis=0))
    assert counted["object_changed_px"] > 0.99 * counted["object_px"]
    assert counted["skater_changed_px"] > 0.99 * counted["skater_px"]
    single = sum(sum(inside[index]) for index in range(33) if index not in range(16, 21))
    assert told_apart > 0.9 * single, "the two passes differ, so that taking one for the other would be seen"


def test_anchored_windows_keep_the_earlier_windows_frames(make_run: MakeRun, comfy_server: str) -> None:
    run = make_run(15)
    with kept_open() as written:
        reskin(run, comfy_server, "--workflow", "wan_vace", "--window", "13", "--overlap-mode", "anchor")
    record = json.loads(run.path(f"{NAME}/output.json").read_text())
    assert record["windows"] == [[0, 12], [8, 14]]
    assert record["overlap"] == {"frames": 5, "mode": "anchor"}
    assert record["pixels"]["changed_outside_px"] == 0
    made = [*pictures(run, 0, 0, 13), *pictures(run, 1, 0, 7)[5:]]
    for index, (output, picture) in enumerate(zip(written, made, strict=True)):
        region = square_mask(index) | disc_mask(index)
        assert np.array_equal(output[region], picture[region]), index


@pytest.fixture(scope="module")
def plain(comfy_server: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Frame]]:
    """Paint five frames with further options, unlocked; return what the model did."""

    def paint(run: Run, name: str, *options: str) -> list[Frame]:
        given = ("--workflow", "wan_vace_locked", "--no-lock", "--name", name, *options)
        result = reskin(run, comfy_server, *given, prompt="drone")
        assert "wan_vace (" in result.output, "without a skater the object's pass alone does it"
        return list(read_frames(run.path(f"reskins/{name}/output.mp4")))

    return paint


def differ(first: list[Frame], second: list[Frame]) -> bool:
    return bool(np.mean(np.abs(np.subtract(first, second, dtype=np.int16)) > 20) > 0.05)


def test_reference_lora_and_prompt_change_what_the_model_does(
    make_run: MakeRun, plain: Callable[..., list[Frame]], tmp_path: Path
) -> None:
    run = make_run(5, skater=False)
    reference = tmp_path / "drone.png"
    picture = np.zeros((40, 90, 3), np.uint8)
    picture[:, 30:] = (250, 30, 90)
    cv2.imwrite(str(reference), picture)
    base = plain(run, "base")
    record = json.loads(run.path("reskins/base/output.json").read_text())
    assert record["pixels"]["changed_outside_px"] > 0.9 * 5 * (WIDTH * HEIGHT - 32 * 32), (
        "unlocked: nothing is put back"
    )
    for name, *options in (
        ("lora", "--lora", "tiny_lora.safetensors:0.7"),
        ("reference", "--reference", str(reference)),
        ("words", "--object-prompt", "a red board"),
    ):
        assert differ(base, plain(run, name, *options)), name


def test_make_reskin_takes_the_locked_workflow_where_its_models_are(
    make_run: MakeRun, comfy_server: str, tiny_models: Path, tmp_path: Path
) -> None:
    run = make_run(5, "clip")
    with PoseWriter(run.path("pose.json"), {}) as poses:
        for _ in range(5):
            poses.write([])
    (tmp_path / "data" / "runs").mkdir(parents=True)
    run.dir.rename(tmp_path / "data" / "runs" / "clip")
    given = {"DATA_DIR": str(tmp_path / "data"), "MODELS_DIR": str(tiny_models), "RUNNER": "local"}
    words = ["PROMPT=drone, samurai", "RUN=clip", f"PYTHON={sys.executable}"]
    options = f"ARGS=--server {comfy_server} {' '.join(SMALL)}"
    done = subprocess.run(
        ["make", "--no-print-directory", "reskin", *words, options],
        cwd=ROOT,
        env=os.environ | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    assert "workflow wan_vace_locked (wan2.1_vace_1.3B_fp16.safetensors)" in done.stdout
    assert "5 frames; 0 px changed outside the regions" in done.stdout
    folder = tmp_path / "data" / "runs" / "clip" / NAME
    assert probe(folder / "output.mp4").frames == 5
    assert sorted(path.name for path in folder.iterdir()) == ["output.json", "output.mp4"], "no window is left behind"
