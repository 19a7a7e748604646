"""A session: what it refuses, how masks are made of logits, and that its logits are upstream's own, bit for bit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from handoff.errors import InputError, StorageError, UsageError
from handoff.places import Box
from handoff.threads import Ahead, Behind
from handoff.video import Frame
from tests.tracker.sam2.helpers import ArrayFrames, Logits, upstream_logits
from tracker.sam2 import session as session_module
from tracker.sam2.memory import LogitSpool, Reach
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session, TrackedFrame, exclusive_masks

BOX = Box(10, 15, 40, 50)


def test_prompts_that_cannot_be_meant_are_refused(predictor: Predictor, scene: list[Frame], tmp_path: Path) -> None:
    with Sam2Session(predictor, ArrayFrames(scene), spool_dir=tmp_path) as session:
        with pytest.raises(InputError, match="frame 64 is not there: there are 64 frames, 0 to 63"):
            session.add_prompt(64, 1, box=BOX)
        with pytest.raises(UsageError, match="a prompt is"):
            session.add_prompt(0, 1)
        with pytest.raises(UsageError, match="a prompt is"):
            session.add_prompt(0, 1, box=BOX, mask=np.zeros((72, 96), bool))
        with pytest.raises(UsageError, match="needs a label"):
            session.add_prompt(0, 1, points=[(1.0, 2.0)])
        with pytest.raises(UsageError, match="after at least one"):
            next(session.propagate())


def test_a_prompt_after_tracking_began_is_refused(predictor: Predictor, scene: list[Frame], tmp_path: Path) -> None:
    with Sam2Session(predictor, ArrayFrames(scene[:3]), spool_dir=tmp_path) as session:
        session.add_prompt(0, 1, box=BOX)
        frames = list(session.propagate())
        with pytest.raises(UsageError, match="prompts come before"):
            session.add_prompt(1, 1, box=BOX)
    assert [frame.frame_index for frame in frames] == [0, 1, 2]
    assert frames[0].logits[1].shape == (72, 96) and frames[0].logits[1].dtype == np.float32


def test_an_image_is_encoded_once_a_frame_for_both_objects(
    predictor: Predictor, scene: list[Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[object] = []
    encode = predictor.forward_image  # type: ignore[attr-defined]

    def count(image: object) -> object:
        encoded.append(image)
        return encode(image)

    monkeypatch.setattr(predictor, "forward_image", count)
    with Sam2Session(predictor, ArrayFrames(scene[:12]), spool_dir=tmp_path) as session:
        session.add_prompt(4, 1, box=BOX)
        session.add_prompt(4, 2, box=Box(60, 10, 90, 60))
        assert len(list(session.propagate())) == 12
    assert len(encoded) == 12


def test_the_higher_logit_wins_a_pixel_as_in_upstreams_rule(predictor: Predictor) -> None:
    logits = np.random.default_rng(0).integers(-3, 4, (3, 40, 50)).astype(np.float32)
    masks = exclusive_masks({each: logits[each] for each in range(3)})
    kept = predictor._apply_non_overlapping_constraints(torch.from_numpy(logits)[:, None])  # type: ignore[attr-defined]
    for each in range(3):
        assert np.array_equal(masks[each], (kept[each, 0] > 0).numpy())
    assert sum(mask.astype(int) for mask in masks.values()).max() == 1  # type: ignore[union-attr]


def test_logits_come_back_from_the_disk_as_they_went(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
    spool = LogitSpool(tmp_path, 8)
    for index in (3, 2, 1, 0):
        spool.put(index, logits[index], index - 0.3)
    for index in range(4):
        values, score = spool.get(index)
        assert np.array_equal(values, logits[index])
        assert score == np.float32(index - 0.3)
    assert list(tmp_path.iterdir()) == []  # the file has no name to be left behind
    spool.close()


def test_a_full_disk_under_the_spool_is_a_storage_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    spool = LogitSpool(Path("/tmp"), 8)
    spool._file = full.open("w+b")
    with pytest.raises(StorageError, match="no space left"):
        spool.put(0, np.zeros((8, 8), np.float32), 0.0)


def test_items_written_behind_arrive_in_order_and_a_failed_write_is_raised() -> None:
    written: list[int] = []
    with Behind(written.append, 2) as behind:
        for item in range(9):
            behind.put(item)
    assert written == list(range(9))

    def refuse(item: int) -> None:
        raise StorageError("disk full")

    with pytest.raises(StorageError, match="disk full"), Behind(refuse, 2) as behind:
        for item in range(9):
            behind.put(item)
            time.sleep(0.01)


def test_reading_ahead_stops_when_closed() -> None:
    made: list[int] = []
    ahead = Ahead((made.append(index) or index for index in range(1000)), 3)  # type: ignore[func-returns-value]
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert len(made) <= 7


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


@pytest.mark.slow
def test_one_object_from_the_first_frame_has_upstreams_logits(
    predictor: Predictor, scene: list[Frame], scene_folder: Path, tmp_path: Path
) -> None:
    ours = track(predictor, scene, ONE, tmp_path)
    assert len(ours) >= 60
    assert differing(ours, upstream(predictor, scene_folder, ONE)) == []


@pytest.mark.slow
def test_two_objects_with_corrections_have_upstreams_logits_forward_and_backward(
    predictor: Predictor, scene: list[Frame], scene_folder: Path, tmp_path: Path
) -> None:
    ours = track(predictor, scene, TWO_WITH_CORRECTIONS, tmp_path)
    assert differing(ours, upstream(predictor, scene_folder, TWO_WITH_CORRECTIONS)) == []
    for obj_id in (1, 2):  # the comparison is not one of all-black or all-white masks
        both = [frame for frame in ours if 0 < (frame.logits[obj_id] > 0).mean() < 1]
        assert len(both) >= 20
        assert len({frame.logits[obj_id].tobytes() for frame in both}) == len(both)


@pytest.mark.slow
def test_objects_prompted_on_different_frames_are_tracked_as_if_each_were_alone(
    predictor: Predictor, scene: list[Frame], scene_folder: Path, tmp_path: Path
) -> None:
    alone = [upstream(predictor, scene_folder, [prompt]) for prompt in APART]
    together = {index: alone[0][index] | alone[1][index] for index in alone[0]}
    assert differing(track(predictor, scene, APART, tmp_path), together) == []


@pytest.mark.slow
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
