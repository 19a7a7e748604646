"""ComfyUI's POSE_KEYPOINT: one JSON list for the whole clip, a frame of OpenPose's lists each.

That type comes from the pose nodes of comfyui_controlnet_aux. It differs from OpenPose's own files in its confidence,
which is 1 for a keypoint that is there and 0 for one that is not: its nodes take anything below 1 as not there, so that
an OpenPose file with true confidences would be drawn as an empty picture without a word.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from handoff.atomic import atomic_file
from handoff.poses import Person
from posegen.openpose import frame_to_openpose
from posegen.people import KPT_THR


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
