"""`python -m demo --wheel WHEEL.whl --out DIR`: write the demo clip and its truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from demo.clip import PROMPT_FRAME, make_clip
from demo.source import HEIGHT, WHEEL_SHA256, WIDTH, load_footage
from handoff.command import main as run_command
from handoff.command import progress
from handoff.errors import InputError, storage_errors
from handoff.files import atomic_file
from handoff.masks import MaskSequenceWriter, bounds
from handoff.video import VideoWriter

CRF = 12  # what a phone's own recording looks like after one good export


def write_clip(wheel: Path, out: Path, seed: int) -> dict[str, Any]:
    """Write demo.mp4, truth.mp4, truth/frame_00000.png and truth.json into `out`; return what truth.json says."""
    footage = load_footage(wheel)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    size = (footage.fps, WIDTH, HEIGHT)
    frames: list[dict[str, Any]] = []
    box = None
    with (
        VideoWriter(out / "demo.mp4", *size, mode="rgb", crf=CRF) as video,
        MaskSequenceWriter(out / "truth.mp4", out / "truth", *size) as truth,
    ):
        for index, made in enumerate(progress(make_clip(footage, seed), total=len(footage.frames), desc="demo clip")):
            video.write(made.frame)
            truth.write(made.mask)
            frames.append({"state": made.state, "area_px": int(made.mask.sum())})
            if index == PROMPT_FRAME:
                box = bounds(made.mask)
    if box is None:
        raise InputError(f"seed {seed} shows no board on the prompt frame {PROMPT_FRAME}; take another seed.")
    described = {
        "schema": 1,
        "seed": seed,
        "fps": f"{footage.fps.numerator}/{footage.fps.denominator}",
        "frame_count": len(frames),
        "width": WIDTH,
        "height": HEIGHT,
        "prompt": {"frame": PROMPT_FRAME, "box": box.as_list()},
        "frames": frames,
        "wheel_sha256": WHEEL_SHA256,
    }
    with atomic_file(out / "truth.json") as partial:
        partial.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return described


@click.command()
@click.option("--wheel", type=click.Path(path_type=Path), required=True, help="The pinned sports2d wheel.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder to write into.")
@click.option("--seed", default=7, show_default=True, help="Same seed, same truth.")
def command(wheel: Path, out: Path, seed: int) -> None:
    """Write the demo clip: demo.mp4, truth.mp4, truth/ and truth.json."""
    described = write_clip(wheel, out, seed)
    prompt = described["prompt"]
    box = ",".join(str(value) for value in prompt["box"])
    click.echo(
        f"{out / 'demo.mp4'}: {described['frame_count']} frames, the board at --frame {prompt['frame']} --bbox {box}"
    )


if __name__ == "__main__":
    run_command(command)
