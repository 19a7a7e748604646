"""What a session refuses, and how masks are made of logits."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

import torch

from handoff.box import Box
from handoff.errors import InputError, StorageError, UsageError
from handoff.threads import Ahead, Behind
from handoff.video import Frame
from tests.tracker.sam2.helpers import ArrayFrames
from tracker.sam2.memory import LogitSpool
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session, exclusive_masks

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
