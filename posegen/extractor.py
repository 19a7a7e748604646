"""SkaterPoseExtractor: frames or a whole clip in, people, drawn skeletons and OpenPose files out.

`extract` is the stream that the stage uses too; it knows nothing of files. `process_video` is everything in one call.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from handoff.detections.coco import class_number
from handoff.errors import MissingError, UsageError
from handoff.files import DigestError, is_litter
from handoff.masks import FrameFolderWriter
from handoff.video import ClipInfo, Frame, probe, read_frames
from posegen.backend import Boxes, FramePose, PoseBackend, PoseModel
from posegen.choice import DEFAULT_OBJECT, DEVICES, EVERY
from posegen.detect.sampling import look_through
from posegen.detect.skater import find_skater, sure_things
from posegen.detect.yolox import open_detector
from posegen.draw import draw_skeletons
from posegen.models import DEFAULT_DETECTOR, DEFAULT_MODEL, has_detector
from posegen.outputs import frame_to_openpose
from posegen.smooth import smooth

NAMES = ("embedded", "rtmw", "onnxruntime")
"""Backends by name; the last two are the same."""

_FRAME_FILE = re.compile(r"frame_\d{5,}\.(png|json)")


def open_backend(name: str, device: str = "auto", model: str = DEFAULT_MODEL) -> PoseBackend:
    """Return the backend of a name, ready for its first clip; it never is another one.

    Raises UsageError for a name that there is not, MissingError for weights, packages or a GPU that are not there.
    """
    if name not in NAMES or device not in DEVICES:
        raise UsageError(
            f"there is no pose backend '{name}' on device '{device}'; choose one of: {', '.join(NAMES)}, on "
            f"{', '.join(DEVICES)}."
        )
    # here, not above: what the one backend needs may not be installed where the other is used
    if name != "embedded":
        from posegen.rtmw_backend import RtmwBackend

        return RtmwBackend(model, device)
    if device == "cuda":
        raise UsageError("the embedded pose backend runs on the CPU only; use backend rtmw (or onnxruntime) with cuda.")
    from posegen.mediapipe_backend import MediaPipeBackend

    return MediaPipeBackend()


@dataclass(frozen=True)
class PoseCounts:
    """How many frames a clip has, and in how many of them somebody was found."""

    frames: int
    frames_with_person: int


class SkaterPoseExtractor:
    """Find the skater's 133 COCO-WholeBody keypoints in every frame of a clip.

        SkaterPoseExtractor(device="cuda", backend="onnxruntime")
        SkaterPoseExtractor("rtmw")

    device: "auto", "cuda" or "cpu", of RTMW and of the detector; a backend alone may stand in its place. backend:
    "embedded" (MediaPipe Holistic: no download, no GPU), "rtmw" or "onnxruntime" (both RTMW-l through ONNX Runtime), or
    one that was made already. Not said, it is RTMW on "cuda" and else the embedded one.
    Nothing falls back: UsageError for a name that does not exist, MissingError where the package, the weights or the
    GPU are not there, with what to run.
    """

    def __init__(self, device: str | PoseBackend = "auto", backend: str | PoseBackend | None = None) -> None:
        if backend is None and device not in DEVICES:
            device, backend = "auto", device
        if not isinstance(device, str):
            raise UsageError(f"the device is {device!r}; choose one of: {', '.join(DEVICES)}.")
        if backend is None:
            backend = "rtmw" if device == "cuda" else "embedded"
        self._device = device
        self._backend = open_backend(backend, device) if isinstance(backend, str) else backend

    @property
    def model(self) -> PoseModel:
        """The model that does the work."""
        return self._backend.model

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        """Yield what was found in each frame, in order.

        frames: (H, W, 3) uint8 RGB, all of one size, consecutive: a person is followed from frame to frame. boxes: the
        skater's box in each of them, px, None where he is not; without them the embedded backend finds the most
        prominent person, and RTMW raises UsageError.
        Keypoints are px of the frame. A frame without a person yields no person; none is ever invented.
        """
        return self._backend.extract(frames, boxes)

    def process_video(
        self, video: str | Path, output_dir_img: str | Path, output_dir_json: str | Path | None = None
    ) -> PoseCounts:
        """Write the drawn skeletons of a clip as frame_00000.png, ..., and OpenPose's frame_00000.json, ... if wanted.

        Where the skater is, the YOLOX detector says where its weights are (RTMW needs it): who is nearest the
        skateboard; else the embedded backend takes the most prominent person. The skeleton is smoothed and drawn as by
        the command's defaults. Frames are those that the file holds, as they are stored: a clip that its player turns,
        or of a changing rate, goes through `make extract` instead.
        Each folder is replaced as a whole, when all of it is there. One frame at a time is in memory.
        Raises MissingFileError (a FileNotFoundError too) for a clip that is not there, InputError for one that cannot
        be used, UsageError for folders that hold anything else, MissingError where the detector's weights are needed
        and not there.
        """
        clip = Path(video)
        info = probe(clip)
        pictures = _frame_folder(Path(output_dir_img))
        records = _frame_folder(Path(output_dir_json)) if output_dir_json is not None else None
        if records and (pictures == records or pictures in records.parents or records in pictures.parents):
            raise UsageError(f"{pictures} and {records} are replaced as a whole each; give folders beside each other.")
        boxes = self._skater_boxes(clip, info)
        found = frames = 0
        with contextlib.ExitStack() as stack:
            drawn = stack.enter_context(FrameFolderWriter(pictures))
            written = stack.enter_context(FrameFolderWriter(records)) if records else None
            for pose in smooth(self.extract(read_frames(clip), boxes), "savgol"):
                drawn.write(draw_skeletons(pose.people, info.width, info.height))
                if written:
                    record = frame_to_openpose(pose.people, info.width, info.height)
                    written.write_text(json.dumps(record) + "\n", ".json")
                frames += 1
                found += bool(pose.people)
        return PoseCounts(frames, found)

    def _skater_boxes(self, clip: Path, info: ClipInfo) -> Boxes | None:
        """Return the skater's boxes by the detector, None where there is none and no need of one."""
        if self.model.embedded and not has_detector(DEFAULT_DETECTOR):
            return None
        try:
            detector = open_detector(DEFAULT_DETECTOR, self._device)
        except DigestError:
            raise
        except MissingError as error:
            raise MissingError(f"{error} {self.model.name} has to know where the person is.") from error
        samples = list(look_through(read_frames(clip), info.frames, detector, EVERY))
        things = sure_things(samples, class_number(DEFAULT_OBJECT))
        return find_skater(samples, things, info, EVERY).boxes


def _frame_folder(folder: Path) -> Path:
    """Return the whole path of a folder that may be replaced: there is none yet, or it holds a clip's frames alone."""
    folder = folder.resolve()
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder for the frames.")
    names = (each.name for each in folder.iterdir() if not is_litter(each.name))
    other = next((name for name in names if not _FRAME_FILE.fullmatch(name)), None)
    if other is not None:
        raise UsageError(
            f"{folder} is replaced as a whole, and {other} in it is no frame of a clip; give a folder of its own."
        )
    return folder
