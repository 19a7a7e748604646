"""What may be asked of the pose stage: the names of all choices, what does not go together, "as another run was made".

Light: nothing that reads a video or runs a network is imported, so that help and refusals come at once.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handoff.detections.coco import class_number
from handoff.errors import InputError, PreserverError, UsageError
from handoff.jsonfile import BOX, LINE, or_null, record, whole
from handoff.places import Box
from posegen.models import DEFAULT_DETECTOR, DETECTORS, MODELS, has_detector

BACKENDS = ("auto", "embedded", "rtmw")
DEVICES = ("auto", "cuda", "cpu")
METHODS = ("savgol", "none")
"""How the skeleton may be smoothed; the first is the default."""

STYLES = ("vace", "openpose")
"""How skeletons may be drawn; the first is the default."""

DEFAULT_OBJECT = "skateboard"

EVERY = 2
"""Frames from one detection to the next."""


@dataclass(frozen=True)
class Where:
    """Somebody's place: a point (x, y) or a box in px of frame `frame`."""

    frame: int
    box: Box | None = None
    point: tuple[float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> Where:
        """Parse "40:310,200" or "40:250,90,380,420"; UsageError for anything else."""
        frame, _, place = text.partition(":")
        parts = [part.strip() for part in place.split(",")]
        try:
            values = [float(part) for part in parts]
        except ValueError:
            values = []
        if not frame.strip().isdigit() or len(values) not in (2, 4) or not all(map(math.isfinite, values)):
            raise UsageError(
                f"the person '{text}' is not frame:x,y or frame:x1,y1,x2,y2 in pixels, such as 40:310,200."
            )
        if len(values) == 2:
            return cls(int(frame), point=(values[0], values[1]))
        return cls(int(frame), box=Box(*values))

    def __str__(self) -> str:
        place = self.box or "{:g},{:g}".format(*(self.point or ()))
        return f"{self.frame}:{place}"


@dataclass(frozen=True)
class PoseChoice:
    """What the user asks of the pose stage; None: not said.

    backend: one of BACKENDS. model: which RTMW. device: one of DEVICES, of the networks. smoothing: one of METHODS.
    style: one of STYLES. thing: the object's class. where: who the skater is. every: detect in every Nth frame.
    detector: its size. no_detector: it is not to be used although it is there. again: this is how another run was made,
    so the clip is another one too: the object may be gone from it, and the skater from his place.
    Raises UsageError for a name that there is not, and for what does not go together.
    """

    backend: str = BACKENDS[0]
    model: str | None = None
    device: str = DEVICES[0]
    smoothing: str = METHODS[0]
    style: str = STYLES[0]
    thing: str | None = None
    where: Where | None = None
    every: int | None = None
    detector: str | None = None
    no_detector: bool = False
    again: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS or self.device not in DEVICES:
            raise UsageError(
                f"there is no pose backend '{self.backend}' on device '{self.device}'; "
                f"choose one of: {', '.join(BACKENDS)}, on {', '.join(DEVICES)}."
            )
        if self.thing is not None:
            class_number(self.thing)  # a typo is refused before any work
        if self.backend == "embedded" and self.rtmw_only:
            raise UsageError(f"{self.rtmw_only} is for RTMW; leave it out, or use --pose-backend rtmw.")
        if self.no_detector and self.needs_detector:
            raise UsageError("--no-detector leaves nothing that could answer the other options; leave it out, or them.")

    @property
    def rtmw_only(self) -> str | None:
        """The first of its options that only RTMW knows, as a user writes it."""
        if self.model is not None:
            return f"--pose-model {self.model}"
        return "--device cuda" if self.device == "cuda" else None

    @property
    def needs_rtmw(self) -> bool:
        """Whether RTMW is asked for, by its name or by an option that only it knows."""
        return self.backend == "rtmw" or self.rtmw_only is not None

    @property
    def needs_detector(self) -> bool:
        """Whether something is asked for that only a detector can answer."""
        return self.needs_rtmw or any(each is not None for each in (self.thing, self.where, self.every, self.detector))

    @property
    def has_detector(self) -> bool:
        """Whether the detector's weights are there and it may be used."""
        return not self.no_detector and has_detector(self.detector or DEFAULT_DETECTOR)


def as_another(folder: Path, device: str = DEVICES[0], style: str = STYLES[0]) -> PoseChoice:
    """Return what finds a skeleton in another clip exactly as that of the run in `folder` was found, by its run.json.

    Backend, model, smoothing, the detector and its step (or none), the object's class and who the skater is are taken
    over: he is who stands where the run's own skater was seen best. The device is a machine's, not a result's, so it is
    not among them; the embedded backend knows none.
    Raises InputError for a folder that is no run, or where run.json does not say it, or says what nobody knows here.
    """
    from handoff.run import MANIFEST, Run  # here, not above: it brings the video library

    run, path = Run.open(folder), folder / MANIFEST
    made, detected = run.recorded("posegen", FOUND), run.recorded("detect", _DETECTED)
    try:
        if made is None:
            raise InputError("does not say how the skeleton was found: there is no 'posegen'.")
        return _taken_over(made, detected, device, style)
    except PreserverError as error:
        raise InputError(f"{path}: {error} Extract that run's skeleton again.") from error


FOUND = record(
    {"params": record({}, {"object": or_null(LINE), "smoothing": record({"method": LINE}), "backend": LINE})},
    {
        "tools": record({}, {"name": LINE}),
        "notes": record({}, {"skater": or_null(record({"frame": whole(0), "box": BOX}))}),
    },
)
"""What run.json says of how the skeleton was found, and where the skater was seen best."""
_DETECTED = record({"params": record({"every": whole(1)}), "tools": record({"detector": LINE})})


def _taken_over(made: dict[str, Any], detected: dict[str, Any] | None, device: str, style: str) -> PoseChoice:
    params = made["params"]
    backend = _known(params.get("backend", BACKENDS[0]), BACKENDS)
    model = _known(made.get("tools", {}).get("name", "").lower(), MODELS) if backend == "rtmw" else None
    smoothing = _known(params["smoothing"]["method"], METHODS) if "smoothing" in params else METHODS[0]
    device = device if backend == "rtmw" else DEVICES[0]
    if "boxes" not in params:
        return PoseChoice(backend, model, device, smoothing, style, no_detector=True, again=True)
    if detected is None:
        raise InputError("does not say how the skater was found: there is no 'detect'.")
    place = made.get("notes", {}).get("skater")
    return PoseChoice(
        *(backend, model, device, smoothing, style),
        thing=params.get("object"),
        where=Where(place["frame"], Box(*map(float, place["box"]))) if place else None,
        every=detected["params"]["every"],
        detector=_known(detected["tools"]["detector"].removeprefix("yolox-"), DETECTORS),
        again=True,
    )


def _known(value: str, names: Collection[str]) -> str:
    if value not in names:
        raise InputError(f"it was made with '{value}', and there is only: {', '.join(names)}.")
    return value
