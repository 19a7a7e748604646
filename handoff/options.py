"""Options that stages' commands share, and how a command gets its table of options."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Option = tuple[tuple[str, ...], dict[str, Any], str]
"""The names (the last without dashes is the parameter's), click's settings, and the help with an example."""

RUN: Option = (
    ("--run", "run_dir"),
    {"required": True, "type": click.Path(path_type=Path)},
    "The run folder, e.g. --run runs/demo",
)
INPUT: Option = (
    ("-i", "--input", "clip"),
    {"type": click.Path(path_type=Path)},
    "A clip to make the run folder of, e.g. -i a.mp4",
)
FORCE: Option = (
    ("--force",),
    {"is_flag": True},
    "Do it again even if nothing has changed, e.g. --run runs/demo --force",
)


class FiniteRange(click.FloatRange):
    """A number from `min` to `max`. NaN is none: it compares as false with every limit, and click lets it pass."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; raise click.BadParameter for what is none, or lies outside."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number from {self.min} to {self.max}.", param, ctx)
        return number


def with_options(*options: Option) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a click command these options, in the order in which its help lists them."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        for names, settings, text in reversed(options):
            function = click.option(*names, **settings, help=text)(function)
        return function

    return add
