"""The stage's core: frames in, people out, one frame at a time. It knows nothing of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from handoff.errors import UsageError
from handoff.masks import Mask
from handoff.poses import Person
from handoff.video import Frame


@dataclass(frozen=True)
class FramePose:
    """What was found in one frame.

    people: empty where nobody was found. person_mask: (H, W) bool of the same people, or None from a backend
    that makes no mask.
    """

    people: list[Person]
    person_mask: Mask | None = None


@dataclass(frozen=True)
class PoseModel:
    """What a backend is, for pose.json, run.json and the log line.

    sha256: of the weights that were used.
    """

    name: str
    version: str
    embedded: bool
    makes_masks: bool
    sha256: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.version}" + (" (the embedded backend)" if self.embedded else "")


class PoseBackend(Protocol):
    """What stands behind the extractor."""

    @property
    def model(self) -> PoseModel:
        """What this backend is."""
        ...

    def extract(self, frames: Iterable[Frame]) -> Iterator[FramePose]:
        """Yield one FramePose a frame, in order; each call is a clip of its own."""
        ...


def _embedded() -> PoseBackend:
    # here, not above: this module is used where mediapipe is not installed
    from posegen.mediapipe_backend import MediaPipeBackend

    return MediaPipeBackend()


def _rtmw() -> PoseBackend:
    # here, not above: this module is used where rtmlib is not installed
    from posegen.rtmw_backend import RtmwBackend

    return RtmwBackend()


BACKENDS: dict[str, Callable[[], PoseBackend]] = {"embedded": _embedded, "rtmw": _rtmw}


class SkaterPoseExtractor:
    """Find the skater's 133 COCO-WholeBody keypoints in every frame of a clip.

    backend: "embedded" (MediaPipe Holistic: no download, no GPU), "rtmw" (RTMW-l through ONNX Runtime), or a backend
    that was made already (posegen.stage makes one of what a user asks for).
    Raises UsageError for a backend that does not exist, MissingError where its package or weights are not there.
    """

    def __init__(self, backend: str | PoseBackend = "embedded") -> None:
        if isinstance(backend, str):
            if backend not in BACKENDS:
                raise UsageError(f"there is no pose backend '{backend}'; choose one of: {', '.join(BACKENDS)}.")
            backend = BACKENDS[backend]()
        self._backend = backend

    @property
    def model(self) -> PoseModel:
        """The model that does the work."""
        return self._backend.model

    def extract(self, frames: Iterable[Frame]) -> Iterator[FramePose]:
        """Yield what was found in each frame, in order.

        frames: (H, W, 3) uint8 RGB, all of one size, consecutive: a person is followed from frame to frame.
        Keypoints are px of the frame. A frame without a person yields no person; none is ever invented.
        """
        return self._backend.extract(frames)
