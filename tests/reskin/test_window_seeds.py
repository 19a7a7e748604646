"""Windows with seeds of their own, on a real ComfyUI server: what is painted again, and what is taken as it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from handoff.errors import UsageError
from handoff.files import sha256_file
from handoff.run import Run
from handoff.video import read_frames
from reskin.cli import command
from reskin.settings import read_seeds
from reskin.windows import FOLDER
from tests.reskin.helpers import disc_mask, square_mask
from tests.reskin.servers import history

MakeRun = Callable[..., Run]
LENGTH = 3


@pytest.fixture
def run(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Eight frames in three windows: 0-2, 3-5, 6-7."""
    monkeypatch.setattr("reskin.windows.MAX_FRAMES", LENGTH)
    return make_run(8)


def reskin(run: Run, server: str, *options: str) -> Result:
    arguments = ["--run", str(run.dir), "--prompt", "drone, samurai", "--workflow", "draft", "--server", server]
    return CliRunner().invoke(command, [*arguments, *options], catch_exceptions=False, standalone_mode=False)


def paint(run: Run, server: str, *options: str) -> tuple[dict[str, Any], int]:
    """Paint; return output.json and how many jobs the server got."""
    before = len(history(server))
    assert reskin(run, server, "--name", "drone", *options).return_value == 0
    record = json.loads(run.path("reskins/drone/output.json").read_text())
    return record, len(history(server)) - before


def frames(run: Run) -> list[np.ndarray]:
    return list(read_frames(run.path("reskins/drone/output.mp4")))


def kept(run: Run) -> dict[str, str]:
    folder = run.path(f"reskins/drone/{FOLDER}")
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*.png"))}


@pytest.mark.server
def test_only_the_window_with_another_seed_is_painted_again_and_both_of_its_takes_stay(
    run: Run, comfy_server: str
) -> None:
    first, jobs = paint(run, comfy_server, "--keep-windows")
    assert (first["window_seeds"], first["windows_resumed"], jobs) == ([0, 0, 0], 0, 3)
    before, pictures = frames(run), kept(run)
    again, jobs = paint(run, comfy_server, "--keep-windows", "--window-seeds", "0,7,0")
    assert (again["window_seeds"], again["windows_resumed"], jobs) == ([0, 7, 0], 2, 1)
    assert pictures.items() < kept(run).items() and len(kept(run)) == len(pictures) + LENGTH
    after = frames(run)
    for index, (one, two) in enumerate(zip(before, after, strict=True)):
        apart = np.abs(one.astype(int) - two)[square_mask(index)].mean()
        assert (apart > 20) == (index in range(3, 6)), "another look in its frames, and in no others"
        outside = ~(square_mask(index) | disc_mask(index))
        assert np.abs(one.astype(int) - two)[outside].mean() < 1
    back, jobs = paint(run, comfy_server, "--keep-windows")
    assert (back["windows_resumed"], jobs) == (3, 0), "what was painted once is never painted again"
    assert all(np.array_equal(one, two) for one, two in zip(before, frames(run), strict=True))
    paint(run, comfy_server, "--force")
    assert not run.path(f"reskins/drone/{FOLDER}").exists(), "unless they are to be kept, they go"


@pytest.mark.server
def test_another_number_of_seeds_than_of_windows_is_refused(run: Run, comfy_server: str) -> None:
    with pytest.raises(UsageError, match="has 2 seeds for the clip's 3 windows"):
        reskin(run, comfy_server, "--window-seeds", "0,7")


def test_seeds_for_windows_are_for_one_reskin(run: Run) -> None:
    with pytest.raises(UsageError, match="for one reskin, and 2 are asked for"):
        reskin(run, "127.0.0.1:9", "--seeds", "2", "--window-seeds", "0,7,0")


def test_seeds_are_whole_numbers_of_comfyuis() -> None:
    assert read_seeds("0, 7,18446744073709551615") == (0, 7, 2**64 - 1)
    for text in ("", "0,", "0,x", "-1", "1.5", "18446744073709551616", "٣"):
        with pytest.raises(UsageError, match=r"--window-seeds has .* is not a whole number from 0 to"):
            read_seeds(text)
