"""SAM 2.1 goes on from a kept state with the very masks, scores and states of the whole track."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import torch

from handoff.places import Place, Point
from handoff.video import probe
from tests.helpers import write_clip
from tests.tracker.sam2.helpers import BOX, IMAGE_SIZE, OTHER, SMALL, moving_scene
from tracker.interface import Found, Waypoints
from tracker.sam2.backend import Sam2Backend

FRAMES = 44
Asked = tuple[tuple[Place, ...], tuple[Place, ...]]
FORWARD: Asked = ((Place(0, BOX),), ())
BOTH_WAYS: Asked = ((Place(5, BOX), Place(30, OTHER, (Point(45, 45, 0),))), (Place(3, OTHER),))
"""Backward too, a correction that is still to come in most states, and the skater."""


@pytest.fixture(scope="module")
def backend(checkpoint: tuple[Path, str]) -> Sam2Backend:
    overrides = [f"++model.image_size={IMAGE_SIZE}", *SMALL]
    return Sam2Backend("tiny", *checkpoint, "cpu", overrides=overrides)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("waypoints") / "clip.mp4", moving_scene(FRAMES))


class Track:
    """A track of a shot, with the states that it kept."""

    def __init__(self, backend: Sam2Backend, clip: Path, shot: range, asked: Asked, *behind: object) -> None:
        self.states: dict[int, bytes] = {}
        waypoints = Waypoints(range(0, FRAMES, 6), self.states.__setitem__, *behind)  # type: ignore[arg-type]
        self.found = {
            each.frame_index: each for each in backend.track(clip, probe(clip), shot, *asked, waypoints=waypoints)
        }


def same(a: Found, b: Found) -> bool:
    humans = (a.human is None and b.human is None) or np.array_equal(a.human, b.human)  # type: ignore[arg-type]
    return np.array_equal(a.mask, b.mask) and a.score == b.score and humans


@pytest.mark.parametrize("asked, first", [(FORWARD, 0), (BOTH_WAYS, 24)], ids=["forward", "both ways"])
def test_from_each_state_on_it_is_the_whole_track(
    backend: Sam2Backend, long_clip: Path, asked: Asked, first: int
) -> None:
    """first: the earliest state; before it, what was tracked backward has still to come."""
    whole = Track(backend, long_clip, range(FRAMES), asked)
    assert sorted(whole.states) == [*range(first, FRAMES, 6)]
    for behind, state in whole.states.items():
        again = Track(backend, long_clip, range(FRAMES), asked, behind, state)
        assert sorted(again.found) == [*range(behind + 1, FRAMES)]
        assert all(same(found, whole.found[index]) for index, found in again.found.items())
        later = min(again.states, default=None)
        if later is not None:
            further = Track(backend, long_clip, range(FRAMES), asked, later, again.states[later])
            assert all(same(found, whole.found[index]) for index, found in further.found.items())
    changing = [index for index in whole.found if whole.found[index].mask.any()]
    assert len(changing) > FRAMES // 2, "there is something to compare"


def test_in_a_later_shot_frames_are_counted_in_the_clip(backend: Sam2Backend, long_clip: Path) -> None:
    shot, asked = range(10, FRAMES), ((Place(10, BOX),), ())
    whole = Track(backend, long_clip, shot, asked)
    assert sorted(whole.states) == [12, 18, 24, 30, 36, 42]
    again = Track(backend, long_clip, shot, asked, 24, whole.states[24])
    assert sorted(again.found) == [*range(25, FRAMES)]
    assert all(same(found, whole.found[index]) for index, found in again.found.items())


def test_another_state_gives_other_masks(backend: Sam2Backend, long_clip: Path) -> None:
    """So the tests above do look at what the state holds."""
    whole = Track(backend, long_clip, range(FRAMES), FORWARD)
    again = Track(backend, long_clip, range(FRAMES), FORWARD, 24, whole.states[6])
    assert not all(same(found, whole.found[index]) for index, found in again.found.items())


@pytest.mark.parametrize("state", [b"", b"not a state", "a pickle that calls"])
def test_a_state_is_data_and_never_code(backend: Sam2Backend, long_clip: Path, tmp_path: Path, state: object) -> None:
    """What may be in a stranger's folder; the evaluator believes only what this machine sealed, and torch no code."""
    if isinstance(state, str):

        class Evil:
            def __reduce__(self) -> object:
                return os.mkdir, (str(tmp_path / "made"),)

        file = io.BytesIO()
        torch.save(Evil(), file)
        state = file.getvalue()
    with pytest.raises((pickle.UnpicklingError, EOFError, RuntimeError)):
        Track(backend, long_clip, range(FRAMES), FORWARD, 24, state)
    assert not (tmp_path / "made").exists()


def test_compiled_or_on_a_gpu_no_state_is_kept_as_that_was_not_shown_to_be_the_same(
    backend: Sam2Backend, long_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "_repeats", False)
    assert Track(backend, long_clip, range(FRAMES), FORWARD).states == {}
