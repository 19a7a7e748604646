"""evaluate_iou.py: the command of the evaluator stage."""

from __future__ import annotations

from pathlib import Path

import click

from evaluator.gate import THRESHOLD
from evaluator.inputs import gather
from evaluator.report.result import Result
from evaluator.report.texts import FILES, OVERLAY
from evaluator.retrack import choose_setup
from evaluator.stage import Evaluation, Wishes, compare_masks, run_of
from handoff.box import Box
from handoff.command import BOX, FiniteRange
from handoff.errors import InputError, UsageError
from tracker.sam2.sizes import MODELS
from tracker.selection import BACKENDS, DEVICES, TrackerChoice

GATE_FAILED = 1
_PATH = click.Path(path_type=Path)


@click.command(context_settings={"show_default": True})
@click.option("-original", "--original", required=True, type=_PATH, help="Mask video or PNG folder.")
@click.option("-generated", "--generated", type=_PATH, help="The generated clip, output.mp4.")
@click.option("--generated-mask", type=_PATH, help="Score this mask instead of tracking again.")
@click.option(
    "-bbox",
    "--bbox",
    type=BOX,
    help="The object's box, px, for its shot; else as in run.json, else the first mask's.",
)
@click.option("--frame", type=click.IntRange(0), help="The frame of -bbox; else the original's prompt frame.")
@click.option("--backend", type=click.Choice(BACKENDS), default="auto", help="auto: the original mask's own tracker.")
@click.option("--model", type=click.Choice(list(MODELS)), help="The size of SAM 2.1, where another tracker is meant.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", help="Where SAM 2.1 runs.")
@click.option("--threshold", type=FiniteRange(0, 1), default=THRESHOLD, help="A frame passes above this IoU.")
@click.option(
    "--calibrate", is_flag=True, help="Measure the noise floor too: track in the source itself, encoded again."
)
@click.option("--pose", type=_PATH, help="The source's pose.json; else the run's.")
@click.option("--generated-pose", type=_PATH, help="The generated clip's pose.json: compare the two skeletons.")
@click.option("--output", type=_PATH, help="Report folder; else report/ beside the generated clip.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(list(FILES)),
    multiple=True,
    help="A report to write, may be repeated; else all. json is always written.",
)
@click.option("--check", is_flag=True, help="Only say whether all this can be evaluated: exit code 0, 2 or 3.")
@click.option("--force", is_flag=True, help="Evaluate again even where nothing has changed.")
def evaluate(
    original: Path,
    generated: Path | None,
    generated_mask: Path | None,
    bbox: Box | None,
    frame: int | None,
    backend: str,
    model: str | None,
    device: str,
    threshold: float,
    calibrate: bool,
    pose: Path | None,
    generated_pose: Path | None,
    output: Path | None,
    formats: tuple[str, ...],
    check: bool,
    force: bool,
) -> int:
    """Prove frame by frame that the new object fills the old outline.

    Tracks the new object in the generated clip with the tracker that made the original mask (the same weights; another
    one only when it is named with --backend or --model), from the same places on the same frames, and holds
    IoU > THRESHOLD against every frame. Exit code 0: all pass, 1: the gate fails, 2: bad input, 3: something needed is
    missing. With --generated-mask two masks are compared, and nothing is tracked.

    Example: python -m evaluator -original mask.mp4 -generated output.mp4
    """
    if not original.exists():
        raise InputError(f"there is no mask {original}; make one with extract_physics.py, or check the path.")
    if generated is not None and generated_mask is not None:
        raise UsageError("give either -generated VIDEO or --generated-mask MASK, not both.")
    wishes = Wishes(threshold, frozenset({"json", *(formats or FILES)}), calibrate, force)
    if generated is not None:
        run = run_of(original)
        material = gather(original, generated, run, pose, generated_pose)
        setup = choose_setup(run, original, material.info, bbox, frame, TrackerChoice(backend, model, device))
        job = Evaluation(material, setup, output or generated.parent / "report", wishes, click.echo)
        job.check()
        if check:
            return 0
        click.echo(setup.line())
        return _close(job.result(), job.report)
    if generated_mask is None:
        raise UsageError("give either -generated VIDEO or --generated-mask MASK.")
    only_for_clips = {"bbox": bbox, "frame": frame, "calibrate": calibrate, "check": check}
    _refuse_with_masks(**only_for_clips, pose=pose, generated_pose=generated_pose)
    if OVERLAY in formats:
        raise UsageError("overlay.mp4 shows clips, and two masks have none; leave out --format overlay.")
    return _close(compare_masks(original, generated_mask, wishes, output, click.echo), output)


def _refuse_with_masks(**options: object) -> None:
    for name, value in options.items():
        if value not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} is for a generated clip; --generated-mask is not tracked.")


def _close(result: Result, report: Path | None) -> int:
    if report:
        click.echo(f"report: {report}")
    for line in result.lines():
        click.echo(line)
    return 0 if result.passed else GATE_FAILED
