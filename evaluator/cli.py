"""python -m evaluator: every option with an example, and the command.

Nothing heavy is imported before there is work: --help and a line that cannot be right need neither OpenCV nor torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from evaluator import MIN_REPLACED, THRESHOLD
from evaluator.report import FILES, JSON, OVERLAY
from handoff.command import BOX, PATH, FiniteRange, Option, with_options
from handoff.errors import InputError, UsageError
from handoff.links import confine, refuse_link
from handoff.places import Box
from tracker.sam2.sizes import MODELS
from tracker.selection import BACKENDS, DEVICES

if TYPE_CHECKING:
    from evaluator.report.result import Result

GATE_FAILED = 1

_OPTIONS: tuple[Option, ...] = (
    (
        ("-original", "--original"),
        {"required": True, "type": PATH},
        "The original object mask, a video or a folder of PNG files, e.g. -original mask.mp4",
    ),
    (("-generated", "--generated"), {"type": PATH}, "The generated clip, e.g. -generated output.mp4"),
    (
        ("--generated-mask",),
        {"type": PATH},
        "Score this mask in place of a clip; nothing is tracked, e.g. --generated-mask found.mp4",
    ),
    (
        ("-bbox", "--bbox"),
        {"type": BOX},
        "The object's box in pixels, in place of the run's own places in its shot, e.g. -bbox 120,200,260,240",
    ),
    (
        ("--frame",),
        {"type": click.IntRange(0)},
        "The frame of -bbox, e.g. --frame 4  [default: 0, or where it is the box of the run's own prompt, its frame]",
    ),
    (
        ("--backend",),
        {"type": click.Choice(BACKENDS), "default": "auto", "show_default": True},
        "What tracks. auto: the tracker that made the original mask, e.g. --backend sam2",
    ),
    (
        ("--model",),
        {"type": click.Choice(list(MODELS))},
        "The size of SAM 2.1, where another tracker is meant, e.g. --model tiny",
    ),
    (
        ("--device",),
        {"type": click.Choice(DEVICES), "default": "auto", "show_default": True},
        "Where SAM 2.1 runs. auto: on the GPU where there is one, e.g. --device cpu",
    ),
    (
        ("--threshold",),
        {"type": FiniteRange(0, 1), "default": THRESHOLD, "show_default": True},
        "A frame passes above this IoU, e.g. --threshold 0.95",
    ),
    (
        ("--min-replaced",),
        {"type": FiniteRange(0, 1), "default": MIN_REPLACED, "show_default": True, "metavar": "SHARE"},
        "The share of the object that has to be new in every frame; 0 switches this off, for comparing encoders, "
        "e.g. --min-replaced 0.5",
    ),
    (
        ("--calibrate",),
        {"is_flag": True},
        "Measure the noise floor too: track in the source itself, encoded again, e.g. --calibrate",
    ),
    (
        ("--accept-mask",),
        {"is_flag": True},
        "I looked at the original mask, and it is right: do not fail where witnesses contradict it; every report says "
        "so, e.g. --accept-mask",
    ),
    (
        ("--second-judge",),
        {"type": click.Choice(("backward", "embedded", *MODELS))},
        "Track the result once more, with another tracker or backward: with the same one, from the other end of the "
        "clip; its IoU is reported too and decides nothing, e.g. --second-judge backward",
    ),
    (("--pose",), {"type": PATH}, "The source's skeletons; else the run's, e.g. --pose pose.json"),
    (
        ("--generated-pose",),
        {"type": PATH},
        "The generated clip's skeletons, to compare the two, e.g. --generated-pose new/pose.json",
    ),
    (
        ("--generated-detections",),
        {"type": PATH},
        "What a detector saw in the generated clip, to say whether the old object is still in it, "
        "e.g. --generated-detections new/detections.json",
    ),
    (
        ("--output",),
        {"type": PATH},
        "The report's folder, e.g. --output report  [default: report/ beside the generated clip]",
    ),
    (
        ("--format", "formats"),
        {"type": click.Choice(list(FILES)), "multiple": True},
        "A report to write, repeatable; json is always written, e.g. --format junit --format summary  [default: all]",
    ),
    (
        ("--keep-track",),
        {"is_flag": True},
        "Keep what is tracked in the reskin's folder: the next evaluation tracks only from the first changed frame on, "
        "with the same masks; one without this option removes it, e.g. --keep-track",
    ),
    (("--check",), {"is_flag": True}, "Only say whether it can be evaluated: exit code 0, 2 or 3, e.g. --check"),
    (("--force",), {"is_flag": True}, "Evaluate again even where nothing has changed, e.g. --force"),
)


def evaluator_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a click command all options of the evaluator."""
    return with_options(*_OPTIONS)(function)


@click.command("evaluator")
@evaluator_options
def command(
    original: Path,
    generated: Path | None,
    generated_mask: Path | None,
    bbox: Box | None,
    frame: int | None,
    backend: str,
    model: str | None,
    device: str,
    threshold: float,
    min_replaced: float,
    calibrate: bool,
    accept_mask: bool,
    second_judge: str | None,
    pose: Path | None,
    generated_pose: Path | None,
    generated_detections: Path | None,
    output: Path | None,
    formats: tuple[str, ...],
    keep_track: bool,
    check: bool,
    force: bool,
) -> int:
    """Prove frame by frame that the new object fills the old outline.

    Tracks the new object in the generated clip with the tracker that made the original mask (the same weights; another
    one only when it is named with --backend or --model), from the same places on the same frames, and holds
    IoU > THRESHOLD against every frame. The gate also fails where the object is not new, and where witnesses contradict
    the original mask. Exit code 0: it passes, 1: it fails, 2: bad input, 3: something needed is missing. With
    --generated-mask two masks are compared, and nothing is tracked.

    \b
    python -m evaluator -original mask.mp4 -generated output.mp4
    python -m evaluator -original masks/ --generated-mask found/ --output report
    """
    if not original.exists():
        raise InputError(f"there is no mask {original}; make one with extract_physics.py, or check the path.")
    reports = frozenset({JSON, *(formats or FILES)})
    if generated is None and generated_mask is not None:
        of_clips = {"bbox": bbox, "frame": frame, "calibrate": calibrate, "check": check, "second_judge": second_judge}
        of_clips["keep_track"] = keep_track
        more = {"generated_pose": generated_pose, "generated_detections": generated_detections}
        _refuse_with_masks(formats, **of_clips, pose=pose, **more)
        from evaluator.scoring import Wishes  # here, not above: these bring OpenCV
        from evaluator.stage import compare_masks

        wishes = Wishes(threshold, reports, accept_mask=accept_mask)
        result = compare_masks(original, generated_mask, wishes, output, click.echo)
        return _close(result, output)
    if generated is None or generated_mask is not None:
        raise UsageError("give either -generated VIDEO or --generated-mask MASK, one of the two.")
    from evaluator.inputs import gather  # here, not above: these bring OpenCV, and torch where SAM 2.1 tracks
    from evaluator.retrack import choose_setup, second_setup
    from evaluator.scoring import Wishes
    from evaluator.stage import Evaluation
    from handoff.run import Run
    from tracker.selection import TrackerChoice

    run = Run.containing(original)
    material = gather(original, generated, run, pose, generated_pose, generated_detections)
    setup = choose_setup(run, original, material.info, bbox, frame, TrackerChoice(backend, model, device))
    second = second_setup(setup, run, original, material.info, second_judge, device) if second_judge else None
    report = output or _own_report(generated)
    wishes = Wishes(threshold, reports, calibrate, force, min_replaced, accept_mask, keep_track)
    job = Evaluation(material, setup, report, wishes, click.echo, second)
    job.check()
    if check:
        return 0
    for line in setup.lines():
        click.echo(line)
    return _close(job.result(), report)


def _own_report(generated: Path) -> Path:
    """Return report/ beside the generated clip, which may come from anybody: LinkError where it leads elsewhere."""
    report = generated.parent / "report"
    refuse_link(report)
    confine(report)
    return report


def _refuse_with_masks(formats: tuple[str, ...], **options: object) -> None:
    for name, value in options.items():
        if value not in (None, False):
            raise UsageError(f"--{name.replace('_', '-')} is for a generated clip; --generated-mask is not tracked.")
    if OVERLAY in formats:
        raise UsageError("overlay.mp4 shows clips, and two masks have none; leave out --format overlay.")


def _close(result: Result, report: Path | None) -> int:
    if report:
        click.echo(f"report: {report}")
    for line in result.lines():
        click.echo(line)
    return 0 if result.passed else GATE_FAILED
