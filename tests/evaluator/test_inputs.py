"""Mask sequences as other people have them, and what the gate refuses: one sentence, and nothing is touched."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from handoff.errors import InputError, PreserverError, StorageError, UsageError
from handoff.files import sha256_file
from handoff.masks import measure_masks, read_masks, write_png
from handoff.run import Run
from handoff.video import Frame, VideoWriter
from tests.evaluator.helpers import FRAMES, masks_against, stick_figure, write_poses
from tests.helpers import Product, moving_square, write_clip

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
    first, second = read_masks(folder)
    assert np.array_equal(first, DISK > 0) and not second.any()


def test_a_hole_in_the_numbers_a_name_without_one_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    refused = ((["a1.png", "a3.png"], "a3.png after frame 1"), (["mask.png"], "no frame number"), ([], "no PNG"))
    for names, message in refused:
        with pytest.raises(InputError, match=message):
            measure_masks(folder_of(tmp_path / f"masks{len(names)}", names))


def test_in_a_palette_any_colour_is_the_object(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    picture = Image.fromarray((DISK > 0).astype(np.uint8) * 2, mode="P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 0, 64])  # DAVIS's palettes are dark
    picture.save(tmp_path / "masks" / "00000.png")
    (found,) = read_masks(tmp_path / "masks")
    assert np.array_equal(found, DISK > 0)


def test_a_matte_has_no_outline_and_is_refused_with_its_frame(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(DISK, (9, 9), 0)
    with VideoWriter(tmp_path / "mask.mp4", Fraction(25), 64, 48, mode="mask") as writer:
        for image in (DISK, soft):
            writer.write(image)
    with pytest.raises(InputError, match=r"frame 1 of .*mask\.mp4 has \d+ px of gray levels"):
        measure_masks(tmp_path / "mask.mp4")


def test_limited_range_and_a_little_noise_are_black_and_white(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 8, DISK.shape).astype(np.uint8)
    limited = np.where(DISK > 0, 235 - noise, 16 + noise).astype(np.uint8)
    with VideoWriter(tmp_path / "mask.mp4", Fraction(25), 64, 48, mode="mask") as writer:
        writer.write(limited)
    (found,) = read_masks(tmp_path / "mask.mp4")
    assert np.array_equal(found, DISK > 0)


def test_a_sequence_that_changes_its_size_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "masks", ["0.png", "1.png"])
    write_png(folder / "1.png", DISK[:40])
    with pytest.raises(InputError, match="changes its size to 64x40 px at frame 1"):
        measure_masks(folder)


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
            measure_masks(path)


def test_black_throughout_is_an_empty_mask_whatever_the_range(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 3, DISK.shape).astype(np.uint8)
    for name, image in (("full", np.zeros_like(DISK)), ("limited", 15 + noise)):
        assert measure_masks(write_video(tmp_path / f"{name}.mp4", [image, image])).seen == 0


def test_equal_colours_are_gray_and_a_matte_in_them_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "masks", ["0.png"])
    write_png(folder / "0.png", np.repeat(DISK[..., None], 3, axis=2))
    (found,) = read_masks(folder)
    assert np.array_equal(found, DISK > 0)
    write_png(folder / "0.png", np.repeat(cv2.GaussianBlur(DISK, (9, 9), 0)[..., None], 3, axis=2))
    with pytest.raises(InputError, match=r"0\.png has \d+ px of gray levels"):
        measure_masks(folder)


def test_a_palettes_object_may_be_gray_and_its_matte_may_not(tmp_path: Path) -> None:
    """DAVIS's seventh colour is (128, 128, 128)."""
    folder = folder_of(tmp_path / "masks", ["0.png"])
    for level in (1, 128):
        picture = Image.fromarray((DISK > 0).astype(np.uint8) * 7, mode="P")
        picture.putpalette([0, 0, 0] * 7 + [level] * 3)
        picture.save(folder / "0.png")
        (found,) = read_masks(folder)
        assert np.array_equal(found, DISK > 0)
    Image.fromarray(cv2.GaussianBlur(DISK, (9, 9), 0)).convert("P").save(folder / "0.png")
    with pytest.raises(InputError, match="gray levels"):
        measure_masks(folder)


Command = Callable[..., Result]


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


def refused(gate: Command, run: Run, kind: type[PreserverError], message: str, *options: object) -> None:
    """The command raises `kind` with a sentence, before it scored anything, and the run stays as it was."""
    before = contents(run.dir)
    with pytest.raises(kind, match=message) as error:
        gate(*options)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")
    assert error.value.exit_code == (3 if kind is StorageError else 2)
    after = contents(run.dir)
    after.pop(".lock", None)
    before.pop(".lock", None)
    assert after == before


def write_mask(path: Path, levels: list[int], width: int = 160) -> Path:
    """A mask video with one rectangle, of that luma in each frame."""
    with VideoWriter(path, Fraction(25), width, 120, mode="mask") as writer:
        for level in levels:
            image = np.zeros((120, width), np.uint8)
            image[40:60, 40:90] = level
            writer.write(image)
    return path


def test_a_run_json_of_another_clip(gate: Command, run: Run) -> None:
    write_clip(run.source, moving_square(FRAMES))
    refused(gate, run, InputError, r"source\.mp4 is not the clip this run was made from: SHA-256 .*, run\.json says")


def test_a_mask_that_the_run_did_not_make(gate: Command, run: Run) -> None:
    write_mask(run.path("mask.mp4"), [255] * FRAMES)
    refused(
        gate, run, InputError, r"mask\.mp4 was not made of this run's source\.mp4: it has SHA-256 .*, run\.json says"
    )


@pytest.mark.parametrize("box", ["150,40,170,72", "-1,40,30,72", "90,60,40,40"])
def test_a_box_outside_the_frame_or_reversed(gate: Command, run: Run, box: str) -> None:
    refused(gate, run, InputError, f"the box {box}", "-bbox", box)


def test_a_frame_that_the_clip_does_not_have(gate: Command, run: Run) -> None:
    refused(gate, run, InputError, "frame 99", "-bbox", "10,10,60,60", "--frame", "99")


@pytest.mark.parametrize(
    ("levels", "width", "message"),
    [
        ([255] * 3 + [130] + [255] * 10, 160, "frame 3 of .* has 1000 px of gray levels"),
        ([0] * FRAMES, 160, "empty in every frame"),
        ([255] * (FRAMES - 1), 160, f"has {FRAMES - 1} frames, the clip has {FRAMES}"),
        ([255] * FRAMES, 162, "is 162x120 px, the clip is 160x120 px"),
    ],
)
def test_a_mask_that_cannot_be_scored(gate: Command, run: Run, levels: list[int], width: int, message: str) -> None:
    gate()
    other = write_mask(run.path("other.mp4"), levels, width)
    refused(gate, run, InputError, message, "--original", other)


def test_a_generated_clip_of_another_length_or_size(run: Run, gate: Command) -> None:
    gate()
    for clip in (moving_square(FRAMES - 1), moving_square(FRAMES, width=162)):
        other = write_clip(run.path("reskins/drone/other.mp4"), clip)
        refused(gate, run, InputError, "give the video that was made from this clip", "--generated", other)


def test_a_skeleton_of_another_clip(gate: Command, run: Run, tmp_path: Path) -> None:
    info, people = run.info, [[stick_figure()]] * FRAMES
    for other, message in (
        (replace(info, width=1280), f"{FRAMES} frames of 1280x{info.height} px .* and this one has"),
        (replace(info, frames=5), "5 frames of"),
        (replace(info, fps=info.fps * 2), f"at {info.fps * 2} fps"),
    ):
        poses = write_poses(tmp_path / "pose.json", other, people)
        refused(gate, run, InputError, message, "--generated-pose", poses)
        refused(gate, run, InputError, message, "--pose", poses)
    short = write_poses(tmp_path / "pose.json", info, people[:5])
    refused(gate, run, InputError, f"has 5 frames, the clip has {FRAMES}", "--generated-pose", short)


def test_two_masks_of_another_count_or_size_and_what_is_only_for_clips(run: Run, tmp_path: Path) -> None:
    original = run.path("mask.mp4")
    for levels, width, message in (([255] * 3, 160, "has 14 frames, .* has 3"), ([255] * FRAMES, 162, "162x120 px")):
        other = write_mask(tmp_path / "other.mp4", levels, width)
        with pytest.raises(InputError, match=message):
            masks_against("-original", original, "--generated-mask", other, "--output", tmp_path / "report")
    for option in (("--calibrate",), ("-bbox", "1,1,9,9"), ("--format", "overlay")):
        with pytest.raises(UsageError):
            masks_against("-original", original, "--generated-mask", original, *option)
    for both in ((), ("--generated-mask", original, "-generated", original)):
        with pytest.raises(UsageError, match="give either -generated VIDEO or --generated-mask MASK"):
            masks_against("-original", original, *both)
    assert not (tmp_path / "report").exists()


def test_a_mask_against_a_mask_in_folders_has_the_same_reports(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.path("mask_skateboard"), tmp_path / "found")
    for path in (tmp_path / "found").iterdir():
        path.rename(path.with_name(path.name.removeprefix("frame_")))
    done = masks_against(
        "-original", run.path("mask.mp4"), "--generated-mask", tmp_path / "found", "--output", tmp_path / "r"
    )
    assert done.return_value == 0 and "Minimum IoU = 1.0000" in done.output
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "iou.csv", "iou.json", "iou.png", "junit.xml", "summary.md"
    }  # fmt: skip
    frames = json.loads((tmp_path / "r" / "iou.json").read_text())["frames"]
    areas = [int(mask.sum()) for mask in read_masks(run.path("mask.mp4"))]
    assert [each["generated_px"] for each in frames] == areas


def test_a_file_in_the_way_of_the_report(gate: Command, run: Run) -> None:
    run.path("reskins/drone/report").write_text("in the way")
    refused(gate, run, StorageError, "cannot write .*report: .*choose another folder")


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'


def read_only(folder: Path) -> tuple[str, ...]:
    """What a command is run behind so that it sees a folder mounted read-only, in a namespace of its own.

    Root may write where the permission bits say no.
    """
    prefix = ("unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, str(folder))
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a folder read-only (unshare --map-root-user --mount)")
    return prefix


@pytest.mark.stage
def test_a_run_folder_without_write_permission(run: Run, product: Product) -> None:
    prefix, before = read_only(run.dir), contents(run.dir)
    files = ("-original", run.path("mask.mp4"), "-generated", run.path("reskins/drone/output.mp4"))
    done = product("evaluate_iou.py", *files, "--no-pose", prefix=prefix)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "read-only" in done.stderr and "Traceback" not in done.stderr and "Frame 0000" not in done.stdout
    assert contents(run.dir) == before


@pytest.mark.stage
def test_a_run_folder_without_write_permission_and_a_report_elsewhere(
    run: Run, product: Product, tmp_path: Path
) -> None:
    prefix, before = read_only(run.dir), contents(run.dir)
    files = ("-original", run.path("mask.mp4"), "-generated", run.path("reskins/drone/output.mp4"))
    done = product("evaluate_iou.py", *files, "--output", tmp_path / "report", prefix=prefix)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "run.json will not know of this evaluation" in done.stdout
    assert len(json.loads((tmp_path / "report" / "iou.json").read_text())["frames"]) == FRAMES
    assert contents(run.dir) == before


@pytest.mark.parametrize("threshold", ["nan", "-nan", "inf", "1.5", "-0.1", "much"])
def test_a_threshold_that_is_no_number_from_0_to_1(gate: Command, run: Run, threshold: str) -> None:
    before = contents(run.dir)
    with pytest.raises(click.BadParameter, match=r"not a valid float|in the range|no number from 0 to 1\."):
        gate(f"--threshold={threshold}")
    assert contents(run.dir) == before


def test_a_box_that_is_no_number(gate: Command, run: Run) -> None:
    for box in ("nan,1,9,9", "1,1,inf,9"):
        with pytest.raises(UsageError, match="is not four numbers"):
            gate(f"-bbox={box}")
