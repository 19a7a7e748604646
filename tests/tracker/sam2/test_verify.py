"""--verify with SAM 2.1: the second pass is upstream's own, begun from the mask itself, in either direction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the tracker's environment: torch is not installed here")
pytest.importorskip("sam2", reason="needs the tracker's environment: sam2 is not installed here")

from handoff.masks import Mask
from handoff.run import Run
from handoff.video import read_frames
from tests.tracker.helpers import invoke, iou, masks_of, stage_of
from tests.tracker.sam2.helpers import BOXED, CLIP_FRAMES, TINY, upstream_logits, write_frame_folder
from tracker.cleanup import keep_largest
from tracker.sam2.predictor import Predictor
from tracker.selection import TrackerChoice, make_backend

START = np.zeros((72, 96), bool)
START[22:48, 24:51] = True
START[30:35, 30:35] = False  # a box could not say so


def upstream(predictor: Predictor, run: Run, start: int, mask: Mask, frames: range, folder: Path) -> list[Mask]:
    """Upstream's masks of `frames` alone: add_new_mask on `start`, then forward and backward."""
    pictures = write_frame_folder(folder, list(read_frames(run.source, frames.start, frames.stop)))
    prompt = {"frame_idx": start - frames.start, "obj_id": 1, "mask": mask}
    logits = upstream_logits(predictor, pictures, [prompt])
    return [logits[index][1] > 0 for index in range(len(frames))]


@pytest.mark.parametrize(("start", "frames"), [(11, range(3, 12)), (3, range(3, 12))], ids=["backward", "forward"])
def test_the_second_pass_is_upstreams_from_the_mask(
    run: Run, predictor: Predictor, tmp_path: Path, start: int, frames: range
) -> None:
    backend = make_backend(TrackerChoice("sam2", "tiny", "cpu"))
    found = list(backend.retrack(run.source, run.info, start, START, frames))
    assert [index for index, _ in found] == list(frames)
    masks = np.array([mask for _, mask in found])
    assert np.array_equal(masks, upstream(predictor, run, start, START, frames, tmp_path / "frames"))
    seen = masks.reshape(len(frames), -1).mean(1)
    assert np.count_nonzero((seen > 0) & (seen < 1)) > len(frames) // 2  # not a comparison of black masks
    assert iou(masks[start - frames.start], START) > 0.8  # upstream takes the mask itself, at a quarter of its size


def test_what_verify_notes_is_the_iou_of_the_first_track_and_upstreams_second_one(
    run: Run, predictor: Predictor, tmp_path: Path
) -> None:
    said = invoke(run, *BOXED, "--verify", "--keep", "largest", *TINY).output
    first = masks_of(run)
    assert [index for index, mask in enumerate(first) if not mask.any()] == [3, 4, 5]  # two stretches, then
    expected: list[float | None] = [None] * (CLIP_FRAMES - 1)
    for start, frames in ((0, range(3)), (CLIP_FRAMES - 1, range(6, CLIP_FRAMES))):
        second = upstream(predictor, run, start, first[start], frames, tmp_path / str(start))
        for index, mask in zip(frames, second, strict=True):
            if index != start:
                expected[index] = round(iou(first[index], keep_largest(mask)), 3)
    record = stage_of(run)["notes"]["verify"][0]
    assert record["ious"] == expected and record["frames"] == 9
    assert len(set(record["ious"])) > 6  # the passes do differ
    assert "verify: tracked back over 9 frames" in said
