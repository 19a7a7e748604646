"""What the three product commands say alike on their command lines."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from runner import runs


def stage_parser(program: str, description: str, stage: str) -> argparse.ArgumentParser:
    """Return a parser with --run and --force; what it does not know is the stage's."""
    made = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"Further options are those of the {stage} stage and are passed on to it.",
        allow_abbrev=False,
    )
    made.add_argument("--run", metavar="NAME", help="the run: a name in data/runs, or a folder (with a slash)")
    made.add_argument("--force", action="store_true", help="do the work again even where nothing has changed")
    return made


def named_run(name: str | None) -> Path | None:
    """Return the folder of --run, None where it was not given."""
    return runs.run_folder(name) if name else None


def has(option: str, arguments: Sequence[str]) -> bool:
    """Say whether an option of the stage is among the arguments, as --option VALUE or --option=VALUE."""
    return any(each.split("=")[0] == option for each in arguments)
