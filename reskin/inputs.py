"""What of a run is painted on, checked before any work."""

from __future__ import annotations

from pathlib import Path

import click

from handoff.errors import InputError
from handoff.masks import check_mask_sequence, read_masks
from handoff.poses import check_poses
from handoff.run import Run
from reskin.choice import DRAFT
from reskin.clip import Clip
from reskin.prompt import Prompt
from reskin.slots import check_slots, nodes_of
from reskin.workflow import Workflow

_SKELETONS, _SKELETON_VIDEO = "pose_skater", "pose.mp4"


def find_inputs(run: Run, prompt: Prompt, mask: Path | None, pose: Path | None, workflow: Workflow) -> Clip:
    """Return the clip with what the workflow reads; raise InputError when something is missing or not of this clip."""
    object_mask = mask or run.path("mask.mp4")
    if not object_mask.exists():
        raise InputError(f"there is no mask {object_mask}; make it with extract_physics.py, or give --mask FILE.")
    check_mask_sequence(object_mask, run.info)
    if not any(image.any() for image in read_masks(object_mask)):
        raise InputError(f"{object_mask} shows the object in no frame; extract the clip again with a --bbox.")
    if pose is not None:
        check_poses(pose, run.info.frames)
    skater_mask: Path | None = run.path("human_mask.mp4")
    if prompt.skater is None:
        skater_mask = None
    elif not run.path("human_mask.mp4").exists():
        click.echo("reskin: the run has no human_mask.mp4, so only the object is re-skinned")
        skater_mask = None
    else:
        check_mask_sequence(run.path("human_mask.mp4"), run.info)
    if workflow.name != DRAFT:
        check_slots(workflow, skater_mask is not None)
    draws = skater_mask is not None and bool(nodes_of(workflow.graph, "pose"))
    skeleton = _find_skeleton(pose.parent if pose else run.dir) if draws else None
    return Clip(run.info, run.source, object_mask, skater_mask, skeleton)


def _find_skeleton(folder: Path) -> Path:
    """Return the drawn skeletons beside pose.json: the lossless pictures, else the video."""
    for name in (_SKELETONS, _SKELETON_VIDEO):
        if (folder / name).exists():
            return folder / name
    raise InputError(
        f"there is neither {_SKELETONS}/ nor {_SKELETON_VIDEO} in {folder}, and the workflow draws the skater after "
        "the skeleton; make them with extract_physics.py, or name the object alone in --prompt."
    )
