"""The skater's mask from the pose stage's own segmentation."""

from __future__ import annotations

from pathlib import Path

from handoff.errors import InputError
from handoff.masks import MaskSequenceWriter, check_mask_sequence, read_masks
from handoff.video import ClipInfo

PERSON_VIDEO = "person_mask.mp4"
HUMAN_VIDEO = "human_mask.mp4"
HUMAN_FOLDER = "mask_human"


def write_human_mask(run_dir: Path, object_video: Path, info: ClipInfo) -> tuple[Path, Path] | None:
    """Write human_mask.mp4 and mask_human/ = person_mask.mp4 minus the object; None when there is no person_mask.mp4.

    A pixel is the object's or the skater's, never both. InputError when person_mask.mp4 is of another clip.
    """
    person_video = run_dir / PERSON_VIDEO
    if not person_video.exists():
        return None
    check_mask_sequence(person_video, info)
    video, pngs = run_dir / HUMAN_VIDEO, run_dir / HUMAN_FOLDER
    with MaskSequenceWriter(video, pngs, info.fps, info.width, info.height) as writer:
        try:
            for person, thing in zip(read_masks(person_video), read_masks(object_video), strict=True):
                writer.write(person & ~thing)
        except ValueError as error:
            raise InputError(f"{person_video.name} and {object_video.name} differ in length; extract again.") from error
    return video, pngs
