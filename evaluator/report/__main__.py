"""Draw takes.png of a reskin: python -m evaluator.report FOLDER. The loop "paint until it passes" calls it."""

from __future__ import annotations

from pathlib import Path

import click

from handoff.command import PATH, main


@click.command("evaluator.report")
@click.argument("folder", type=PATH)
def command(folder: Path) -> None:
    """Draw takes.png in the reskin's FOLDER, of its takes.json, where that knows what output.mp4 is of."""
    from evaluator.report.takechart import renew_takes  # here, not above: it brings OpenCV

    renew_takes(folder)


if __name__ == "__main__":
    main(command)
