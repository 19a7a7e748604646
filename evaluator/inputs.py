"""What an evaluation reads: all of it checked before any long work begins, then a frame at a time.

`gather` finds and checks the files that go with a generated clip, `Material` reads them. Below them stands how mask
sequences are read, from a video or a folder of PNG files. The rest of the product takes luma 128 as the border of a
mask. The gate does not: a mask with real gray in it (a matte, a heat map, a picture) has no outline, and a border
chosen here would decide the verdict.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from evaluator.figures import body_mask
from handoff.clip.likeness import check_like_source
from handoff.errors import InputError, UsageError
from handoff.files import sha256_path
from handoff.masks import THRESHOLD, Mask, check_mask_sequence, read_masks
from handoff.poses import Person, check_poses, read_poses
from handoff.run import Run
from handoff.video import ClipInfo, Frame, probe, read_frames, read_gray

HUMAN_MASK, POSE = "human_mask.mp4", "pose.json"
T = TypeVar("T")

NOISE = 32
"""Levels this near to 0 or 255 are black and white: what a lossy encoder leaves of flat areas, and limited range."""


class Sight(NamedTuple):
    """One frame of everything that is known; masks (H, W) bool, pictures (H, W, 3) uint8 RGB."""

    original: Mask
    source: Frame | None
    output: Frame | None
    skater: Mask | None
    people: list[Person] | None
    generated_people: list[Person] | None


@dataclass(frozen=True)
class Material:
    """The files; None for what is not there.

    generated: the generated clip, or the mask that is scored in its place; clip: the former only. source: the clip
    before the reskin, only where a run is known. run: the run that the original lies in.
    """

    original: Path
    generated: Path
    info: ClipInfo
    run: Run | None = None
    clip: Path | None = None
    source: Path | None = None
    human_mask: Path | None = None
    pose: Path | None = None
    generated_pose: Path | None = None

    @property
    def inputs(self) -> list[Path]:
        """Every file that is read."""
        some = [self.source, self.original, self.generated, self.human_mask, self.pose, self.generated_pose]
        return [path for path in some if path is not None]

    def as_json(self) -> dict[str, Any]:
        """Return it for a report: what was held against what, and where the skater was taken from."""
        skater = self.human_mask or self.pose
        return {
            "original": self.original.name,
            "generated": self.generated.name,
            "sha256": {"original": sha256_path(self.original), "generated": sha256_path(self.generated)},
            "skater_from": skater.name if skater else None,
            "poses_compared": None not in self._skeletons(),
        }

    def read(self) -> Iterator[Sight]:
        """Yield every frame, one of everything in memory at a time."""
        yield from map(
            Sight,
            read_mask_sequence(self.original),
            self._each(read_frames(self.source) if self.source else None),
            self._each(read_frames(self.clip) if self.clip else None),
            self._each(self._skater()),
            *(self._each(read_poses(path)) if path else self._each(None) for path in self._skeletons()),
        )

    def _skeletons(self) -> tuple[Path | None, Path | None]:
        both = self.pose is not None and self.generated_pose is not None
        return (self.pose, self.generated_pose) if both else (None, None)

    def _each(self, frames: Iterator[T] | None) -> Iterator[T | None]:
        return itertools.repeat(None, self.info.frames) if frames is None else frames

    def _skater(self) -> Iterator[Mask] | None:
        if self.human_mask:
            return read_masks(self.human_mask)
        if self.pose:
            return (body_mask(people, self.info.height, self.info.width) for people in read_poses(self.pose))
        return None


def gather(
    original: Path, generated: Path, run: Run | None, pose: Path | None = None, generated_pose: Path | None = None
) -> Material:
    """Find and check all that the evaluation of a generated clip reads; InputError for what does not fit together."""
    check_like_source(generated)
    check_like_source(original, mask=True)
    made = probe(generated)
    info = run.info if run else made
    if (made.width, made.height, made.frames) != (info.width, info.height, info.frames):
        raise InputError(
            f"{generated} has {made.frames} frames of {made.width}x{made.height} px, the clip has {info.frames} of "
            f"{info.width}x{info.height} px; give the video that was made from this clip."
        )
    check_original(original, info)
    human_mask = None
    if run is not None:
        human_mask = _if_there(run.path(HUMAN_MASK))
        pose = pose or _if_there(run.path(POSE))
        check_run(run, *(path for path in (original, human_mask, pose) if path is not None))
    if human_mask:
        check_mask_sequence(human_mask, info)
    for each in (pose, generated_pose):
        if each is not None:
            check_poses(each, info.frames)
    if generated_pose is not None and pose is None:
        raise UsageError(
            f"--generated-pose {generated_pose} has no skeleton of the source to be compared with; give it with --pose."
        )
    source = run.source if run else None
    return Material(original, generated, info, run, generated, source, human_mask, pose, generated_pose)


def _if_there(path: Path) -> Path | None:
    return path if path.is_file() else None


def check_run(run: Run, *made: Path) -> None:
    """Raise InputError where source.mp4, or what was made of it, is not what run.json says it is."""
    if not run.source.is_file():
        raise InputError(f"{run.source} is missing; extract the clip again, or name the files of one run.")
    run.check_inputs({run.relative(path): sha256_path(path) for path in (run.source, *made)})


@dataclass(frozen=True)
class Scanned:
    """What a mask sequence is: size in px, frames, and the number of frames that are not empty."""

    width: int
    height: int
    frames: int
    seen: int


def check_original(path: Path, info: ClipInfo | Scanned, whose: str = "the clip") -> Scanned:
    """Return what the original is; raise InputError unless it has that size and count, and an object somewhere."""
    found = scan(path)
    if (found.width, found.height) != (info.width, info.height):
        raise InputError(
            f"{path} is {found.width}x{found.height} px, {whose} is {info.width}x{info.height} px; "
            "give the mask that was made from this clip."
        )
    if found.frames != info.frames:
        raise InputError(
            f"{path} has {found.frames} frames, {whose} has {info.frames}; give the mask that was made from this clip."
        )
    if not found.seen:
        raise InputError(f"{path} is empty in every frame, so there is no outline to hold the gate to.")
    return found


def scan(path: Path) -> Scanned:
    """Read a whole mask sequence, keeping nothing; raise InputError where it is none, or changes its size."""
    width = height = frames = seen = 0
    for mask in read_mask_sequence(path):
        if frames and mask.shape != (height, width):
            raise InputError(f"{path} changes its size to {mask.shape[1]}x{mask.shape[0]} px at frame {frames}.")
        height, width = mask.shape
        frames, seen = frames + 1, seen + bool(mask.any())
    return Scanned(width, height, frames, seen)


def read_mask_sequence(path: Path) -> Iterator[Mask]:
    """Yield the masks (H, W) bool of a video, or of a folder of PNG files in the order of their numbers.

    Raises InputError for gray levels, missing frames, files that are no masks, and at the end for object numbers.
    """
    levels = _Levels(path)
    if path.is_dir():
        yield from _read_folder(path, levels)
    else:
        for index, image in enumerate(read_gray(path)):
            yield levels.mask(image, f"frame {index} of {path}")
    levels.conclude()


def _read_folder(folder: Path, levels: _Levels) -> Iterator[Mask]:
    files = sorted((_number(path), path) for path in folder.glob("*.png"))
    if not files:
        raise InputError(f"{folder} has no PNG files; give the folder with the masks frame_00000.png and so on.")
    for (before, _), (number, path) in itertools.pairwise(files):
        if number != before + 1:
            raise InputError(f"{folder} has {path.name} after frame {before}: a frame is missing or there twice.")
    for _, path in files:
        yield _png_mask(path, levels)


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    if not digits:
        raise InputError(f"{path} has no frame number in its name; call the masks frame_00000.png and so on.")
    return int(digits[-1])


def _png_mask(path: Path, levels: _Levels) -> Mask:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8:
        raise InputError(f"{path} is not an 8-bit picture that can be read; make the masks again.")
    if image.ndim == 2:
        return levels.mask(np.asarray(image, np.uint8), str(path))
    gray = np.ascontiguousarray(image[..., 0], np.uint8)
    colours: Mask = image[..., :3].any(axis=2)  # DAVIS's palette: black is background, any colour an object
    if not (image[..., :3] == gray[..., None]).all():
        return colours
    # an object of DAVIS's palette is gray too: one level, where a matte has many
    flat = colours.any() and bool((gray[colours] == gray[colours][0]).all())
    return colours if flat and _is_palette(path) else levels.mask(gray, str(path))


def _is_palette(path: Path) -> bool:
    """Say whether a PNG file has a palette: its colour type, the byte 25 after the signature (PNG, 11.2.1), is 3."""
    with path.open("rb") as file:
        return file.read(26)[25:] == b"\x03"


class _Levels:
    """The levels that the gray pictures of one sequence have, as far as a verdict on the whole needs them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lowest, self._highest = 255, 0

    def mask(self, image: Frame, where: str) -> Mask:
        """Return a gray image (H, W) uint8 as a mask; raise InputError for levels between black and white."""
        between = cv2.countNonZero(cv2.inRange(image, np.array([NOISE + 1]), np.array([254 - NOISE])))
        if between:
            raise InputError(
                f"{where} has {between} px of gray levels between black and white, so its outline is not known; "
                "give a mask of 0 and 255 only (a lossless video or PNG files)."
            )
        if self._highest < THRESHOLD:
            lowest, highest, _, _ = cv2.minMaxLoc(image)
            self._lowest, self._highest = min(self._lowest, int(lowest)), max(self._highest, int(highest))
        return image >= THRESHOLD

    def conclude(self) -> None:
        """Raise InputError where the sequence numbers its objects (0, 1, ...) in place of 0 and 255.

        All black is none: 0 in every pixel, or what limited range and a lossy encoder make of it, which has no 0.
        """
        if self._lowest == 0 and 0 < self._highest < THRESHOLD:
            raise InputError(
                f"{self._path} has levels from 0 to {self._highest} only, none near 255: are they the numbers of "
                "objects? Give a mask of 0 and 255; where the object is 1, multiply by 255."
            )
