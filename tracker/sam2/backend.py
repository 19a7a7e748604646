"""SAM 2.1 as a backend of the tracker. Importing this imports no torch; the embedded tracker must not pay for it."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handoff.command import asked_by, asked_device
from handoff.errors import MissingError, UsageError
from handoff.masks import Mask
from handoff.places import Place
from handoff.video import ClipInfo
from tracker.interface import Found, Waypoints

if TYPE_CHECKING:
    from tracker.sam2.predictor import Predictor
    from tracker.sam2.session import Sam2Session

_OBJECT, _SKATER = 1, 2
_SHOWN_DIGITS = 12


class Sam2Backend:
    """SAM 2.1 of one size with verified weights. Box or points, corrections, and the skater as a second object."""

    name = "sam2"
    versions: tuple[str, ...] = ("torch", "torchvision", "sam2", "pillow")
    tracks_skater = True
    tracks_back = False

    def __init__(
        self,
        model: str,
        checkpoint: Path,
        sha256: str,
        device: str = "auto",
        compiled: bool = False,
        overrides: Sequence[str] = (),
    ) -> None:
        """Find the device. Nothing is loaded yet; the checkpoint is verified once more when it is.

        model: a size, see `sizes`. checkpoint: the file of its weights. sha256: of that file, in hex. overrides: Hydra
        overrides of the configuration. Raises MissingError for packages, a GPU or, with `compiled` on the CPU, a C++
        compiler that are missing.
        """
        self._model, self._checkpoint, self._sha256 = model, checkpoint, sha256
        self._compiled, self._overrides = compiled, tuple(overrides)
        self._device = choose_device(device)
        if compiled:
            from tracker.sam2.predictor import check_compiler

            check_compiler(self._device)
        self._repeats = self._device == "cpu" and not compiled  # shown only there: equal to the last bit
        self._predictor: Predictor | None = None
        self.params: dict[str, Any] = {
            "backend": self.name,
            "model": model,
            "weights": self._sha256,
            "device": self._device,
            "compiled": compiled,
        }
        if overrides:
            self.params["overrides"] = list(overrides)
        self.description = (
            f"SAM 2.1 Hiera {model} on {self._device}{', compiled' if compiled else ''} "
            f"(sam2 {importlib.metadata.version('sam2')}, torch {importlib.metadata.version('torch')}, "
            f"weights {self._sha256[:_SHOWN_DIGITS]}{', changed by ' + ' '.join(overrides) if overrides else ''})"
        )

    def check(self, places: Sequence[Place]) -> None:
        """See `TrackerBackend.check`: points alone must say where the object is, not only where it is not."""
        for place in places:
            if place.box is None and not any(point.label for point in place.points):
                raise UsageError(
                    f"the points on frame {place.frame} only say where the object is not; add one that is on it."
                )

    def track(
        self,
        path: Path,
        info: ClipInfo,
        shot: range,
        places: Sequence[Place],
        skater: Sequence[Place],
        waypoints: Waypoints | None = None,
    ) -> Iterator[Found]:
        """See `TrackerBackend.track`. A pixel that object and skater both claim is given to the higher logit."""
        from tracker.sam2.frames import ClipFrames
        from tracker.sam2.session import Sam2Session, exclusive_masks

        source = ClipFrames(path, info, shot.start, shot.stop)
        with self._errors(), Sam2Session(self._loaded(), source, spool_dir=spool_folder(path)) as session:
            if waypoints is not None and waypoints.after is not None:
                session.thaw(waypoints.state, waypoints.after + 1 - shot.start)
            else:
                self._prompt(session, shot, places, skater)
            for index, logits, scores in session.propagate():
                wanted = waypoints is not None and self._repeats and shot.start + index in waypoints.wanted
                if waypoints is not None and wanted and session.is_settled:
                    waypoints.keep(shot.start + index, session.freeze())
                masks = exclusive_masks(logits)
                empty = np.zeros((info.height, info.width), bool)
                human = masks.get(_SKATER, empty) if skater else None
                yield Found(shot.start + index, masks.get(_OBJECT, empty), scores.get(_OBJECT), human)

    def _prompt(self, session: Sam2Session, shot: range, places: Sequence[Place], skater: Sequence[Place]) -> None:
        for identity, where in ((_OBJECT, places), (_SKATER, skater)):
            for place in where:
                session.add_prompt(
                    place.frame - shot.start,
                    identity,
                    box=place.box,
                    points=[(point.x, point.y) for point in place.points] or None,
                    labels=[point.label for point in place.points] or None,
                )

    def retrack(self, path: Path, info: ClipInfo, start: int, mask: Mask, frames: range) -> Iterator[tuple[int, Mask]]:
        """See `TrackerBackend.retrack`: the mask itself is the prompt, which upstream takes as it is, and no skater."""
        from tracker.sam2.frames import ClipFrames
        from tracker.sam2.session import Sam2Session

        source = ClipFrames(path, info, frames.start, frames.stop)
        with self._errors(), Sam2Session(self._loaded(), source, spool_dir=spool_folder(path)) as session:
            session.add_prompt(start - frames.start, _OBJECT, mask=mask)
            for index, logits, _ in session.propagate():
                yield frames.start + index, logits[_OBJECT] > 0

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        from tracker.sam2.predictor import compile_errors, memory_errors

        with compile_errors() if self._compiled else contextlib.nullcontext(), memory_errors(self._model, self._device):
            yield

    def _loaded(self) -> Predictor:
        from tracker.sam2.predictor import load_predictor

        if self._predictor is None:
            self._predictor = load_predictor(
                self._model,
                self._checkpoint,
                self._sha256,
                self._device,
                compiled=self._compiled,
                overrides=self._overrides,
            )
        return self._predictor


def choose_device(device: str) -> str:
    """ "cuda" or "cpu": what is asked for, or with "auto" the GPU where there is one (see handoff.command).

    Raises MissingError for a GPU that is asked for and not there, and for an environment without SAM 2.1.
    """
    for package in ("torch", "sam2"):
        if importlib.util.find_spec(package) is None:
            raise MissingError(f"SAM 2.1 needs the package {package}, which this Python lacks; use the tracker's own.")
    import torch

    there = torch.cuda.is_available()
    asked = asked_device(device)
    if asked == "cuda" and not there:
        raise MissingError(
            f"{asked_by(device)} was asked for, but torch sees no CUDA GPU here; use a GPU, or --device cpu."
        )
    return ("cuda" if there else "cpu") if asked == "auto" else asked


def spool_folder(clip: Path) -> Path:
    """Where frames before a prompt wait: beside the clip, which is on a disk; else the system's temporary folder."""
    return clip.parent if os.access(clip.parent, os.W_OK) else Path(tempfile.gettempdir())
