"""A mask sequence is the same masks as video and as PNG files, bit for bit."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from handoff.errors import InputError
from handoff.masks import MaskSequenceWriter, check_mask_sequence, read_masks
from handoff.video import ClipInfo, VideoWriter


def write(folder: Path, masks: list[np.ndarray]) -> tuple[Path, Path]:
    height, width = masks[0].shape
    video, pngs = folder / "mask.mp4", folder / "mask"
    with MaskSequenceWriter(video, pngs, Fraction(30000, 1001), width, height) as writer:
        for mask in masks:
            writer.write(mask)
    return video, pngs


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(2, 70), st.integers(2, 70)).flatmap(lambda shape: arrays(np.bool_, shape))
)
def test_any_masks_come_back_bit_exact_from_video_and_png(tmp_path_factory: pytest.TempPathFactory, masks) -> None:
    folder = tmp_path_factory.mktemp("masks")
    for path in write(folder, list(masks)):
        back = list(read_masks(path))
        assert len(back) == len(masks)
        assert all(np.array_equal(a, b) for a, b in zip(masks, back, strict=True))
    shutil.rmtree(folder)


def test_png_files_are_gray_0_or_255_and_named_by_frame(tmp_path: Path) -> None:
    masks = [np.random.default_rng(i).random((30, 40)) > 0.5 for i in range(3)]
    _, pngs = write(tmp_path, masks)
    assert sorted(path.name for path in pngs.iterdir()) == [f"frame_{i:05d}.png" for i in range(3)]
    image = cv2.imread(str(pngs / "frame_00001.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (30, 40) and image.dtype == np.uint8
    assert np.array_equal(image, masks[1] * 255)


def test_a_mask_from_a_lossy_encoder_is_thresholded_at_half(tmp_path: Path) -> None:
    mask = np.zeros((120, 160), bool)
    mask[30:90, 40:120] = True
    rgb = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    with VideoWriter(tmp_path / "lossy.mp4", Fraction(25), 160, 120, crf=23) as writer:
        writer.write(rgb)
    assert np.array_equal(next(read_masks(tmp_path / "lossy.mp4")), mask)


def test_a_missing_frame_another_size_and_another_count_are_refused(tmp_path: Path) -> None:
    video, pngs = write(tmp_path, [np.ones((30, 40), bool)] * 4)
    info = ClipInfo(40, 30, Fraction(25), 4)
    check_mask_sequence(video, info)
    check_mask_sequence(pngs, info)
    with pytest.raises(InputError, match="4 frames, the clip has 5"):
        check_mask_sequence(video, ClipInfo(40, 30, Fraction(25), 5))
    with pytest.raises(InputError, match="40x30 px, the clip is 42x30"):
        check_mask_sequence(pngs, ClipInfo(42, 30, Fraction(25), 4))
    (pngs / "frame_00002.png").unlink()
    with pytest.raises(InputError, match=r"frame_00003\.png after frame 1 \(frame_00001\.png\): a frame is missing"):
        list(read_masks(pngs))


def test_both_forms_appear_together_or_not_at_all(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        MaskSequenceWriter(tmp_path / "m.mp4", tmp_path / "m", Fraction(25), 40, 30) as writer,
    ):
        writer.write(np.ones((30, 40), bool))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
