"""make reference: write handoff/commands.json and docs/reference/commands.md from what click knows of every command.

Runs in the tests' environment, which has what every stage's options need: python -m docs.make_reference
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

import click

from handoff.helptext import COMMANDS
from runner.commands import Option, options_of
from runner.evaluate import command_line as evaluate_line
from runner.extract import command_line as extract_line
from runner.extract import tracking_line
from runner.process import ROOT
from runner.reskin import command_line as reskin_line

PAGE = ROOT / "docs" / "reference" / "commands.md"
CLICK = {
    "posegen": ("posegen.cli", "command"),
    "tracker": ("tracker.cli", "command"),
    "reskin": ("reskin.cli", "command"),
    "evaluator": ("evaluator.cli", "command"),
    "handoff.weights": ("handoff.weights.cli", "command"),
    "tracker.grid": ("tracker.grid.cli", "command"),
}
"""Each `python -m NAME`, and where its click command is."""
NUMBERS = {"INTEGER": "N", "INTEGER RANGE": "N", "FLOAT": "X", "FLOAT RANGE": "X"}
"""What a number is called here, by click's name for it."""
WIDTH = 78  # columns, as click prints on a terminal of 80


def record(name: str) -> dict[str, Any]:
    """Return what commands.json has of a command: its help as click prints it, and its options as data."""
    module, attribute = CLICK[name]
    command: click.Command = getattr(importlib.import_module(module), attribute)
    context = click.Context(
        command, info_name=f"python -m {name}", terminal_width=WIDTH, **dict(command.context_settings)
    )
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    return {
        "help": command.get_help(context),
        "about": (command.help or "").strip().split("\n\n")[0].replace("\n", " "),
        "options": [_option(each, context) for each in options if "--help" not in each.opts],
    }


def _option(option: click.Option, context: click.Context) -> dict[str, Any]:
    value = None if option.is_flag else option.make_metavar(context).removesuffix("...")
    said = {
        "value": NUMBERS.get(value or "", value),
        "choices": list(option.type.choices) if isinstance(option.type, click.Choice) else None,
        "multiple": option.multiple,
        "required": option.required,
        "default": option.get_help_extra(context).get("default"),
        "hidden": option.hidden,
    }
    return {"names": option.opts, **{name: each for name, each in said.items() if each}, "help": option.help or ""}


def commands() -> dict[str, Any]:
    """Return all that commands.json holds."""
    return {name: record(name) for name in CLICK}


def as_json(recorded: dict[str, Any]) -> str:
    """Return the text of commands.json: an option a line, so that a change is a line too."""

    def one(command: dict[str, Any]) -> str:
        lines = ",\n".join(f"   {json.dumps(each)}" for each in command["options"])
        head = "".join(f"  {json.dumps(key)}: {json.dumps(command[key])},\n" for key in ("about", "help"))
        return f'{{\n{head}  "options": [\n{lines}\n  ]\n }}'

    return "{\n" + ",\n".join(f" {json.dumps(name)}: {one(each)}" for name, each in recorded.items()) + "\n}\n"


def page() -> str:
    """Return the text of docs/reference/commands.md; commands.json must be written by then."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "Every command and every option. `make reference` writes this page from the commands themselves."
    yield ""
    yield "## For every day"
    yield ""
    yield "These run the stages, each in its own environment or container. `make` alone lists the short forms."
    for line in (extract_line(), reskin_line(), evaluate_line(), tracking_line()):
        yield from ("", f"### {line.program}", "", line.description, "")
        yield from _table(line.options)
    yield from ("", "## The stages", "", "What the commands above call. Each runs in its own environment.")
    recorded = json.loads(COMMANDS.read_text(encoding="utf-8"))
    for name in CLICK:
        yield from ("", f"### python -m {name}", "", recorded[name]["about"], "")
        yield from _table([each for each in options_of(name) if not each.hidden])
    yield ""


def _table(options: list[Option]) -> Iterator[str]:
    yield "| option | what |"
    yield "| --- | --- |"
    for each in options:
        names = ", ".join(f"`{name}`" for name in each.names) + (f" `{each.value}`" if each.value else "")
        cells = (names, each.text())
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


if __name__ == "__main__":
    COMMANDS.write_text(as_json(commands()), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{COMMANDS.relative_to(ROOT)}, {PAGE.relative_to(ROOT)}: {len(CLICK)} commands and the root commands")
