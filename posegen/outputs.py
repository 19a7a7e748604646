"""The stage's files, written side by side in one pass over the clip. The same for every backend."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from handoff.box import Box
from handoff.masks import FrameFolderWriter
from handoff.poses import N_KEYPOINTS, PoseWriter
from handoff.prompts import Prompt
from handoff.run import Run
from handoff.video import VideoWriter
from posegen.draw import draw_skeletons
from posegen.extractor import FramePose, PoseModel
from posegen.openpose import frame_to_openpose
from posegen.people import KPT_THR, certainty, is_whole
from posegen.pose_keypoint import PoseKeypointWriter
from posegen.smooth import parameters

POSE = "pose.json"
OPENPOSE = "pose_json"
POSE_KEYPOINT = "pose_keypoint.json"
SKELETONS = "pose_skater"
SKELETON_VIDEO = "pose.mp4"
PERSON_MASK = "person_mask.mp4"


def pose_header(run: Run, model: PoseModel, smoothing: str) -> dict[str, Any]:
    """Return what stands at the head of pose.json; smoothing: one of posegen.smooth.METHODS."""
    info = run.info
    about = {key: value for key, value in asdict(model).items() if key != "makes_masks" and value is not None}
    return {
        "model": about,
        "keypoints": f"COCO-WholeBody {N_KEYPOINTS}",
        "threshold": KPT_THR,
        "smoothing": parameters(smoothing),
        "width": info.width,
        "height": info.height,
        "fps": f"{info.fps.numerator}/{info.fps.denominator}",
        "frame_count": info.frames,
    }


class PoseOutputs:
    """Write pose.json, pose_json/, pose_keypoint.json, pose_skater/, pose.mp4 and, if there are masks, person_mask.mp4.

    Use it as a context manager; every file gets its name only on a clean exit. style: how skeletons are drawn
    (posegen.draw.STYLES). smoothing: the method that the poses have been smoothed with, for the header.
    `frames`, `found` count what was written; `surest` is the detection with the highest certainty, of those clear of
    the frame's edges if there are any, or None.
    """

    def __init__(self, run: Run, model: PoseModel, style: str, smoothing: str = "none") -> None:
        self._run, self._info, self._style = run, run.info, style
        self._pose = PoseWriter(run.path(POSE), pose_header(run, model, smoothing))
        self._openpose = FrameFolderWriter(run.path(OPENPOSE))
        self._skeletons = FrameFolderWriter(run.path(SKELETONS))
        info = self._info
        self._keypoints = PoseKeypointWriter(run.path(POSE_KEYPOINT), info.width, info.height)
        self._video = VideoWriter(run.path(SKELETON_VIDEO), info.fps, info.width, info.height)
        self._mask: VideoWriter | None = None
        if model.makes_masks:
            self._mask = VideoWriter(run.path(PERSON_MASK), info.fps, info.width, info.height, mode="mask")
        self._stack = contextlib.ExitStack()
        self.frames = 0
        self.found = 0
        self.surest: Prompt | None = None
        self._rank = (False, 0.0)

    @property
    def paths(self) -> list[Path]:
        """What is written."""
        names = [POSE, OPENPOSE, POSE_KEYPOINT, SKELETONS, SKELETON_VIDEO] + ([PERSON_MASK] if self._mask else [])
        return [self._run.path(name) for name in names]

    def __enter__(self) -> PoseOutputs:
        with contextlib.ExitStack() as stack:
            for writer in (self._pose, self._openpose, self._keypoints, self._skeletons, self._video, self._mask):
                if writer is not None:
                    stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def write(self, pose: FramePose) -> None:
        """Add the next frame to every file."""
        width, height = self._info.width, self._info.height
        self._pose.write(pose.people)
        self._openpose.write_text(json.dumps(frame_to_openpose(pose.people, width, height)) + "\n", ".json")
        self._keypoints.write(pose.people)
        picture = draw_skeletons(pose.people, width, height, self._style)
        self._skeletons.write(picture)
        self._video.write(picture)
        if self._mask is not None and pose.person_mask is not None:
            self._mask.write(pose.person_mask.astype(np.uint8) * np.uint8(255))
        for person in pose.people:
            rank = (is_whole(person.box, width, height), certainty(person))
            if rank > self._rank:
                self._rank = rank
                self.surest = Prompt(_whole(person.box), self.frames, "pose")
        self.found += bool(pose.people)
        self.frames += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        return self._stack.__exit__(kind, error, None)


def _whole(box: Box) -> Box:
    """Return the box on whole pixels, as a person would write it down."""
    return Box(*(round(value) for value in (box.x1, box.y1, box.x2, box.y2)))
