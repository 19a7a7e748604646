"""Which tracker: the one that is asked for, or with "auto" SAM 2.1 where its weights are, else the embedded one.

SAM 2.1's weights are those of the models folder, or a checkpoint that is named, whose SHA-256 must be one that
weights.toml has. Importing this loads neither cv2 nor torch; a backend is imported when it is made.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import click

from handoff.errors import InputError, MissingError, MissingWeightsError, UsageError
from handoff.files import DigestError, sha256_file
from handoff.weights import find_with_digest, load_registry, models_dir
from handoff.weights.store import present
from tracker.interface import TrackerBackend
from tracker.sam2.sizes import CONFIGS, MODELS

BACKENDS = ("auto", "embedded", "sam2")
DEVICES = ("auto", "cuda", "cpu")
DEFAULT_MODEL = "large"
OVERRIDES = "TRACKER_SAM2_OVERRIDES"
"""Environment variable, for tests: Hydra overrides of SAM 2.1's configuration, with spaces between. They can run code,
so they come from nowhere else. run.json records them, and what it says of them is only compared."""


@dataclass(frozen=True)
class TrackerChoice:
    """What is asked of the tracker. None: not said.

    checkpoint: a file of SAM 2.1's weights, in place of the models folder's. config: the name of its configuration, or
    a path that ends in it.
    """

    backend: str = "auto"
    model: str | None = None
    device: str = "auto"
    compiled: bool = False
    checkpoint: Path | None = None
    config: str | None = None

    @property
    def sam2_only(self) -> str | None:
        """The first of its options that only SAM 2.1 knows, as a user writes it."""
        if self.model is not None:
            return f"--model {self.model}"
        if self.checkpoint is not None:
            return f"--checkpoint {self.checkpoint}"
        if self.device == "cuda":
            return "--device cuda"
        return "--compile" if self.compiled else None


def check_choice(wanted: TrackerChoice) -> None:
    """Raise UsageError for names that do not exist, and for options that do not go together."""
    if wanted.backend not in BACKENDS or wanted.device not in DEVICES:
        raise UsageError(
            f"there is no tracker backend '{wanted.backend}' on device '{wanted.device}' here; "
            f"this build has: {', '.join(BACKENDS)}, on {', '.join(DEVICES)}."
        )
    if wanted.model is not None and wanted.model not in MODELS:
        raise UsageError(f"there is no SAM 2.1 model '{wanted.model}'; there are: {', '.join(MODELS)}.")
    if wanted.backend == "embedded" and wanted.sam2_only:
        raise UsageError(f"{wanted.sam2_only} is for SAM 2.1; leave it out, or use --backend sam2.")
    if wanted.checkpoint is not None and wanted.model is not None:
        raise UsageError(
            f"--model {wanted.model} names weights of the models folder and --checkpoint a file; use one of them."
        )
    if wanted.checkpoint is None and wanted.config is not None:
        raise UsageError(f"--config {wanted.config} goes with the weights of --checkpoint; without it use --model.")
    if wanted.config is not None:
        size_of_config(wanted.config)


def make_backend(wanted: TrackerChoice | str = "auto", *, quiet: bool = False) -> TrackerBackend:
    """The backend that is asked for; says in one line when "auto" takes the embedded one, unless `quiet`.

    "auto" means SAM 2.1 where its weights are or where an option is given that only it knows. What is asked for by
    name never falls back: MissingError for packages or a GPU that are not there, MissingWeightsError for weights,
    DigestError for another file than it should be, UsageError for a name or an option that does not exist.
    """
    wanted = TrackerChoice(wanted) if isinstance(wanted, str) else wanted
    check_choice(wanted)
    model = wanted.model or DEFAULT_MODEL
    if wanted.backend == "sam2" or (wanted.backend == "auto" and (wanted.sam2_only or has_weights(model))):
        from tracker.sam2.backend import Sam2Backend

        if wanted.checkpoint is None:
            checkpoint, sha256 = find_with_digest(MODELS[model])
        else:
            checkpoint = wanted.checkpoint
            model, sha256 = identify(checkpoint, wanted.config)
        overrides = os.environ.get(OVERRIDES, "").split()
        return Sam2Backend(model, checkpoint, sha256, wanted.device, wanted.compiled, overrides)
    from tracker.embedded.backend import EmbeddedBackend

    if wanted.backend == "auto" and not quiet:
        weight = load_registry().weight(MODELS[model])
        click.echo(
            f"tracker: {weight.file} is not in {models_dir()}, so the embedded tracker does the work; "
            f"make weights PROFILE={weight.profiles[0]} gets SAM 2.1"
        )
    return EmbeddedBackend()


def has_weights(model: str) -> bool:
    """Say whether there is a file for the weights of a SAM 2.1 model (whether it is the right one is not asked)."""
    return present(load_registry().weight(MODELS[model])) is not None


def identify(checkpoint: Path, config: str | None) -> tuple[str, str]:
    """Return the size of SAM 2.1 that a checkpoint file is, a key of MODELS, and its SHA-256, in hex.

    Raises MissingWeightsError (a FileNotFoundError too) where there is no file, DigestError, with both digests, unless
    weights.toml has the file's SHA-256 for a size of SAM 2.1, UsageError for a config that is another size's or none.
    """
    named = None if config is None else size_of_config(config)
    weights = {size: load_registry().weight(name) for size, name in MODELS.items()}
    advised = weights[named or DEFAULT_MODEL]
    get = f"run make weights PROFILE={advised.profiles[0]}, which puts it into {models_dir() / advised.file}"
    if not checkpoint.is_file():
        raise MissingWeightsError(f"there is no checkpoint {checkpoint}; {get}, or get it from {advised.url}.")
    try:
        digest = sha256_file(checkpoint)
    except OSError as error:
        raise MissingError(f"the checkpoint {checkpoint} cannot be read: {error.strerror}.") from error
    size = next((size for size, weight in weights.items() if digest in (weight.sha256, *weight.also)), None)
    if size is None:
        fitting = [advised.sha256] if named else [weight.sha256 for weight in weights.values()]
        raise DigestError(str(checkpoint), digest, " or ".join(fitting), get)
    if named not in (None, size):
        raise UsageError(
            f"the configuration '{config}' is that of SAM 2.1 {named} and {checkpoint} is SAM 2.1 {size}; "
            f"give {CONFIGS[size]}."
        )
    return size, digest


def size_of_config(config: str) -> str:
    """Return the size, a key of CONFIGS, that a configuration's name or path ends in; UsageError where it is none's.

    The configuration that is used is always sam2's own; a file of that name with other contents is refused.
    """
    wanted = PurePath(config).name.removesuffix(".yaml")
    size = next((size for size, known in CONFIGS.items() if PurePath(known).name == f"{wanted}.yaml"), None)
    if size is None:
        raise UsageError(f"the configuration '{config}' is none of SAM 2.1's: {', '.join(CONFIGS.values())}.")
    package = importlib.util.find_spec("sam2")
    for folder in (package.submodule_search_locations or ()) if package else ():
        own = Path(folder) / CONFIGS[size]
        if Path(config).is_file() and own.is_file() and Path(config).read_bytes() != own.read_bytes():
            raise UsageError(f"{config} is not sam2's own {CONFIGS[size]}, and only that is used; give that name.")
    return size


def wanted_again(params: dict[str, Any], device: str = "auto") -> TrackerChoice:
    """What must be asked for to get the tracker that a run's params name, on this machine's own device.

    A run may be a stranger's. It says which of the backends, which of SAM 2.1's sizes, and whether compiled; the names
    are held against those that there are, and nothing else in it has a say. Raises UsageError for other names.
    """
    backend, model = str(params.get("backend")), params.get("model")
    if backend != "sam2":
        wanted = TrackerChoice(backend, device=device)
    else:
        wanted = TrackerChoice(backend, str(model), device, params.get("compiled") is True)
    check_choice(wanted)
    return wanted


def difference(backend: TrackerBackend, params: dict[str, Any]) -> str | None:
    """Say in what the backend is not the one that a run's params name: name, model, weights; None where it is."""
    for key in ("backend", "model", "weights"):
        if backend.params.get(key) != params.get(key):
            return f"the original mask was made with {key} {params.get(key)}, here it is {backend.params.get(key)}"
    if backend.params.get("overrides") != params.get("overrides"):
        return (
            "the original mask was made with another configuration of SAM 2.1 than is used here (overrides of it are "
            "for tests, and are not taken from run.json)"
        )
    return None


def check_same(backend: TrackerBackend, params: dict[str, Any]) -> None:
    """Raise InputError unless the backend is the one that a run's params name: name, model and weights."""
    differs = difference(backend, params)
    if differs:
        raise InputError(
            f"{differs}: the gate must track with the same; bring the same weights, or name a tracker with --backend."
        )
