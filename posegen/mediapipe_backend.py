"""The embedded backend: MediaPipe Holistic, whose wheel carries its weights. Runs on any CPU.

Read `MediaPipeBackend` at the end first, then `frame_pose` (a frame's results in the project's terms, by the tables of
`posegen.keypoints`). `NativeLog` keeps the library's chatter off the terminal, and nothing else.

The graph is run directly rather than through `mediapipe.solutions.holistic.Holistic`, because that class hands out no
presence scores of hands and face; the graph has them (its thresholds, 0.5, decide whether a part is given at all).
Nothing is downloaded: the full pose model (complexity 1) is in the wheel, the lite and the heavy one are not.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from handoff.errors import MissingError
from handoff.files import sha256_file
from handoff.masks import Mask
from handoff.places import Box
from handoff.poses import Person
from handoff.video import Frame
from posegen.backend import Boxes, FramePose, PoseModel, box_on
from posegen.keypoints import N_HAND, KeypointGroup, Landmarks, Points, box_around, is_person, to_wholebody

_CHATTER = re.compile(
    rb"^(?:[IW]\d{4} "  # glog's and absl's lines of severity info and warning; errors (E) and fatal (F) pass
    rb"|INFO: "  # TensorFlow Lite's own
    rb"|WARNING: All log messages before absl::InitializeLog)"
)


def without_chatter(text: bytes) -> bytes:
    """Return the lines of `text` that are not a native library's info or warning."""
    return b"".join(line for line in text.splitlines(keepends=True) if not _CHATTER.match(line))


class NativeLog:
    """Hold back what native code writes to file descriptor 2, and pass on all but its chatter.

    mediapipe's library initialises no log, so that no environment variable reaches its threshold (tried:
    GLOG_minloglevel, TF_CPP_MIN_LOG_LEVEL, ABSL_MIN_LOG_LEVEL, GLOG_stderrthreshold).
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object, see close

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Hold back descriptor 2 during the block; at its end, or on an error, write out what matters."""
        sys.stderr.flush()
        terminal = os.dup(2)
        os.dup2(self._file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            self._pass_on()

    def _pass_on(self) -> None:
        size = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        if size == 0:
            return
        text = os.pread(self._file.fileno(), size, 0)
        os.ftruncate(self._file.fileno(), 0)
        os.lseek(self._file.fileno(), 0, os.SEEK_SET)
        os.write(2, without_chatter(text))

    def close(self) -> None:
        """Let go of the temporary file."""
        self._file.close()


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Have `folder` be the current one, of the whole process, while the block runs."""
    before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


VERSION = "0.10.21"
"""The one release this works with: later wheels carry no weights, and the streams below are named by its graph."""

MASK_THRESHOLD = 0.5

N_FACE = 468

ROOM = 0.1
"""How far the picture reaches beyond the skater's box, as a share of its longer side; the rest is gray. Measured on two
people who cross: 0.1 keeps to the skater in 86 of 96 frames, 0.25 in 74, 0.5 in 57, the whole frame in 5."""

_GRAY = 114

_BODY_WEIGHTS = "modules/pose_landmark/pose_landmark_full.tflite"
_GRAPH = "mediapipe/modules/holistic_landmark/holistic_landmark_cpu.binarypb"
_HAND_PRESENCE = "handlandmarksleftandrightcpu__handlandmarksfromposecpu_{}__handlandmarkcpu__hand_presence_score"
_PRESENCE = {
    "left_hand_landmarks": _HAND_PRESENCE.format(1),
    "right_hand_landmarks": _HAND_PRESENCE.format(2),
    "face_landmarks": "facelandmarksfromposecpu__facelandmarkcpu__face_presence_score",
}
_OPTIONS = {
    "model_complexity": 1,
    "smooth_landmarks": False,  # posegen.smooth does it, for hands and face too, and the keypoints before stay at hand
    "enable_segmentation": True,
    "smooth_segmentation": True,
    "refine_face_landmarks": False,  # would refine eyes and lips of faces far larger than a skater's
    "use_prev_landmarks": True,
}


def _points(landmarks: Any, width: int, height: int) -> Points:
    """Return a list of normalised landmarks as (N, 2) px."""
    return np.array([(each.x * width, each.y * height) for each in landmarks.landmark], np.float32)


def _part(results: Any, stream: str, n_points: int, width: int, height: int) -> KeypointGroup | None:
    landmarks = getattr(results, stream)
    if landmarks is None:
        return None
    points = _points(landmarks, width, height)[:n_points]
    return KeypointGroup(points, float(getattr(results, _PRESENCE[stream])))


def _landmarks(results: Any, width: int, height: int) -> Landmarks:
    body = results.pose_landmarks
    return Landmarks(
        body=_points(body, width, height),
        visibility=np.array([each.visibility for each in body.landmark], np.float32),
        face=_part(results, "face_landmarks", N_FACE, width, height),
        left_hand=_part(results, "left_hand_landmarks", N_HAND, width, height),
        right_hand=_part(results, "right_hand_landmarks", N_HAND, width, height),
    )


def frame_pose(results: Any, width: int, height: int) -> FramePose:
    """Return what the graph's results for one frame say, in the project's terms."""
    nobody: Mask = np.zeros((height, width), np.bool_)
    if results.pose_landmarks is None:
        return FramePose([], nobody)
    keypoints, scores = to_wholebody(_landmarks(results, width, height), width, height)
    if not is_person(scores):
        return FramePose([], nobody)
    segmentation = results.segmentation_mask
    mask = nobody if segmentation is None else np.asarray(segmentation) >= MASK_THRESHOLD
    box = box_around(keypoints, scores, width, height, mask)
    return FramePose([Person(box, keypoints, scores)], mask)


def only(frame: Frame, box: Box) -> Frame:
    """Return the frame with everything gray but the box (px) and a little room around it."""
    room = ROOM * box.longer_side
    left, top = max(0, int(box.x1 - room)), max(0, int(box.y1 - room))
    part = np.s_[top : max(top, int(box.y2 + room)), left : max(left, int(box.x2 + room))]
    picture = np.full_like(frame, _GRAY)
    picture[part] = frame[part]
    return picture


class MediaPipeBackend:
    """MediaPipe Holistic behind the extractor.

    It follows one person: the skater where the boxes say where he is, else the most prominent one.
    """

    def __init__(self) -> None:
        """Load the library; raise MissingError where it is not installed or is another release."""
        self._log = NativeLog()
        try:
            # matplotlib, which comes with it, reads a matplotlibrc of the current folder first
            with self._log.quiet(), in_folder(Path(__file__).parent):
                import mediapipe
                from mediapipe.python import solution_base
        except ImportError as error:
            raise MissingError(
                f"the embedded pose backend needs mediapipe {VERSION} ({error}); "
                "install posegen/requirements.lock, or use make extract."
            ) from error
        if mediapipe.__version__ != VERSION:
            raise MissingError(
                f"mediapipe {mediapipe.__version__} is installed, {VERSION} is needed; "
                "install posegen/requirements.lock, or use make extract."
            )
        self._solution_base = solution_base
        self._packages = Path(mediapipe.__file__).parents[1]
        digest = sha256_file(Path(mediapipe.__file__).parent / _BODY_WEIGHTS)
        self._model = PoseModel("MediaPipe Holistic", VERSION, embedded=True, makes_masks=True, sha256=digest)

    @property
    def model(self) -> PoseModel:
        """What this is; the digest is that of the network that places the body."""
        return self._model

    def extract(self, frames: Iterable[Frame], boxes: Boxes | None = None) -> Iterator[FramePose]:
        """Yield one FramePose a frame; see SkaterPoseExtractor.extract."""
        with contextlib.ExitStack() as stack:
            with self._log.quiet():
                graph = self._open_graph()
            stack.callback(graph.close)
            for index, frame in enumerate(frames):
                if boxes is not None:
                    box = box_on(boxes, index)
                    if box is None:
                        yield FramePose([], np.zeros(frame.shape[:2], np.bool_))
                        continue
                    frame = only(frame, box)
                # one quiet block: the graph's threads go on talking after its constructor has returned
                with self._log.quiet():
                    results = graph.process({"image": frame})
                pose = frame_pose(results, frame.shape[1], frame.shape[0])
                # the results are a class made anew each frame, which only the cycle collector frees: without this
                # dozens of frames' masks (3.7 MB each at 720p) wait for it
                results.segmentation_mask = None
                yield pose

    def _open_graph(self) -> Any:
        """Return the graph with its networks loaded, before any frame is asked for.

        It looks for mediapipe/modules/... below the current folder first, where anybody may have put other networks:
        the current one is the package's own until all of them are there.
        """
        with in_folder(self._packages):
            graph = self._solution_base.SolutionBase(
                binary_graph_path=_GRAPH,
                side_inputs=_OPTIONS,
                outputs=["pose_landmarks", "segmentation_mask", *_PRESENCE, *_PRESENCE.values()],
            )
            graph._graph.wait_until_idle()
        return graph
