"""evaluate_iou.py: the command of the evaluator stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from evaluator.gate import THRESHOLD, Gate, Verdict
from evaluator.overlay import OverlayWriter
from evaluator.report import read_json, write_csv, write_json
from evaluator.retrack import Setup, choose_setup, retrack
from handoff.box import BOX, Box
from handoff.errors import InputError
from handoff.masks import Mask, check_mask_sequence, read_masks
from handoff.progress import progress
from handoff.run import MANIFEST, Run
from handoff.stage import run_stage, tool_versions
from handoff.video import ClipInfo, probe, read_frames
from tracker.choice import BACKENDS, Wanted
from tracker.sam2.backend import DEVICES, MODELS

GATE_FAILED = 1


def _run_of(path: Path) -> Run | None:
    for parent in path.resolve().parents:
        if (parent / MANIFEST).is_file():
            return Run.open(parent)
    return None


def _clip_info(original: Path, run: Run | None, generated: Path) -> ClipInfo:
    """Return the clip's size, rate and frames, after checking that original and generated both have them."""
    made = probe(generated)
    info = run.info if run else made
    if (made.width, made.height, made.frames) != (info.width, info.height, info.frames):
        raise InputError(
            f"{generated} has {made.frames} frames of {made.width}x{made.height} px, the clip has {info.frames} of "
            f"{info.width}x{info.height} px; give the video that was made from this clip."
        )
    check_mask_sequence(original, info)
    return info


def _score(
    original: Path, generated: Path, source: Path, info: ClipInfo, masks: Iterator[Mask], gate: Gate, overlay: Path
) -> None:
    """Feed the gate and write overlay.mp4 in one pass, one frame of everything in memory at a time."""
    frames = zip(read_masks(original), masks, read_frames(source), read_frames(generated), strict=True)
    with OverlayWriter(overlay, info.fps, info.width, info.height) as writer:
        for truth, found, before, after in progress(frames, total=info.frames, desc="evaluate"):
            score = gate.feed_frame(truth, found)
            click.echo(score.line())
            writer.write(before, after, truth, found, score)


def _evaluate(
    original: Path, generated: Path, run: Run | None, info: ClipInfo, setup: Setup, threshold: float, report: Path
) -> Verdict:
    gate = Gate(threshold)
    source = run.source if run else generated
    _score(original, generated, source, info, retrack(generated, setup), gate, report / "overlay.mp4")
    verdict = gate.conclude()
    how = {"original": original.name, "generated": generated.name, **setup.as_json()}
    write_json(report / "iou.json", gate.scores, verdict, how)
    write_csv(report / "iou.csv", gate.scores)
    return verdict


def _compare(original: Path, generated: Path, threshold: float, report: Path | None) -> Verdict:
    """Score one mask sequence against another; no tracking, no run."""
    gate = Gate(threshold)
    try:
        for truth, found in zip(read_masks(original), read_masks(generated), strict=True):
            click.echo(gate.feed_frame(truth, found).line())
    except ValueError as error:
        counts = [sum(1 for _ in read_masks(path)) for path in (original, generated)]
        raise InputError(f"{original} has {counts[0]} frames, {generated} has {counts[1]}; they must match.") from error
    verdict = gate.conclude()
    if report:
        write_json(report / "iou.json", gate.scores, verdict, {"original": original.name, "generated": generated.name})
        write_csv(report / "iou.csv", gate.scores)
    return verdict


def _report_dir(generated: Path, output: Path | None) -> Path:
    return output or generated.parent / "report"


def _in_run(
    run: Run, original: Path, generated: Path, setup: Setup, threshold: float, report: Path, force: bool
) -> Verdict:
    info = _clip_info(original, run, generated)
    name = f"evaluator/{generated.resolve().parent.name}"
    params: dict[str, Any] = {**setup.as_json(), "threshold": threshold, "report": run.relative(report)}
    tools = {"tracker": setup.backend.description}
    tools |= tool_versions("numpy", "opencv-python-headless", "av", *setup.backend.versions)
    inputs = [run.source, original, generated]
    with run_stage(run, name, params=params, inputs=inputs, tools=tools, code=("tracker",), force=force) as stage:
        if stage.unchanged:
            scores, verdict = read_json(report / "iou.json")
            for score in scores:
                click.echo(score.line())
            return verdict
        verdict = _evaluate(original, generated, run, info, setup, threshold, report)
        for file in ("iou.json", "iou.csv", "overlay.mp4"):
            stage.add_output(report / file)
        stage.note("mean_iou", verdict.mean)
        stage.note("minimum_iou", verdict.minimum)
        stage.note("passed", verdict.passed)
        return verdict


@click.command(context_settings={"show_default": True})
@click.option(
    "-original", "--original", required=True, type=click.Path(path_type=Path), help="Mask video or PNG folder."
)
@click.option("-generated", "--generated", type=click.Path(path_type=Path), help="The generated clip, output.mp4.")
@click.option("--generated-mask", type=click.Path(path_type=Path), help="Score this mask instead of tracking again.")
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
@click.option("--threshold", type=click.FloatRange(0, 1), default=THRESHOLD, help="A frame passes above this IoU.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Report folder; else report/ beside the generated clip."
)
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
    output: Path | None,
    force: bool,
) -> int:
    """Prove frame by frame that the new object fills the old outline.

    Tracks the new object in the generated clip with the tracker that made the original mask (the same weights; another
    one only when it is named with --backend or --model), from the same places on the same frames, and holds
    IoU > THRESHOLD against every frame. Exit code 0: all pass, 1: the gate fails, 2: bad input, 3: something needed is
    missing.

    Example: python -m evaluator -original mask.mp4 -generated output.mp4
    """
    if not original.exists():
        raise InputError(f"there is no mask {original}; make one with extract_physics.py, or check the path.")
    if (generated is None) == (generated_mask is None):
        raise click.UsageError("give either -generated VIDEO or --generated-mask MASK.")
    if generated_mask is not None:
        verdict = _compare(original, generated_mask, threshold, output)
    elif generated is not None:
        run = _run_of(original)
        info = _clip_info(original, run, generated)
        setup = choose_setup(run, original, info, bbox, frame, Wanted(backend, model, device))
        report = _report_dir(generated, output)
        first = setup.places[0]
        where = f"box {first.box}" if first.box else f"{len(first.points)} point(s)"
        more = f", {len(setup.places) - 1} correction(s)" if len(setup.places) > 1 else ""
        click.echo(f"tracker: {setup.backend.description}; {where} on frame {first.frame}{more} (from {setup.origin})")
        if run and run.relative(generated) == f"reskins/{generated.resolve().parent.name}/{generated.name}":
            verdict = _in_run(run, original, generated, setup, threshold, report, force)
        else:
            verdict = _evaluate(original, generated, run, info, setup, threshold, report)
        click.echo(f"report: {report}")
    for line in verdict.lines():
        click.echo(line)
    return 0 if verdict.passed else GATE_FAILED
