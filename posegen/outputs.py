"""The stage's files, written side by side in one pass over the clip (`PoseOutputs`). The same for every backend.

Before it, the two forms that others read. OpenPose's JSON is one file a frame: body 18 (COCO's 17 in another order and
a neck between the shoulders), face 70 (the 68 of iBUG and the two pupils, for which the eyes of the body are taken) and
hands of 21; it has no feet in this form, so they do not come back. A point that was not seen is 0, 0, 0.

ComfyUI's POSE_KEYPOINT, the type of comfyui_controlnet_aux's pose nodes, is one JSON list for the whole clip, a frame
of OpenPose's lists each. Its confidence is 1 for a keypoint that is there and 0 for one that is not: its nodes take
anything below 1 as not there, so that an OpenPose file with true confidences would be drawn as an empty picture.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from handoff.files import atomic_file
from handoff.masks import FrameFolderWriter
from handoff.places import Prompt
from handoff.poses import N_KEYPOINTS, Person, PoseWriter
from handoff.run import Run
from handoff.video import VideoWriter
from posegen.backend import FramePose, PoseModel
from posegen.draw import draw_skeletons
from posegen.keypoints import (
    FACE,
    KPT_THR,
    LEFT_HAND,
    RIGHT_HAND,
    Triples,
    body_18,
    certainty,
    is_whole,
)
from posegen.smooth import parameters

VERSION = 1.3
"""The version that OpenPose writes into its files."""

N_FACE = 70
_PUPILS = (2, 1)  # right, then left, as OpenPose's face points 68 and 69; COCO's eyes


def _flat(triples: Triples) -> list[float]:
    kept = np.where(triples[:, 2:] > 0, triples, 0)
    return [round(float(value), 4) for value in kept.ravel()]


def frame_to_openpose(people: list[Person], width: int, height: int) -> dict[str, Any]:
    """Return one frame's people as the object that an OpenPose file holds; the canvas is width x height px."""
    records = []
    for person in people:
        triples = np.column_stack([person.keypoints, person.scores]).astype(np.float32)
        records.append(
            {
                "person_id": [-1],
                "pose_keypoints_2d": _flat(body_18(person.keypoints, person.scores)),
                "face_keypoints_2d": _flat(np.concatenate([triples[FACE], triples[list(_PUPILS)]])),
                "hand_left_keypoints_2d": _flat(triples[LEFT_HAND]),
                "hand_right_keypoints_2d": _flat(triples[RIGHT_HAND]),
            }
        )
    return {"version": VERSION, "people": records, "canvas_width": width, "canvas_height": height}


def frame_to_pose_keypoint(people: list[Person], width: int, height: int) -> dict[str, Any]:
    """Return one frame of a POSE_KEYPOINT; what scores KPT_THR or less is 0, 0, 0. The canvas is width x height px."""
    sure = [replace(person, scores=(person.scores > KPT_THR).astype(np.float32)) for person in people]
    frame = frame_to_openpose(sure, width, height)
    return {key: frame[key] for key in ("people", "canvas_height", "canvas_width")}


class PoseKeypointWriter:
    """Write a POSE_KEYPOINT frame by frame, one a line; the file gets its name only when it is complete."""

    def __init__(self, path: Path, width: int, height: int) -> None:
        self._atomic = atomic_file(path)
        self._size = width, height
        self._separator = "[\n"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> PoseKeypointWriter:
        with contextlib.ExitStack() as stack:
            partial = stack.enter_context(self._atomic)
            self._file = stack.enter_context(partial.open("w", encoding="utf-8"))
            self._stack = stack.pop_all()
        return self

    def write(self, people: list[Person]) -> None:
        """Add the next frame's people; an empty list where nobody was found."""
        frame = frame_to_pose_keypoint(people, *self._size)
        self._file.write(self._separator + json.dumps(frame, separators=(",", ":")))
        self._separator = ",\n"

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        if kind is None:
            # a clip has at least one frame; nothing written at all is still a list
            self._file.write("\n]\n" if self._separator == ",\n" else "[]\n")
        return self._stack.__exit__(kind, error, None)


POSE = "pose.json"
OPENPOSE = "pose_json"
POSE_KEYPOINT = "pose_keypoint.json"
SKELETONS = "pose_skater"
SKELETON_VIDEO = "pose.mp4"
PERSON_MASK = "person_mask.mp4"


def pose_header(model: PoseModel, smoothing: str) -> dict[str, Any]:
    """Return what pose.json says of how it was made; smoothing: one of posegen.choice.METHODS."""
    about = {key: value for key, value in asdict(model).items() if key != "makes_masks" and value is not None}
    return {
        "model": about,
        "keypoints": f"COCO-WholeBody {N_KEYPOINTS}",
        "threshold": KPT_THR,
        "smoothing": parameters(smoothing),
    }


class PoseOutputs:
    """Write pose.json, pose_json/, pose_keypoint.json, pose_skater/, pose.mp4 and, if there are masks, person_mask.mp4.

    Use it as a context manager; every file gets its name only on a clean exit. style: how skeletons are drawn, one of
    posegen.choice.STYLES. smoothing: the method that the poses have been smoothed with, for the header.
    `frames`, `found` count what was written; `surest` is the detection with the highest certainty, of those clear of
    the frame's edges if there are any, or None.
    """

    def __init__(self, run: Run, model: PoseModel, style: str, smoothing: str = "none") -> None:
        self._run, self._info, self._style = run, run.info, style
        self._pose = PoseWriter(run.path(POSE), run.info, pose_header(model, smoothing))
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
                self.surest = Prompt(person.box.rounded(), self.frames, "pose")
        self.found += bool(pose.people)
        self.frames += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        return self._stack.__exit__(kind, error, None)
