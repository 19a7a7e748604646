"""What a user may say about generating: checked, filled into a template, and part of the stage's parameters."""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import click

from handoff.errors import UsageError, printable
from reskin.windows import MODEL_FRAMES, MODEL_OVERLAP, check_model_windows, fitting_overlap
from reskin.workflow import FILE_INPUTS, LORA, REFERENCE, Slot

DEFAULT_TIMEOUT_S = 3600.0
"""Seconds for one window on the server."""
DEFAULT_RETRIES = 2
"""How often a job is submitted again that a server lost."""

OVERLAP_MODES = ("fade", "anchor")
GROW_PX, MAX_GROW_PX = 8, 256
"""Growth of the regions, px of the source: where the user names none, and at most."""

MULTIPLE = 16
"""Both sides of the model's picture, px: the VAE takes 8 px to one and the transformer two of those to one."""

LARGEST_SEED = 2**64 - 1
"""ComfyUI's seeds are from 0 to this."""

_LARGEST = 4096
_MAX_TEXT = 2000

FIXED = {
    "seed": "every take has a seed of its own anyway",
    "size": "all windows have the model's pictures in one size",
    "window": "the windows are planned once for the clip",
    "overlap": "the windows are planned once for the clip",
    "overlap-mode": "it joins a window to the next",
    "no-lock": "what is put back is the same in the whole clip",
    "replaces": "what the object was is the same in the whole clip",
    "workflow": "one graph paints all windows",
    "prompt": "it names the reskin; object-prompt and human-prompt can be varied",
}
"""What is not varied from window to window, and why."""
MOST_VARIED = 100
"""Settings that --vary may make: a window has no more takes than that."""


@dataclass(frozen=True)
class Settings:
    """How to generate; None is the template's own value, or what docs/guides/workflows.md says.

    size: (width, height) px of the model's pictures. lora: (file, strength). grow: px of the source.
    """

    object_prompt: str | None = None
    human_prompt: str | None = None
    replaces: str | None = None
    steps: int | None = None
    cfg: float | None = None
    shift: float | None = None
    sampler: str | None = None
    model: str | None = None
    lora: tuple[str, float] | None = None
    reference: Path | None = None
    size: tuple[int, int] | None = None
    grow: int | None = None
    window: int | None = None
    overlap: int | None = None
    overlap_mode: str | None = None
    lock: bool = True

    @property
    def grow_px(self) -> int:
        """How far the model may paint around the masks, px of the source."""
        return GROW_PX if self.grow is None else self.grow

    @property
    def anchored(self) -> bool:
        """Whether a window takes the frames that it shares from the one before as they are."""
        return self.overlap_mode == "anchor"

    def windows(self, frames: int | None) -> tuple[int, int]:
        """Return (length, overlap) of the windows, in frames; `frames` is what the template is made for."""
        length = self.window or frames or MODEL_FRAMES
        overlap = fitting_overlap(length, MODEL_OVERLAP) if self.overlap is None else self.overlap
        check_model_windows(length, overlap)
        return length, overlap

    def slots(self) -> dict[Slot, Any]:
        """Return what was asked for and goes straight into a template's nodes; a template must have all of them."""
        lora, strength = self.lora or (None, None)
        values: dict[Slot, Any] = {
            Slot("sampler", ("steps",), option="--steps"): self.steps,
            Slot("sampler", ("cfg",), option="--cfg"): self.cfg,
            Slot("sampler", ("sampler_name",), option="--sampler"): self.sampler,
            Slot("shift", ("shift",), option="--shift"): self.shift,
            Slot("model", ("unet_name", "ckpt_name", "model"), option="--model"): self.model,
            Slot(LORA, ("lora_name",), option="--lora"): lora,
            Slot(LORA, ("strength_model",), option="--lora"): strength,
            # its name on the server comes with each window
            Slot(REFERENCE, FILE_INPUTS, option="--reference"): None if self.reference is None else "",
        }
        return {slot: value for slot, value in values.items() if value is not None}

    def asked(self) -> dict[str, Any]:
        """Return the options that were given, by their names on the command line, as JSON: the stage's parameters."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}
        if not given.pop("lock"):
            given["no_lock"] = True
        return {
            name.replace("_", "-"): str(value) if isinstance(value, Path) else value for name, value in given.items()
        }


def read_settings(given: dict[str, Any]) -> Settings:
    """Return the settings from the command's keywords; raise UsageError for what cannot be."""
    values = dict(given)
    values["lock"] = not values.pop("no_lock")
    values["size"] = parse_size(values["size"]) if values["size"] is not None else None
    values["lora"] = _read_lora(values["lora"]) if values["lora"] is not None else None
    for name in ("object_prompt", "human_prompt", "replaces"):
        _check_text(name, values[name])
    if values["reference"] is not None and not values["reference"].is_file():
        raise UsageError(f"there is no picture {values['reference']}; check --reference.")
    if values["reference"] is not None:
        from handoff.picture.photo import read_photo  # loads cv2

        read_photo(values["reference"])  # what is none is said now
    settings = Settings(**values)
    if settings.window is not None or settings.overlap is not None:
        settings.windows(None)
    return settings


def read_varied(
    texts: Sequence[str], given: dict[str, Any], settings: Settings, types: Mapping[str, click.ParamType[Any]]
) -> tuple[Settings, ...]:
    """Return the settings that --vary makes, all its values with one another, the first ones first; none without it.

    texts: NAME=V1,V2 each; a value with a comma in it stands in double quotes. given: the command's keywords, of which
    `settings` were read: a value that was given for itself is the first one. types: option name -> of its values.
    Raises UsageError for a name that there is not, that is fixed or that is there twice, for a value that cannot be,
    and for one value alone.
    """
    values: dict[str, list[Any]] = {}
    for text in texts:
        if any(unicodedata.category(each).startswith("C") for each in text):
            raise UsageError(f"--vary {printable(text)} has control characters; leave them out.")
        name, equals, listed = text.partition("=")
        name = name.strip().removeprefix("--")
        if name in FIXED:
            raise UsageError(f"--vary {name} cannot be: {FIXED[name]}; leave it out.")
        if not equals or name not in types:
            known = ", ".join(sorted(set(types) - FIXED.keys()))
            raise UsageError(f"--vary {printable(text)} is not NAME=VALUE,VALUE with one of the names {known}.")
        if name in values:
            raise UsageError(f"--vary {name} is there twice; give all its values in one, NAME=VALUE,VALUE.")
        field = name.replace("-", "_")
        found = [] if given[field] is None else [getattr(settings, field)]
        read = [getattr(_with_value(name, each, given, types[name]), field) for each in _listed(text, listed)]
        twice = next((each for at, each in enumerate(read) if each in read[:at]), None)
        if twice is not None:
            raise UsageError(f"--vary {printable(text)} has one value twice; give each once.")
        values[name] = [*found, *(each for each in read if each not in found)]
        if len(values[name]) == 1:
            raise UsageError(f"--vary {printable(text)} has one value alone; give another one too, or --{name} itself.")
    count = math.prod(map(len, values.values()))
    if count > MOST_VARIED:
        raise UsageError(f"--vary makes {count} settings, which are more than {MOST_VARIED}; give fewer values.")
    names = [name.replace("-", "_") for name in values]
    return tuple(
        replace(settings, **dict(zip(names, each, strict=True))) for each in product(*values.values()) if values
    )


def _listed(text: str, listed: str) -> list[str]:
    """Return the values of "V1,V2", or of '"a, b","c"'."""
    try:
        (values,) = csv.reader([listed], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError) as error:
        raise UsageError(
            f"--vary {printable(text)} is not NAME=VALUE,VALUE; a value with a comma or a quote in it stands in double "
            "quotes."
        ) from error
    return [each.strip() for each in values or [""]]


def _with_value(name: str, value: str, given: dict[str, Any], kind: click.ParamType[Any]) -> Settings:
    """Return the settings with one value of --vary; UsageError where it cannot be."""
    if not value:
        raise UsageError(f"--vary {name} has an empty value; give NAME=VALUE,VALUE.")
    try:
        return read_settings({**given, name.replace("-", "_"): kind.convert(value, None, None)})
    except click.BadParameter as error:
        raise UsageError(f"--vary {name} has {printable(value)}, which cannot be: {error.message}") from error


def differing(settings: Sequence[Settings]) -> list[dict[str, Any]]:
    """Return of each of some settings what not all have, by option names: texts as they would be given, and numbers."""
    asked = [each.asked() for each in settings]
    for given in asked:
        given |= {name: ":".join(map(str, value)) for name, value in given.items() if isinstance(value, tuple)}
    names = [name for name in asked[0] if any(each[name] != asked[0][name] for each in asked)]
    return [{name: each[name] for name in names} for each in asked]


def read_choices(text: str, settings: int) -> tuple[int, ...]:
    """Return the places, 0 to settings - 1, of "0,1,0"; raise UsageError for what is none."""
    words = [each.strip() for each in text.split(",")]
    for each in words:
        if not re.fullmatch(r"[0-9]{1,4}", each) or int(each) >= settings:
            raise UsageError(
                f"--window-settings has {printable(each)}, and --vary makes {settings} settings, counted from 0."
            )
    return tuple(map(int, words))


def check_seed(what: str, seed: object, count: int = 1) -> None:
    """Raise UsageError unless `count` seeds from `seed` on are ComfyUI's; what: how the user gave it."""
    if type(seed) is not int or not 0 <= seed <= LARGEST_SEED - (count - 1):
        last = f", nor are the {count} from there on" if count > 1 else ""
        raise UsageError(
            f"{what} {printable(seed)} is not a whole number from 0 to {LARGEST_SEED}{last}; give such a number (none "
            "stands for chance: the same seed gives the same look), or leave it out."
        )


def read_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of "0,7,0"; raise UsageError for what is none."""
    words = [each.strip() for each in text.split(",")]
    seeds = [int(each) if re.fullmatch(r"[0-9]{1,20}", each) else each for each in words]
    for each in seeds:
        check_seed("--window-seeds has", each)
    return tuple(int(each) for each in seeds)


def parse_size(text: str) -> tuple[int, int] | None:
    """Return (width, height) of "832x480", None for "auto"; raise UsageError for what no model takes."""
    if text == "auto":
        return None
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    sides = (int(found.group(1)), int(found.group(2))) if found else (0, 0)
    if not all(MULTIPLE <= side <= _LARGEST and side % MULTIPLE == 0 for side in sides):
        raise UsageError(
            f"--size {text} is not auto and not WIDTHxHEIGHT in multiples of {MULTIPLE} px up to {_LARGEST}; "
            "give 832x480, for example."
        )
    return sides


def _read_lora(text: str) -> tuple[str, float]:
    name, colon, strength = text.rpartition(":")
    try:
        value = float(strength) if colon else 1.0
    except ValueError:
        name, value = text, 1.0
    if not colon:
        name = text
    if not name or not math.isfinite(value):
        raise UsageError(f"--lora {text} is not FILE or FILE:STRENGTH; give look.safetensors:0.8, for example.")
    return name, value


def _check_text(name: str, text: str | None) -> None:
    option = f"--{name.replace('_', '-')}"
    if text is None:
        return
    if not text.strip() or len(text) > _MAX_TEXT or any(unicodedata.category(each).startswith("C") for each in text):
        raise UsageError(f"{option} {text[:60]!r} is empty, has control characters, or is over {_MAX_TEXT} characters.")
