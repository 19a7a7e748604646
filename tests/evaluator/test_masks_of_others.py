"""Masks that other tools made, held against each other by the gate: the same mask is 1.0 in every encoding."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluator.inputs import Material
from handoff.errors import InputError
from handoff.masks import measure_masks
from handoff.video import ClipInfo
from tests.evaluator.helpers import masks_against
from tests.maskfiles import ENCODINGS, RGB, Bools, coloured, encode, labels, level, noise, write_folder

FRAMES = 3


def square(index: int, shift: int = 0) -> Bools:
    mask = np.zeros((48, 64), bool)
    mask[16:32, 4 + index + shift : 20 + index + shift] = True
    return mask


def folder_of(folder: Path, file: Callable[[Bools], bytes], shift: int = 0, names: str = "{:05d}.png") -> Path:
    return write_folder(folder, (file(square(index, shift)) for index in range(FRAMES)), names)


def ious(original: Path, generated: Path, report: Path) -> tuple[int, list[float]]:
    """What the command exits with, and the IoU of every frame."""
    done = masks_against("-original", original, "--generated-mask", generated, "--output", report, "--format", "json")
    return done.return_value, [frame["iou"] for frame in json.loads((report / "iou.json").read_text())["frames"]]


def test_two_cut_outs_that_do_not_touch_have_nothing_in_common(tmp_path: Path) -> None:
    cut_out = ENCODINGS["RGBA, a cut-out"]
    first, second = folder_of(tmp_path / "a", cut_out), folder_of(tmp_path / "b", cut_out, shift=30)
    assert ious(first, second, tmp_path / "report") == (1, [0.0] * FRAMES)


@pytest.mark.parametrize(
    "encoding",
    [
        "gray, 1 bit",
        "gray, 16 bits",
        "gray and alpha, white",
        "RGB, red on black",
        "RGBA, a cut-out",
        "RGBA, white",
        "palette, DAVIS's",
        "palette, background transparent",
    ],
)
def test_the_same_mask_is_1_in_every_encoding_and_a_third_when_it_is_moved_by_half(
    tmp_path: Path, encoding: str
) -> None:
    gray = folder_of(tmp_path / "gray", ENCODINGS["gray"])
    same, moved = (folder_of(tmp_path / str(shift), ENCODINGS[encoding], shift) for shift in (0, 8))
    assert ious(gray, same, tmp_path / "same report") == (0, [1.0] * FRAMES)
    assert ious(gray, moved, tmp_path / "moved report") == (1, [8 / 24] * FRAMES)


def test_two_photographs_are_no_masks(tmp_path: Path) -> None:
    first, second = (folder_of(tmp_path / str(shift), lambda mask: encode(noise(mask), RGB), shift) for shift in (0, 8))
    gray = folder_of(tmp_path / "gray", ENCODINGS["gray"])
    for original, generated in ((first, second), (gray, second), (first, gray)):
        with pytest.raises(InputError, match=r"00000\.png has \d+ colours.*\(a photograph\?\); give masks of") as error:
            masks_against("-original", original, "--generated-mask", generated, "--output", tmp_path / "report")
        assert error.value.exit_code == 2
    assert not (tmp_path / "report").exists()


def test_upper_case_and_the_litter_of_other_systems(tmp_path: Path) -> None:
    gray = folder_of(tmp_path / "gray", ENCODINGS["gray"])
    upper = folder_of(tmp_path / "upper", ENCODINGS["gray"], names="{:05d}.PNG")
    for folder in (gray, upper):
        (folder / "._00000.png").write_bytes(b"\0\x05\x16\x07" + bytes(100))
        (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")
    assert ious(upper, gray, tmp_path / "report") == (0, [1.0] * FRAMES)


def test_a_number_of_an_object_is_not_another_colour(tmp_path: Path) -> None:
    """Object 2 of a palette, and the same mask in the colour that the palette gives it."""
    first = folder_of(tmp_path / "a", lambda mask: labels(mask, 2, [0, 0, 0, 128, 0, 0, 0, 128, 0]))
    second = folder_of(tmp_path / "b", lambda mask: encode(coloured(mask, (0, 128, 0)), RGB))
    assert ious(first, second, tmp_path / "report") == (0, [1.0] * FRAMES)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(list(ENCODINGS)), st.sampled_from(list(ENCODINGS)))
def test_any_mask_is_what_was_written_in_what_the_gate_reads(
    tmp_path_factory: pytest.TempPathFactory, seed: int, first: str, second: str
) -> None:
    generator = np.random.default_rng(seed)
    masks = generator.random((2, *generator.integers(2, 50, 2))) < 0.5
    masks[:, 0, 0], masks[:, 0, 1] = False, True
    folder = tmp_path_factory.mktemp("gate")
    original, generated = (
        write_folder(folder / name, map(ENCODINGS[encoding], masks)) for name, encoding in (("a", first), ("b", second))
    )
    found = measure_masks(generated)
    assert (found.height, found.width, found.frames, found.seen) == (*masks.shape[1:], 2, 2)
    sights = Material(original, generated, ClipInfo(found.width, found.height, Fraction(25), 2)).read()
    assert np.array_equal([sight.original for sight in sights], masks)


def test_the_shared_inputs(shared: Path, tmp_path: Path) -> None:
    folder = shared / "faults" / "masks"
    if not folder.is_dir():
        pytest.skip("there are no mask folders in the shared folder")
    expected = {("cutout_a", "cutout_b"): 0.0, ("gray", "cutout_a"): 1.0, ("upper", "gray"): 1.0}
    for (first, second), iou in expected.items():
        _, found = ious(folder / first, folder / second, tmp_path / first)
        assert found == [iou] * FRAMES
    with pytest.raises(InputError, match="colours"):
        masks_against("-original", folder / "photo_a", "--generated-mask", folder / "photo_b")


def test_a_cut_out_of_white_is_its_alpha(tmp_path: Path) -> None:
    white = folder_of(tmp_path / "white", ENCODINGS["RGBA, white"])
    photo = folder_of(tmp_path / "photo", lambda mask: encode(np.dstack([noise(mask), level(mask)]), 6))
    assert ious(white, photo, tmp_path / "report") == (0, [1.0] * FRAMES)
