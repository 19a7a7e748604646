"""What a user may say about generating: read from the command line, checked, and part of the stage's parameters."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from handoff.errors import UsageError
from handoff.masks import read_png
from reskin.regions import GROW_PX, parse_size
from reskin.windows import MODEL_FRAMES, MODEL_OVERLAP, check_model_windows, fitting_overlap
from reskin.workflow import FILE_INPUTS, Choice

OVERLAP_MODES = ("fade", "anchor")
_MAX_TEXT = 2000
_MAX_GROW_PX = 256


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

    def choices(self) -> list[Choice]:
        """Return what was asked for and goes straight into a template's nodes."""
        lora, strength = self.lora or (None, None)
        choices = [
            Choice("sampler", ("steps",), self.steps, "--steps"),
            Choice("sampler", ("cfg",), self.cfg, "--cfg"),
            Choice("sampler", ("sampler_name",), self.sampler, "--sampler"),
            Choice("shift", ("shift",), self.shift, "--shift"),
            Choice("model", ("unet_name", "ckpt_name", "model"), self.model, "--model"),
            Choice("LoRA", ("lora_name",), lora, "--lora"),
            Choice("LoRA", ("strength_model",), strength, "--lora"),
            # its name on the server comes with each window
            Choice("reference image", FILE_INPUTS, None if self.reference is None else "", "--reference"),
        ]
        return [choice for choice in choices if choice.value is not None]

    def asked(self) -> dict[str, Any]:
        """Return the options that were given, by their names on the command line, as JSON: the stage's parameters."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}
        if not given.pop("lock"):
            given["no_lock"] = True
        return {
            name.replace("_", "-"): str(value) if isinstance(value, Path) else value for name, value in given.items()
        }


def painting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as keywords, for `read_settings`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("--object-prompt", metavar="TEXT", help="What the model is told of the object, in place of ours."),
    click.option("--human-prompt", metavar="TEXT", help="What the model is told of the skater, in place of ours."),
    click.option("--replaces", metavar="NOUN", help="What the object was (default: what the detector called it)."),
    click.option("--steps", type=click.IntRange(1, 200), help="Sampling steps (default: the workflow's)."),
    click.option("--cfg", type=click.FloatRange(0, 30), help="How closely the prompt is followed."),
    click.option("--shift", type=click.FloatRange(0, 100), help="The sampling's shift towards noise."),
    click.option("--sampler", metavar="NAME", help="The sampler, as ComfyUI names it."),
    click.option("--model", metavar="FILE", help="The diffusion model, as the server lists it."),
    click.option("--lora", metavar="FILE[:STRENGTH]", help="A LoRA of the server's, and how strong (default 1)."),
    click.option("--reference", type=click.Path(path_type=Path), help="A picture of the new object."),
    click.option("--size", metavar="WxH|auto", help="The model's picture; auto: the clip's aspect, about 832x480."),
    click.option("--grow", type=click.IntRange(0, _MAX_GROW_PX), help=f"Room around the masks (default {GROW_PX} px)."),
    click.option("--window", type=int, metavar="N", help=f"Frames in one job, 4n+1 (mostly {MODEL_FRAMES})."),
    click.option("--overlap", type=int, metavar="N", help=f"Frames that windows share, 4n+1 (mostly {MODEL_OVERLAP})."),
    click.option("--overlap-mode", type=click.Choice(OVERLAP_MODES), help="Cross-fade them, or keep the first ones."),
    click.option("--no-lock", is_flag=True, help="Show all that the model painted: nothing is put back."),
)


def read_settings(given: dict[str, Any]) -> Settings:
    """Return the settings from the command's keywords; raise UsageError for what cannot be."""
    values = dict(given)
    values["lock"] = not values.pop("no_lock")
    values["size"] = parse_size(values["size"]) if values["size"] is not None else None
    values["lora"] = _read_lora(values["lora"]) if values["lora"] is not None else None
    for name in ("cfg", "shift"):
        if values[name] is not None and not math.isfinite(values[name]):
            raise UsageError(f"--{name} {values[name]} is not a number.")
    for name in ("object_prompt", "human_prompt", "replaces"):
        _check_text(name, values[name])
    if values["reference"] is not None and not values["reference"].is_file():
        raise UsageError(f"there is no picture {values['reference']}; check --reference.")
    if values["reference"] is not None:
        read_png(values["reference"])  # what is none is said now
    settings = Settings(**values)
    if settings.window is not None or settings.overlap is not None:
        settings.windows(None)
    return settings


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
