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
from handoff.video import probe, read_frames
from tests.helpers import write_clip
from tests.tracker.sam2.helpers import BOX, IMAGE_SIZE, OTHER, SMALL, moving_scene
from tracker.interface import Found, Waypoints
from tracker.sam2.backend import Sam2Backend

FRAMES, EVERY = 44, 12
Asked = tuple[tuple[Place, ...], tuple[Place, ...]]
FORWARD: Asked = ((Place(0, BOX),), ())
BOTH_WAYS: Asked = ((Place(5, BOX), Place(30, OTHER, (Point(45, 45, 0),))), (Place(3, OTHER),))
"""Backward too, with a correction, and the skater."""
LATE: Asked = ((Place(12, BOX),), ())
AHEAD: Asked = ((Place(0, BOX), Place(25, OTHER)), (Place(36, OTHER),))
"""A correction, and the skater's place, which is tracked backward nearly from the end: so no state is kept."""


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
        waypoints = Waypoints(range(0, FRAMES, EVERY), self.states.__setitem__, *behind)  # type: ignore[arg-type]
        self.found = {
            each.frame_index: each for each in backend.track(clip, probe(clip), shot, *asked, waypoints=waypoints)
        }


def same(a: Found, b: Found) -> bool:
    humans = (a.human is None and b.human is None) or np.array_equal(a.human, b.human)  # type: ignore[arg-type]
    return np.array_equal(a.mask, b.mask) and a.score == b.score and humans


@pytest.mark.slow
@pytest.mark.parametrize("asked, first", [(FORWARD, 0), (BOTH_WAYS, 36)], ids=["forward", "both ways"])
def test_from_each_state_on_it_is_the_whole_track(
    backend: Sam2Backend, long_clip: Path, asked: Asked, first: int
) -> None:
    """first: the earliest state; before it, a frame hangs on the correction that is still to come."""
    whole = Track(backend, long_clip, range(FRAMES), asked)
    assert sorted(whole.states) == [*range(first, FRAMES, EVERY)]
    for behind, state in whole.states.items():
        again = Track(backend, long_clip, range(FRAMES), asked, behind, state)
        assert sorted(again.found) == [*range(behind + 1, FRAMES)]
        assert all(same(found, whole.found[index]) for index, found in again.found.items())
        later = min(again.states, default=None)
        if later is not None:
            further = Track(backend, long_clip, range(FRAMES), asked, later, again.states[later])
            assert all(same(found, whole.found[index]) for index, found in further.found.items())
    assert sum(each.mask.any() for each in whole.found.values()) > FRAMES // 2, "there is something to compare"


@pytest.mark.parametrize(
    "asked",
    [
        BOTH_WAYS,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (FORWARD, LATE, AHEAD)),
    ],
    ids=["both ways", "forward", "late", "ahead"],
)
def test_a_clip_that_has_changed_behind_a_state_has_the_same_masks_up_to_it_and_goes_on_from_it_as_from_the_start(
    backend: Sam2Backend, long_clip: Path, tmp_path: Path, asked: Asked
) -> None:
    """Wherever the change is: whatever a mask hangs on is before the state, or no state is there."""
    before, frames, compared = Track(backend, long_clip, range(FRAMES), asked), moving_scene(FRAMES), 0
    for changed in (28, 40):
        other = [*frames[:changed], *(np.ascontiguousarray(255 - frame) for frame in frames[changed:])]
        clip = write_clip(tmp_path / f"{changed}.mp4", other)
        pairs = enumerate(zip(read_frames(long_clip), read_frames(clip), strict=True))
        first = next(index for index, (old, new) in pairs if not np.array_equal(old, new))
        behind = max((index for index in before.states if index < first), default=None)
        if behind is None:
            continue
        whole, compared = Track(backend, clip, range(FRAMES), asked), compared + 1
        assert all(same(whole.found[index], before.found[index]) for index in range(behind + 1))
        again = Track(backend, clip, range(FRAMES), asked, behind, before.states[behind])
        assert all(same(found, whole.found[index]) for index, found in again.found.items())
        assert not all(same(whole.found[index], before.found[index]) for index in again.found)
    assert compared or (asked is AHEAD and not before.states)


def test_in_a_later_shot_frames_are_counted_in_the_clip(backend: Sam2Backend, long_clip: Path) -> None:
    shot, asked = range(10, FRAMES), ((Place(10, BOX),), ())
    whole = Track(backend, long_clip, shot, asked)
    assert sorted(whole.states) == [12, 24, 36]
    again = Track(backend, long_clip, shot, asked, 24, whole.states[24])
    assert sorted(again.found) == [*range(25, FRAMES)]
    assert all(same(found, whole.found[index]) for index, found in again.found.items())


def test_another_state_gives_other_masks(backend: Sam2Backend, long_clip: Path) -> None:
    """So the tests above do look at what the state holds."""
    whole = Track(backend, long_clip, range(FRAMES), FORWARD)
    again = Track(backend, long_clip, range(FRAMES), FORWARD, 24, whole.states[12])
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
