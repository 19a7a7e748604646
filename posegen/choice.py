"""Which backend: the one that is asked for, or with "auto" RTMW where its weights are, else the embedded one."""

from __future__ import annotations

from dataclasses import dataclass

import click

from handoff.errors import UsageError
from handoff.weights import load_registry, models_dir
from posegen.extractor import BACKENDS, Backend
from posegen.onnx_session import DEVICES
from posegen.rtmw.models import DEFAULT_MODEL, MODELS, has_weights

NAMES = ("auto", *BACKENDS)


@dataclass(frozen=True)
class Wanted:
    """What is asked of the pose stage. model: None where it was not said. device: of the pose network."""

    backend: str = "auto"
    model: str | None = None
    device: str = "auto"

    @property
    def rtmw_only(self) -> str | None:
        """The first of its options that only RTMW knows, as a user writes it."""
        if self.model is not None:
            return f"--model {self.model}"
        return "--device cuda" if self.device == "cuda" else None


def make_backend(wanted: Wanted, *, detector: bool, quiet: bool = False) -> Backend:
    """The backend that is asked for; says in one line when "auto" takes the embedded one, unless `quiet`.

    detector: whether the detector's weights are there, which RTMW needs: it must be told where the person is.
    "auto" means RTMW where both are there or where an option is given that only it knows. What is asked for by name
    never falls back: MissingError for weights, packages or a GPU that are not there, UsageError for a name that does
    not exist. An RtmwBackend gets its `boxes` afterwards, from the detections.
    """
    if wanted.backend not in NAMES or wanted.device not in DEVICES:
        raise UsageError(
            f"there is no pose backend '{wanted.backend}' on device '{wanted.device}'; "
            f"choose one of: {', '.join(NAMES)}, on {', '.join(DEVICES)}."
        )
    if wanted.backend == "embedded" and wanted.rtmw_only:
        raise UsageError(f"{wanted.rtmw_only} is for RTMW; leave it out, or use --backend rtmw.")
    model = wanted.model or DEFAULT_MODEL
    named = wanted.backend == "rtmw" or wanted.rtmw_only is not None
    if named or (wanted.backend == "auto" and detector and has_weights(model)):
        from posegen.rtmw.backend import RtmwBackend  # here, not above: the embedded backend needs no rtmlib

        return RtmwBackend(model, wanted.device)
    if wanted.backend == "auto" and not quiet:
        what = _missing(model) if detector else "the detector's weights are not there"
        click.echo(
            f"posegen: {what}, so MediaPipe, the embedded backend, does the work; "
            'make weights PROFILE="pose detect" gets RTMW'
        )
    return BACKENDS["embedded"]()


def _missing(model: str) -> str:
    return f"{load_registry().weight(MODELS[model]).file} is not in {models_dir()}"
