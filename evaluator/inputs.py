"""What an evaluation reads: all of it checked before any long work begins, then a frame at a time.

`gather` finds and checks the files that go with a generated clip, `Material` reads them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from handoff.clip.likeness import check_like_source
from handoff.detections.samples import DETECTIONS, read_detections_header
from handoff.errors import InputError, UsageError
from handoff.files import sha256_path
from handoff.links import check_way
from handoff.masks import Mask, MaskSequence, check_mask_sequence, read_masks
from handoff.poses import Person, check_poses, read_poses
from handoff.run import Run
from handoff.video import ClipInfo, Frame, probe, read_frames
from tracker.witness.body import body_mask
from tracker.witness.ruling import Witnesses

HUMAN_MASK, POSE = "human_mask.mp4", "pose.json"
T = TypeVar("T")

_ROUGHLY = 0.01
"""How far the rate of a skeleton's clip may differ, as a share, where the other rate is only what a file states."""


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
    before the reskin, only where a run is known. run: the run that the original lies in. heard: what of it the
    witnesses read.
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
    heard: tuple[Path, ...] = ()
    generated_detections: Path | None = None

    @property
    def inputs(self) -> list[Path]:
        """Every file that is read."""
        some = [self.source, self.original, self.generated, self.human_mask, self.pose, self.generated_pose]
        some += [*self.heard, self.generated_detections]
        return list(dict.fromkeys(path for path in some if path is not None))

    @property
    def detections(self) -> tuple[Path, Path] | None:
        """What a detector saw in the source and in the generated clip; None where it did not look at both."""
        source = next((path for path in self.heard if path.name == DETECTIONS), None)
        return (source, self.generated_detections) if source and self.generated_detections else None

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
            read_masks(self.original),
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
    original: Path,
    generated: Path,
    run: Run | None,
    pose: Path | None = None,
    generated_pose: Path | None = None,
    generated_detections: Path | None = None,
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
    human_mask, heard = None, tuple[Path, ...]()
    if run is not None:
        heard = Witnesses.files(run)
        human_mask = _if_there(run.path(HUMAN_MASK))
        pose = pose or _if_there(run.path(POSE))
        check_run(run, *(path for path in (original, human_mask, pose, *heard) if path is not None))
    if human_mask:
        check_mask_sequence(human_mask, info)
    if pose is not None:
        check_poses(pose, info, 0.0 if run else _ROUGHLY)
    if generated_pose is not None:
        check_poses(generated_pose, info, _ROUGHLY)
    if generated_pose is not None and pose is None:
        raise UsageError(
            f"--generated-pose {generated_pose} has no skeleton of the source to be compared with; give it with --pose."
        )
    if generated_detections is not None:
        _check_detections(generated_detections, info)
    source, poses = run.source if run else None, (pose, generated_pose)
    return Material(original, generated, info, run, generated, source, human_mask, *poses, heard, generated_detections)


def _check_detections(path: Path, info: ClipInfo) -> None:
    head = read_detections_header(path)
    if not head.is_of(info):
        raise InputError(
            f"{path} is of a clip of {head.frame_count} frames of {head.width}x{head.height} px, this one has "
            f"{info.frames} of {info.width}x{info.height} px; leave --generated-detections out, or look at it again."
        )


def _if_there(path: Path) -> Path | None:
    check_way(path)
    return path if path.is_file() else None


def check_run(run: Run, *made: Path) -> None:
    """Raise InputError where source.mp4, or what was made of it, is not what run.json says it is."""
    check_way(run.source)
    if not run.source.is_file():
        raise InputError(f"{run.source} is missing; extract the clip again, or name the files of one run.")
    run.check_inputs({run.relative(path): sha256_path(path) for path in (run.source, *made)})


def check_original(path: Path, info: ClipInfo | MaskSequence, whose: str = "the clip") -> None:
    """Raise InputError unless the original has that size and count, and an object somewhere."""
    if not check_mask_sequence(path, info, whose).seen:
        raise InputError(f"{path} is empty in every frame, so there is no outline to hold the gate to.")
