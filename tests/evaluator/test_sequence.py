"""Mask sequences as other people have them: PNG folders of any naming, palettes; and what is no mask."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from evaluator.inputs import read_mask_sequence, scan
from handoff.errors import InputError
from handoff.masks import write_png
from handoff.video import Frame, VideoWriter

DISK = cv2.circle(np.zeros((48, 64), np.uint8), (30, 20), 12, (255,), -1)


def folder_of(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for name in names:
        write_png(folder / name, DISK)
    return folder


@pytest.mark.parametrize("names", [["frame_00000.png", "frame_00001.png"], ["07.png", "08.png"], ["9.png", "10.png"]])
def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path, names: list[str]) -> None:
    folder = folder_of(tmp_path / "masks", names)
    write_png(folder / names[1], np.zeros_like(DISK))
    first, second = read_mask_sequence(folder)
    assert np.array_equal(first, DISK > 0) and not second.any()


def test_a_hole_in_the_numbers_a_name_without_one_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    refused = ((["a1.png", "a3.png"], "a3.png after frame 1"), (["mask.png"], "no frame number"), ([], "no PNG"))
    for names, message in refused:
        with pytest.raises(InputError, match=message):
            scan(folder_of(tmp_path / f"masks{len(names)}", names))


def test_in_a_palette_any_colour_is_the_object(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    picture = Image.fromarray((DISK > 0).astype(np.uint8) * 2, mode="P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 64])  # DAVIS's palettes are dark
    picture.save(tmp_path / "masks" / "00000.png")
    (found,) = read_mask_sequence(tmp_path / "masks")
    assert np.array_equal(found, DISK > 0)


def test_a_matte_has_no_outline_and_is_refused_with_its_frame(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(DISK, (9, 9), 0)
    with VideoWriter(tmp_path / "mask.mp4", Fraction(25), 64, 48, mode="mask") as writer:
        for image in (DISK, soft):
            writer.write(image)
    with pytest.raises(InputError, match=r"frame 1 of .*mask\.mp4 has \d+ px of gray levels"):
        scan(tmp_path / "mask.mp4")


def test_limited_range_and_a_little_noise_are_black_and_white(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 8, DISK.shape).astype(np.uint8)
    limited = np.where(DISK > 0, 235 - noise, 16 + noise).astype(np.uint8)
    with VideoWriter(tmp_path / "mask.mp4", Fraction(25), 64, 48, mode="mask") as writer:
        writer.write(limited)
    (found,) = read_mask_sequence(tmp_path / "mask.mp4")
    assert np.array_equal(found, DISK > 0)


def test_a_sequence_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "masks", ["0.png", "1.png"])
    write_png(folder / "1.png", DISK[:40])
    with pytest.raises(InputError, match="changes its size to 64x40 px at frame 1"):
        scan(folder)


def write_video(path: Path, images: list[Frame]) -> Path:
    with VideoWriter(path, Fraction(25), 64, 48, mode="mask") as writer:
        for image in images:
            writer.write(image)
    return path


def test_numbers_of_objects_in_place_of_255_are_refused_with_the_levels_seen(tmp_path: Path) -> None:
    labels = (DISK > 0).astype(np.uint8)
    folder = folder_of(tmp_path / "gray", ["0.png", "1.png"])
    for index, image in enumerate((np.zeros_like(labels), labels)):
        write_png(folder / f"{index}.png", image)
    coloured = folder_of(tmp_path / "rgb", ["0.png"])
    write_png(coloured / "0.png", np.repeat(2 * labels[..., None], 3, axis=2))
    video = write_video(tmp_path / "mask.mp4", [labels, 3 * labels])
    for path, highest in ((folder, 1), (coloured, 2), (video, 3)):
        with pytest.raises(InputError, match=f"levels from 0 to {highest} only.*multiply by 255"):
            scan(path)


def test_black_throughout_is_an_empty_mask_whatever_the_range(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 3, DISK.shape).astype(np.uint8)
    for name, image in (("full", np.zeros_like(DISK)), ("limited", 15 + noise)):
        assert scan(write_video(tmp_path / f"{name}.mp4", [image, image])).seen == 0


def test_equal_colours_are_gray_and_a_matte_in_them_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "masks", ["0.png"])
    write_png(folder / "0.png", np.repeat(DISK[..., None], 3, axis=2))
    (found,) = read_mask_sequence(folder)
    assert np.array_equal(found, DISK > 0)
    write_png(folder / "0.png", np.repeat(cv2.GaussianBlur(DISK, (9, 9), 0)[..., None], 3, axis=2))
    with pytest.raises(InputError, match=r"0\.png has \d+ px of gray levels"):
        scan(folder)


def test_a_palettes_object_may_be_gray_and_its_matte_may_not(tmp_path: Path) -> None:
    """DAVIS's seventh colour is (128, 128, 128)."""
    folder = folder_of(tmp_path / "masks", ["0.png"])
    for level in (1, 128):
        picture = Image.fromarray((DISK > 0).astype(np.uint8) * 7, mode="P")
        picture.putpalette([0, 0, 0] * 7 + [level] * 3)
        picture.save(folder / "0.png")
        (found,) = read_mask_sequence(folder)
        assert np.array_equal(found, DISK > 0)
    Image.fromarray(cv2.GaussianBlur(DISK, (9, 9), 0)).convert("P").save(folder / "0.png")
    with pytest.raises(InputError, match="gray levels"):
        scan(folder)
