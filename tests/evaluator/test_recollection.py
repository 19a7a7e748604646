"""--keep-track: the next evaluation of a reskin tracks only from the first changed frame on, with the very same masks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result as Called

from evaluator import recollection
from evaluator.recollection import NAME
from handoff.errors import StorageError
from handoff.ingest import ingest
from handoff.masks import Mask, read_masks
from handoff.run import Run
from handoff.video import Frame, read_frames
from tests.evaluator.helpers import BLUE, masks_against, read_report, write_output
from tests.tracker.helpers import bouncing_board, invoke, make_scene, repaint, text
from tracker.embedded.backend import EmbeddedBackend
from tracker.embedded.classical import EmbeddedTracker

COUNT, WINDOWS = 40, [[0, 9], [10, 19], [20, 29], [30, 39]]
GREEN, RED = (20, 170, 60), (200, 40, 30)


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, scene = tmp_path_factory.mktemp("recollection"), make_scene(COUNT, bouncing_board)
    run = ingest(scene.write(folder / "clip.mp4"), folder / "run")
    invoke(run, "--bbox", text(scene, 2), "--frame", "2", "--backend", "embedded")
    return run.dir


@pytest.fixture
def run(_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = Run.open(Path(shutil.copytree(_made, tmp_path / "run")))
    paint(run)
    return run


def paint(run: Run, **colours: tuple[int, int, int]) -> Path:
    """A reskin in four windows; colours: of a window by its number ("w2"), in place of blue."""
    frames, masks = list(read_frames(run.source)), list(read_masks(run.path("mask.mp4")))

    def painted() -> Iterator[Frame]:
        for number, (first, last) in enumerate(WINDOWS):
            here = slice(first, last + 1)
            yield from repaint(frames[here], masks[here], colours.get(f"w{number}", BLUE))

    clip = write_output(run, painted())
    document = json.loads(clip.with_name("output.json").read_text())
    clip.with_name("output.json").write_text(json.dumps({**document, "windows": WINDOWS}))
    return clip


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames the tracker has seen, one number."""
    seen = [0]
    for name in ("resume", "step"):
        real = getattr(EmbeddedTracker, name)

        def counted(self: EmbeddedTracker, *arguments: Any, real: Callable[..., Mask] = real) -> Mask:
            seen[0] += 1
            return real(self, *arguments)

        monkeypatch.setattr(EmbeddedTracker, name, counted)
    return seen


def judge(run: Run, *options: str) -> tuple[list[dict[str, Any]], Called]:
    files = ("-original", run.path("mask.mp4"), "-generated", run.path("reskins/drone/output.mp4"))
    done = masks_against(*files, "--format", "json", *options)
    return read_report(run.path("reskins/drone/report"))["frames"], done


def whole(run: Run) -> list[dict[str, Any]]:
    """What an evaluation says that knows of nothing before."""
    return judge(run, "--force", "--output", str(run.path("reskins/drone/whole")))[0]


def count(seen: list[int], work: Callable[[], Any]) -> tuple[Any, int]:
    before = seen[0]
    return work(), seen[0] - before


WHOLE = COUNT + 1
"""Frames seen in a track of the whole clip: the prompt's, frame 2, begins both ways."""


def kept(run: Run) -> Path:
    return run.path(f"reskins/drone/{NAME}")


@pytest.mark.parametrize("window, begins", [("w1", 0), ("w2", 7), ("w3", 17)])
def test_a_repainted_window_is_judged_from_the_state_before_it_and_the_figures_are_those_of_the_whole_clip(
    run: Run, tracked: list[int], window: str, begins: int
) -> None:
    (before, _), seen = count(tracked, lambda: judge(run, "--keep-track"))
    assert seen == WHOLE and sorted(each.name for each in kept(run).glob("*.state")) == [
        "16.state",
        "26.state",
        "6.state",
    ]
    paint(run, **{window: RED})
    (after, _), seen = count(tracked, lambda: judge(run, "--keep-track"))
    first = WINDOWS[int(window[1])][0]
    assert seen == COUNT - (first - 3), "from the frame behind the kept state on"
    shutil.rmtree(kept(run))
    (alone, _), seen = count(tracked, lambda: judge(run, "--force"))
    assert seen == WHOLE and after == alone and before != after
