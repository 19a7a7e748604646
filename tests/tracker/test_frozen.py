"""The embedded tracker goes on from a kept state with the very masks of the whole track."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest

from handoff.places import Box, Place
from handoff.video import VideoWriter, probe, read_frames
from tests.tracker.helpers import bouncing_board, make_scene
from tracker.embedded.backend import EmbeddedBackend
from tracker.embedded.classical import EmbeddedTracker
from tracker.embedded.frozen import freeze, thaw
from tracker.interface import Waypoints

Mask = np.ndarray


def track(clip: Path, places: list[Place], waypoints: Waypoints) -> dict[int, Mask]:
    info = probe(clip)
    found = EmbeddedBackend().track(clip, info, range(info.frames), places, [], waypoints)
    return {each.frame_index: each.mask for each in found}


def compare(clip: Path, places: list[Place], every: int) -> dict[int, Mask]:
    """Track from each state that is kept and hold it against the whole track; return that one."""
    states: dict[int, bytes] = {}
    count = probe(clip).frames
    whole = track(clip, places, Waypoints(range(0, count, every), states.__setitem__))
    first = min(place.frame for place in places)
    assert sorted(states) == [index for index in range(0, count, every) if index >= first]
    for behind, state in states.items():
        more: dict[int, bytes] = {}
        again = track(clip, places, Waypoints(range(0, count, every), more.__setitem__, behind, state))
        assert sorted(again) == [*range(behind + 1, count)]
        assert all(np.array_equal(mask, whole[index]) for index, mask in again.items())
        assert more == {index: states[index] for index in states if index > behind}, (
            "and the same states, byte for byte"
        )
    return whole


@pytest.mark.slow
def test_through_an_absence_a_moving_camera_and_a_correction(tmp_path: Path) -> None:
    scene = make_scene(44, bouncing_board, hidden=range(12, 18), pan=1)
    places = [Place(3, Box(*scene.box(3))), Place(30, Box(*scene.box(30)))]
    whole = compare(scene.write(tmp_path / "clip.mp4"), places, 5)
    assert not whole[15].any() and whole[25].any(), "a state is kept while it is lost"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, first, box",
    [("skateboarder.mp4", 118, Box(176, 137, 239, 194)), ("juggle.mp4", 0, Box(280, 150, 380, 230))],
)
def test_on_real_footage(shared: Path, tmp_path: Path, name: str, first: int, box: Box) -> None:
    """At half size. What is followed in the second one is no board; it moves."""
    clip, source = tmp_path / "clip.mp4", shared / "clips" / name
    with VideoWriter(clip, probe(source).fps, 640, 360, crf=12) as writer:
        for frame in read_frames(source, first, first + 40):
            writer.write(np.ascontiguousarray(frame[::2, ::2]))
    whole = compare(clip, [Place(0, box)], 9)
    assert sum(mask.any() for mask in whole.values()) > 20
    assert len({mask.tobytes() for mask in whole.values()}) > 20


def test_a_state_is_data_and_never_code() -> None:
    scene = make_scene(1, bouncing_board)
    tracker = EmbeddedTracker()
    tracker.start(scene.frames[0], Box(*scene.box(0)))
    state = freeze(tracker)
    assert freeze(thaw(state)) == state
    file = io.BytesIO()
    np.savez(file, _mask=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        thaw(zlib.compress(file.getvalue()))
