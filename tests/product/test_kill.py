"""kill -9 in the middle of each stage, then the same command again: the result is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from handoff.run import Run
from tests.helpers import HANG_S, DemoRun, Product, moving_square, records, take_out, until, write_clip

pytestmark = [pytest.mark.stage, pytest.mark.server, pytest.mark.slow]


def processes(module: str, data: Path) -> list[int]:
    """Return the ids of the processes that run `python -m module` on a run in `data`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if module.encode() in words and any(str(data).encode() in word for word in words):
            found.append(int(entry.name))
    return found


def kill_while_writing(product: Product, module: str, command: list[str], partial: str, who: str = "stage") -> None:
    """Start a command, wait until `module` writes a file that matches `partial`, then SIGKILL it."""
    with subprocess.Popen(
        command, env=product.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as root:

        def is_writing() -> bool:
            return bool(processes(module, product.data)) and bool(list(product.data.rglob(partial)))

        until(f"{module} writes {partial}", lambda: is_writing() or root.poll() is not None)
        assert root.poll() is None, f"ended before {module} was seen to write {partial}"
        if who == "root":
            root.kill()
        else:
            for pid in processes(module, product.data):
                os.kill(pid, signal.SIGKILL)
        assert root.wait(HANG_S) != 0
    until(f"{module} ends with the command that was killed", lambda: not processes(module, product.data))


def digests(folder: Path, stage: str) -> dict[str, str]:
    return {each["path"]: each["sha256"] for each in records(folder)[stage]["outputs"]}


def copy_without(demo_run: DemoRun, product: Product, *stages: str) -> Path:
    """Copy the demo's run and take stages out of it, files and records."""
    folder = product.run("demo")
    shutil.copytree(demo_run.folder, folder)
    shutil.copy(demo_run.folder.parent / ".latest", folder.parent)
    take_out(folder, *stages)
    return folder


@pytest.mark.parametrize(
    ("module", "partial", "who"),
    [
        ("posegen", ".pose.mp4.*.partial", "stage"),
        ("tracker", ".mask_skateboard.*.partial", "stage"),
        ("tracker", ".mask_skateboard.*.partial", "root"),
    ],
)
def test_extract_killed(
    demo_run: DemoRun, demo_clip: Path, product: Product, module: str, partial: str, who: str
) -> None:
    prompt = json.loads((demo_clip / "truth.json").read_text())["prompt"]
    box = ",".join(str(value) for value in prompt["box"])
    options = ("-i", demo_clip / "demo.mp4", "--bbox", box, "--frame", prompt["frame"])
    command = product.command("extract_physics.py", *options)
    kill_while_writing(product, module, command, partial, who)
    folder = product.run("demo")
    assert module not in Run.open(folder).manifest["stages"]
    done = product("extract_physics.py", *options)
    assert done.returncode == 0, done.stderr
    for stage in ("ingest", "posegen", "tracker"):
        assert digests(folder, stage) == digests(demo_run.folder, stage)
    assert not list(folder.rglob("*.partial"))


@pytest.mark.parametrize("who", ["stage", "root"])
def test_reskin_killed(demo_run: DemoRun, product: Product, who: str) -> None:
    folder = copy_without(demo_run, product, "reskin", "evaluator")
    options = ("--prompt", "cyberpunk drone, samurai", "--mask", "mask.mp4", "--pose", "pose.json")
    command = product.command("generate_reskin.py", *options)
    kill_while_writing(product, "reskin", command, ".output.mp4.*.partial", who)
    assert not list(folder.rglob("output.mp4"))
    done = product("generate_reskin.py", *options)
    assert done.returncode == 0, done.stderr
    name = f"reskin/{demo_run.reskin.name}"
    assert digests(folder, name) == digests(demo_run.folder, name)
    assert not list(folder.rglob("*.partial"))


def test_evaluate_killed(demo_run: DemoRun, product: Product) -> None:
    folder = copy_without(demo_run, product, "evaluator")
    options = ("-original", "mask.mp4", "-generated", "output.mp4")
    command = product.command("evaluate_iou.py", *options)
    kill_while_writing(product, "evaluator", command, ".overlay.mp4.*.partial")
    assert not list(folder.rglob("iou.json"))
    done = product("evaluate_iou.py", *options)
    assert done.returncode == demo_run.result.returncode
    name = f"evaluator/{demo_run.reskin.name}"
    assert digests(folder, name) == digests(demo_run.folder, name)


def test_ingest_killed(product: Product, demo_clip: Path, tmp_path: Path) -> None:
    """A clip that must be encoded again, killed while it is."""
    clip = write_clip(
        tmp_path / "long.mp4", moving_square(200, width=641, height=361), pix_fmt="yuv444p", options={"crf": "30"}
    )
    options = ("-i", clip, "--bbox", "20,40,52,72")
    command = product.command("extract_physics.py", *options)
    kill_while_writing(product, "tracker", command, ".source.mp4.*.partial")
    assert not (product.run("long") / "run.json").exists()
    done = product("extract_physics.py", *options)
    assert done.returncode == 0, done.stderr
    assert Run.open(product.run("long")).info.frames == 200
