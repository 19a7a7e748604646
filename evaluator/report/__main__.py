"""Draw takes.png of a reskin: python -m evaluator.report FOLDER. The loop "paint until it passes" calls it."""

from __future__ import annotations

from pathlib import Path

import click

from handoff.command import PATH, main
from handoff.errors import PreserverError, path_error


@click.command("evaluator.report")
@click.argument("folder", type=PATH)
def command(folder: Path) -> int:
    """Draw takes.png in the reskin's FOLDER, of its takes.json, where that knows what output.mp4 is of.

    Nothing hangs on it, so what keeps it from being drawn is a warning; the exit code is that error's own.
    """
    from evaluator.report.takechart import renew_takes  # here, not above: it brings OpenCV

    try:
        renew_takes(folder)
    except Exception as error:
        refusal = error if isinstance(error, PreserverError) else path_error(error)
        if refusal is None:
            raise
        click.echo(f"warning: takes.png is not drawn: {refusal}", err=True)
        return refusal.exit_code
    return 0


if __name__ == "__main__":
    main(command)
