"""Which backend: the one that is asked for, or with "auto" SAM 2.1 where its weights are, else the embedded one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from handoff.errors import InputError, UsageError
from handoff.weights import load_registry, models_dir
from handoff.weights.store import present
from tracker.embedded.backend import EmbeddedBackend
from tracker.interface import TrackerBackend
from tracker.sam2.backend import DEVICES, MODELS, OVERRIDES, Sam2Backend

BACKENDS = ("auto", "embedded", "sam2")
DEFAULT_MODEL = "large"


@dataclass(frozen=True)
class TrackerChoice:
    """What is asked of the tracker. None: not said.

    overrides: Hydra overrides of SAM 2.1's configuration, else those of $TRACKER_SAM2_OVERRIDES; for tests.
    """

    backend: str = "auto"
    model: str | None = None
    device: str = "auto"
    compiled: bool = False
    overrides: tuple[str, ...] | None = None

    @property
    def sam2_only(self) -> str | None:
        """The first of its options that only SAM 2.1 knows, as a user writes it."""
        if self.model is not None:
            return f"--model {self.model}"
        if self.device == "cuda":
            return "--device cuda"
        return "--compile" if self.compiled else None


def make_backend(wanted: TrackerChoice | str = "auto", *, quiet: bool = False) -> TrackerBackend:
    """The backend that is asked for; says in one line when "auto" takes the embedded one, unless `quiet`.

    "auto" means SAM 2.1 where its weights are or where an option is given that only it knows. What is asked for by
    name never falls back: MissingError for weights, packages or a GPU that are not there, UsageError for a name or an
    option that does not exist.
    """
    wanted = TrackerChoice(wanted) if isinstance(wanted, str) else wanted
    if wanted.backend not in BACKENDS or wanted.device not in DEVICES:
        raise UsageError(
            f"there is no tracker backend '{wanted.backend}' on device '{wanted.device}' here; "
            f"this build has: {', '.join(BACKENDS)}, on {', '.join(DEVICES)}."
        )
    model = wanted.model or DEFAULT_MODEL
    if wanted.backend == "embedded" and wanted.sam2_only:
        raise UsageError(f"{wanted.sam2_only} is for SAM 2.1; leave it out, or use --backend sam2.")
    if wanted.backend == "sam2" or (wanted.backend == "auto" and (wanted.sam2_only or has_weights(model))):
        given = os.environ.get(OVERRIDES, "").split() if wanted.overrides is None else wanted.overrides
        return Sam2Backend(model, wanted.device, wanted.compiled, given)
    if wanted.backend == "auto" and not quiet:
        weight = load_registry().weight(MODELS[model])
        click.echo(
            f"tracker: {weight.file} is not in {models_dir()}, so the embedded tracker does the work; "
            f"make weights PROFILE={weight.profiles[0]} gets SAM 2.1"
        )
    return EmbeddedBackend()


def has_weights(model: str) -> bool:
    """Say whether there is a file for the weights of a SAM 2.1 model (whether it is the right one is not asked)."""
    if model not in MODELS:
        raise UsageError(f"there is no SAM 2.1 model '{model}'; there are: {', '.join(MODELS)}.")
    return present(load_registry().weight(MODELS[model])) is not None


def wanted_again(params: dict[str, Any], device: str = "auto") -> TrackerChoice:
    """What must be asked for to get the tracker that a run's params name, on this machine's own device."""
    if params["backend"] != "sam2":
        return TrackerChoice(str(params["backend"]), device=device)
    overrides: Sequence[str] = params.get("overrides", ())
    return TrackerChoice("sam2", str(params["model"]), device, bool(params.get("compiled", False)), tuple(overrides))


def difference(backend: TrackerBackend, params: dict[str, Any]) -> str | None:
    """Say in what the backend is not the one that a run's params name: name, model, weights; None where it is."""
    for key in ("backend", "model", "weights", "overrides"):
        if backend.params.get(key) != params.get(key):
            return f"the original mask was made with {key} {params.get(key)}, here it is {backend.params.get(key)}"
    return None


def check_same(backend: TrackerBackend, params: dict[str, Any]) -> None:
    """Raise InputError unless the backend is the one that a run's params name: name, model and weights."""
    differs = difference(backend, params)
    if differs:
        raise InputError(
            f"{differs}: the gate must track with the same; bring the same weights, or name a tracker with --backend."
        )
