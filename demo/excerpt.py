"""`python -m demo.excerpt FOLDER FIRST LAST OUT`: some frames of the demo clip, with a box of the board in them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from demo.__main__ import CRF
from demo.clip import PROMPT_FRAME
from handoff.command import main
from handoff.errors import InputError, storage_errors
from handoff.files import atomic_file
from handoff.masks import bounds, read_masks
from handoff.video import VideoWriter, probe, read_frames


def cut(folder: Path, first: int, last: int, out: Path) -> None:
    """Write frames `first` to `last` of FOLDER/demo.mp4 as OUT/demo.mp4, and OUT/truth.json with a box.

    The box is that of the clip's own prompt where its frame is in there, else of the first frame with a board.
    Raises InputError for frames that the clip has not, or that show no board.
    """
    info = probe(folder / "demo.mp4")
    if not 0 <= first <= last < info.count:
        raise InputError(f"the demo clip has the frames 0 to {info.count - 1}, not {first} to {last}; choose others.")
    wanted = range(PROMPT_FRAME if first <= PROMPT_FRAME <= last else first, last + 1)
    masks = enumerate(read_masks(folder / "truth.mp4"))
    prompt = next((found for index, mask in masks if index in wanted and (found := (index, bounds(mask)))[1]), None)
    if prompt is None or prompt[1] is None:
        raise InputError(f"the frames {first} to {last} of the demo clip show no board; choose others.")
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with VideoWriter(out / "demo.mp4", info.fps, info.width, info.height, mode="rgb", crf=CRF) as video:
        for frame in read_frames(folder / "demo.mp4", first, last + 1):
            video.write(frame)
    described = {"prompt": {"frame": prompt[0] - first, "box": prompt[1].as_list()}, "frame_count": last - first + 1}
    with atomic_file(out / "truth.json") as partial:
        partial.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("first", type=int)
@click.argument("last", type=int)
@click.argument("out", type=click.Path(path_type=Path))
def command(folder: Path, first: int, last: int, out: Path) -> None:
    """Cut frames FIRST to LAST out of the demo clip in FOLDER."""
    cut(folder, first, last, out)


if __name__ == "__main__":
    main(command)
