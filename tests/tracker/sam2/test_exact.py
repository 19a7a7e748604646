"""In constant memory the logits are upstream's own, bit for bit, whatever is tracked and in whichever direction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from handoff.box import Box
from handoff.video import Frame
from tests.tracker.sam2.helpers import ArrayFrames, Logits, upstream_logits
from tracker.sam2 import session as session_module
from tracker.sam2.memory import Reach
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session, TrackedFrame

pytestmark = pytest.mark.slow

Prompts = Sequence[dict[str, Any]]

MASK = np.zeros((72, 96), bool)
MASK[30:60, 40:70] = True

ONE = [{"frame_idx": 0, "obj_id": 1, "box": Box(10, 15, 40, 50)}]
TWO_WITH_CORRECTIONS = [
    {"frame_idx": 24, "obj_id": 1, "box": Box(20, 20, 50, 50)},
    {"frame_idx": 24, "obj_id": 2, "box": Box(60, 10, 90, 60), "points": [(70.0, 30.0), (5.0, 5.0)], "labels": [1, 0]},
    {"frame_idx": 50, "obj_id": 1, "box": Box(30, 20, 50, 50)},
    {"frame_idx": 31, "obj_id": 2, "points": [(60.5, 33.0)], "labels": [1]},
    {"frame_idx": 58, "obj_id": 2, "mask": MASK},
]
APART = [
    {"frame_idx": 9, "obj_id": 1, "box": Box(20, 20, 50, 50)},
    {"frame_idx": 40, "obj_id": 2, "mask": MASK},
]


def as_upstream_takes_it(prompt: dict[str, Any]) -> dict[str, Any]:
    """Our prompt in upstream's words."""
    box = prompt.get("box")
    return prompt | ({"box": np.array(box.as_list(), np.float32)} if box else {})


def track(predictor: Predictor, scene: list[Frame], prompts: Prompts, folder: Path) -> list[TrackedFrame]:
    with Sam2Session(predictor, ArrayFrames(scene), spool_dir=folder) as session:
        for prompt in prompts:
            rest = {key: value for key, value in prompt.items() if key not in ("frame_idx", "obj_id")}
            session.add_prompt(prompt["frame_idx"], prompt["obj_id"], **rest)
        return list(session.propagate())


def upstream(predictor: Predictor, folder: Path, prompts: Prompts) -> Logits:
    return upstream_logits(predictor, folder, [as_upstream_takes_it(prompt) for prompt in prompts])


def differing(frames: list[TrackedFrame], expected: Logits) -> list[int]:
    """The frames whose logits are not exactly upstream's."""
    assert [frame.frame_index for frame in frames] == sorted(expected)
    return [
        frame.frame_index
        for frame in frames
        if set(frame.logits) != set(expected[frame.frame_index])
        or any(not np.array_equal(values, expected[frame.frame_index][each]) for each, values in frame.logits.items())
    ]


def test_one_object_from_the_first_frame_has_upstreams_logits(
    predictor: Predictor, scene: list[Frame], scene_folder: Path, tmp_path: Path
) -> None:
    ours = track(predictor, scene, ONE, tmp_path)
    assert len(ours) >= 60
    assert differing(ours, upstream(predictor, scene_folder, ONE)) == []


def test_two_objects_with_corrections_have_upstreams_logits_forward_and_backward(
    predictor: Predictor, scene: list[Frame], scene_folder: Path, tmp_path: Path
) -> None:
    ours = track(predictor, scene, TWO_WITH_CORRECTIONS, tmp_path)
    assert differing(ours, upstream(predictor, scene_folder, TWO_WITH_CORRECTIONS)) == []
    for obj_id in (1, 2):  # the comparison is not one of all-black or all-white masks
        both = [frame for frame in ours if 0 < (frame.logits[obj_id] > 0).mean() < 1]
        assert len(both) >= 20
        assert len({frame.logits[obj_id].tobytes() for frame in both}) == len(both)


def test_objects_prompted_on_different_frames_are_tracked_as_if_each_were_alone(
    predictor: Predictor, scene: list[Frame], scene_folder: Path, tmp_path: Path
) -> None:
    alone = [upstream(predictor, scene_folder, [prompt]) for prompt in APART]
    together = {index: alone[0][index] | alone[1][index] for index in alone[0]}
    assert differing(track(predictor, scene, APART, tmp_path), together) == []


@pytest.mark.parametrize(
    ("reach", "first_wrong"), [(Reach(6, 14), 16), (Reach(5, 15), 7)], ids=["pointers", "features"]
)
def test_remembering_one_frame_less_would_change_the_logits(
    predictor: Predictor,
    scene: list[Frame],
    scene_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reach: Reach,
    first_wrong: int,
) -> None:
    short = scene[:20]
    exact = {frame.frame_index: frame.logits for frame in track(predictor, short, ONE, tmp_path)}
    monkeypatch.setattr(session_module, "reach_of", lambda _: reach)
    if reach.features < 6:  # upstream's code stops at a memory that is there without its features
        with pytest.raises(AttributeError):
            track(predictor, short, ONE, tmp_path)
        return
    wrong = differing(track(predictor, short, ONE, tmp_path), exact)
    assert wrong[0] == first_wrong
