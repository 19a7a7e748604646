"""Clips and masks of others: shown as the source's own are, or refused; never held against another place or moment."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evaluator.cli import command
from handoff.clip.likeness import check_like_source
from handoff.errors import InputError
from handoff.masks import read_masks
from handoff.run import Run
from handoff.video import Frame, read_frames
from reskin.nouns import parse_prompt
from reskin.stage import find_inputs
from reskin.workflow import load_workflow
from tests.evaluator.helpers import FRAMES, read_report
from tests.helpers import moving_square, set_matrix, write_clip

Command = Callable[..., Result]
TURNED = {"turned by 90": (0, 1, -1, 0), "turned by 180": (-1, 0, 0, -1), "mirrored": (-1, 0, 0, 1)}
BACK: dict[str, Callable[[Frame], Frame]] = {
    "turned by 90": np.rot90,
    "turned by 180": lambda picture: picture[::-1, ::-1],
    "mirrored": lambda picture: picture[:, ::-1],
}
"""What is stored, so that it is shown as it was."""
UNEVEN = [*range(FRAMES - 4), *(FRAMES + 2 * index for index in range(4))]
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "wide pixels": (r"has pixels of 4:3, the clip's are square", {"pixel_aspect": Fraction(4, 3)}),
    "a variable rate": (r"has a variable frame rate: frame \d+ lies", {"pts": UNEVEN, "time_base": Fraction(1, 25)}),
}


def rewrite(path: Path, frames: list[Frame], **options: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    return write_clip(path, (np.ascontiguousarray(each) for each in frames), options={"crf": "4"}, **options)


def masks_of(run: Run) -> list[Frame]:
    return [np.repeat(mask[..., None].astype(np.uint8) * 255, 3, axis=2) for mask in read_masks(run.path("mask.mp4"))]


@pytest.mark.parametrize("kind", TURNED)
def test_a_generated_clip_that_is_stored_turned_has_the_same_verdict(
    kind: str, gate: Command, run: Run, report: Path
) -> None:
    assert gate().return_value == 0
    frames = [BACK[kind](frame) for frame in read_frames(run.path("reskins/drone/output.mp4"))]
    turned = set_matrix(rewrite(run.path("reskins/turned/output.mp4"), frames), TURNED[kind])
    assert gate("--generated", turned).return_value == 0
    plain, other = (read_report(folder)["summary"] for folder in (report, turned.parent / "report"))
    assert other["minimum"] == pytest.approx(plain["minimum"], abs=0.03) and other["minimum"] > 0.9


@pytest.mark.parametrize("kind", REFUSED)
def test_a_clip_or_a_mask_of_other_pixels_or_moments_is_refused(kind: str, gate: Command, run: Run) -> None:
    words, options = REFUSED[kind]
    clip = rewrite(run.path("reskins/other/output.mp4"), list(read_frames(run.source)), **options)
    mask = rewrite(run.path("other.mp4"), masks_of(run), **options)
    check_refusals(gate, run, mask, words)
    with pytest.raises(InputError, match=words):
        gate("--generated", clip)
    assert not (clip.parent / "report").exists() and not (clip.parent / "run.json").exists()


@pytest.mark.parametrize("kind", TURNED)
def test_a_mask_that_is_stored_turned_is_refused(kind: str, gate: Command, run: Run) -> None:
    mask = rewrite(run.path("other.mp4"), [BACK[kind](mask) for mask in masks_of(run)])
    check_refusals(gate, run, set_matrix(mask, TURNED[kind]), r"is stored otherwise than it is shown \(rotation of ")


def check_refusals(gate: Command, run: Run, mask: Path, words: str) -> None:
    """Hold that every stage refuses a mask."""
    own = str(run.path("mask.mp4"))
    for given in (["-original", str(mask), "--generated-mask", own], ["-original", own, "--generated-mask", str(mask)]):
        with pytest.raises(InputError, match=words):
            CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False)
    with pytest.raises(InputError, match=words):
        gate("--original", mask)
    with pytest.raises(InputError, match=words):
        find_inputs(run, parse_prompt("drone"), mask, None, load_workflow("draft"))


def test_what_has_its_frames_at_their_places_passes(tmp_path: Path, run: Run) -> None:
    for name, options in {
        "b-frames.mp4": {"options": {"bf": "3"}},
        "ticks.mkv": {"fps": Fraction(30000, 1001)},
        "late.mp4": {"pts": [7 + index for index in range(20)], "time_base": Fraction(1, 25)},
        "jitter.mp4": {"pts": [40 * index + 15 * (index % 2) for index in range(20)], "time_base": Fraction(1, 1000)},
        "one.mp4": {},
        "old.avi": {"codec": "mpeg4"},
        "web.webm": {"codec": "libvpx", "options": {"deadline": "realtime"}},
    }.items():
        frames = moving_square(1 if name == "one.mp4" else 20)
        check_like_source(write_clip(tmp_path / name, frames, **options), mask=True)  # type: ignore[arg-type]
    check_like_source(run.path("mask.mp4"), mask=True)
    check_like_source(Path(shutil.copytree(run.path("mask_skateboard"), tmp_path / "folder")), mask=True)
