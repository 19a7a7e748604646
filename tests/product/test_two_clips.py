"""Two clips and one run, with the real commands: nobody ends well with the other's clip, and no old mask passes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from handoff.files import sha256_file
from tests.helpers import HANG_S, Product, moving_square, square_position, until, write_clip

pytestmark = [pytest.mark.stage, pytest.mark.slow]
FRAMES = 10


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """camA/clip.mp4 and camB/clip.mp4, of one size and length, with squares of different sizes."""
    made = []
    for camera, side in (("camA", 32), ("camB", 40)):
        (tmp_path / camera).mkdir()
        made.append(write_clip(tmp_path / camera / "clip.mp4", moving_square(FRAMES, side=side)))
    return made


def boxed() -> tuple[str, ...]:
    x, y = square_position(0)
    return ("--bbox", f"{x},{y},{x + 32},{y + 32}")


def source_of(run: Path) -> str:
    try:
        return str(json.loads((run / "run.json").read_text())["source"]["sha256"])
    except (OSError, ValueError):
        return ""


def start(product: Product, *arguments: object) -> subprocess.Popen[str]:
    command = product.command("extract_physics.py", *arguments)
    return subprocess.Popen(
        command,
        env=product.environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.mark.parametrize("forced", [False, True])
def test_of_two_extracts_for_one_run_at_once_none_ends_well_with_the_others_clip(
    product: Product, clips: list[Path], forced: bool
) -> None:
    run = product.run("clip")
    first = start(product, "-i", clips[0], *boxed())
    if forced:
        until("the first has made the run", lambda: source_of(run) == sha256_file(clips[0]) or first.poll() is not None)
    second = start(product, "-i", clips[1], *boxed(), *(["--force"] if forced else []))
    said = [child.communicate(timeout=HANG_S)[0] for child in (first, second)]
    codes = [child.returncode for child in (first, second)]
    held = source_of(run)
    assert sorted(codes) in ([0, 2], [2, 2]), said
    for code, clip in zip(codes, clips, strict=True):
        assert code != 0 or held == sha256_file(clip), said
    if 0 in codes:
        assert (run / "source.mp4").read_bytes() == clips[codes.index(0)].read_bytes()
        record = json.loads((run / "run.json").read_text())["stages"]["tracker"]
        assert record["inputs"]["source.mp4"] == sha256_file(run / "source.mp4")


def test_a_forced_extract_of_another_clip_that_is_killed_leaves_no_mask_that_passes(
    product: Product, clips: list[Path]
) -> None:
    run = product.run("clip")
    done = product("extract_physics.py", "-i", clips[0], *boxed())
    assert done.returncode == 0, done.stderr
    kept = Path(shutil.copytree(run, product.data / "kept"))
    clip = run / "reskins" / "same" / "output.mp4"
    clip.parent.mkdir(parents=True)
    shutil.copy(run / "source.mp4", clip)
    judge = ("evaluate_iou.py", "-original", run / "mask.mp4", "-generated", clip, "--no-pose", "--min-replaced", "0")
    assert product(*judge).returncode == 0, "the clip itself fills its own outline"

    killed = start(product, "-i", clips[1], *boxed(), "--force")
    until("the other clip is there", lambda: source_of(run) == sha256_file(clips[1]) or killed.poll() is not None)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait(HANG_S) != 0 and source_of(run) == sha256_file(clips[1])
    assert not (run / "mask.mp4").exists() and not (clip.parent / "report").exists()

    paint = (
        "generate_reskin.py",
        "--run",
        "clip",
        "--prompt",
        "drone",
        "--workflow",
        "draft",
        "--server",
        "127.0.0.1:1",
    )
    for command in (judge, paint):
        told = product(*command)
        assert told.returncode == 2 and "mask.mp4" in told.stderr, told.stderr
    for name in ("mask.mp4", "human_mask.mp4", "pose.json", "pose.mp4"):  # as earlier versions left them
        shutil.copy(kept / name, run / name)
    for command in (judge, paint):
        told = product(*command)
        assert told.returncode == 2 and "was not made of this run's source.mp4" in told.stderr, told.stderr
