"""`python -m demo.score TRUTH MASK`: how good is a tracker's mask, against the demo clip's exact truth?"""

from __future__ import annotations

from pathlib import Path

import click

from evaluator.gate import Gate, Verdict
from handoff.command import main
from handoff.masks import read_masks


def score(truth: Path, mask: Path) -> tuple[Gate, Verdict]:
    """Hold every frame of `mask` against `truth` (mask videos or PNG folders)."""
    gate = Gate()
    for exact, found in zip(read_masks(truth), read_masks(mask), strict=True):
        gate.feed_frame(exact, found)
    return gate, gate.conclude()


@click.command()
@click.argument("truth", type=click.Path(path_type=Path))
@click.argument("mask", type=click.Path(path_type=Path))
def command(truth: Path, mask: Path) -> None:
    """Print the mean and the lowest IoU of MASK against TRUTH."""
    gate, verdict = score(truth, mask)
    seen = [each.iou for each in gate.scores if each.original_px]
    click.echo(
        f"tracker against the truth: mean IoU {verdict.mean:.4f} over {verdict.frames} frames "
        f"({sum(seen) / len(seen):.4f} over the {len(seen)} in which the board is seen), "
        f"lowest {verdict.minimum:.4f} at frame {verdict.minimum_frame}"
    )


if __name__ == "__main__":
    main(command)
