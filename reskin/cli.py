"""`python -m reskin`: paint a run's object and skater anew."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from pathlib import Path

import click
from tqdm import tqdm

from handoff.atomic import PARTIAL_SUFFIX, write_text
from handoff.errors import InputError, UsageError, storage_errors
from handoff.masks import check_mask_sequence, read_masks
from handoff.poses import check_poses
from handoff.run import Run
from handoff.stage import Stage, run_stage, tool_versions
from reskin.clip import Clip, WindowFrames
from reskin.draft import OUTPUT_CRF, decide_look, fill_look, paint
from reskin.errorlog import error_log
from reskin.follow import Progress
from reskin.orchestrator import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, ComfyOrchestrator, JobLimits
from reskin.prompt import Prompt, parse_prompt
from reskin.queue import Job, plan_jobs, read_prompts, run_queue
from reskin.server import parse_address
from reskin.weightnames import where_from
from reskin.windows import plan_windows
from reskin.workflow import Workflow, graph_sha256, load_workflow

WORK_TO_DO = 4
"""Exit code of --check when a server is needed."""

_TOOLS = ("av", "httpx", "numpy", "opencv-python-headless", "websockets")


class _Planned(Exception):
    """Leaves a stage that has work to do without doing it."""


@click.command()
@click.option("--run", "run_dir", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option("--prompt", help='"object, skater", or "object" alone.')
@click.option("--prompts-file", type=click.Path(path_type=Path), help="Prompts, one a line, in place of --prompt.")
@click.option("--server", "servers", multiple=True, metavar="HOST:PORT", help="A ComfyUI server; may be repeated.")
@click.option("--mask", type=click.Path(path_type=Path), help="The object's mask (default: the run's mask.mp4).")
@click.option("--pose", type=click.Path(path_type=Path), help="The poses; checked, but the draft does not use them.")
@click.option("--name", help="Folder below reskins/ (default: made from the prompt).")
@click.option("--workflow", "workflow_name", default="draft", show_default=True, help="The workflow template.")
@click.option("--seed", default=0, show_default=True, help="Another seed, another colour and texture.")
@click.option("--seeds", type=int, metavar="N", help="N jobs with the seeds from --seed on: reskins/NAME-seedK.")
@click.option("--timeout", "timeout_s", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds for one job.")
@click.option("--retries", default=DEFAULT_RETRIES, show_default=True, help="Times to submit again what was lost.")
@click.option("--patience", "patience_s", type=float, help="Seconds to wait for a server that went away in mid-job.")
@click.option("--force", is_flag=True, help="Do it again even when nothing has changed.")
@click.option("--check", is_flag=True, help=f"Only say whether there is work: exit 0 for no, {WORK_TO_DO} for yes.")
def command(
    run_dir: Path,
    prompt: str | None,
    prompts_file: Path | None,
    servers: tuple[str, ...],
    mask: Path | None,
    pose: Path | None,
    name: str | None,
    workflow_name: str,
    seed: int,
    seeds: int | None,
    timeout_s: float,
    retries: int,
    patience_s: float | None,
    force: bool,
    check: bool,
) -> int:
    """Re-skin the object (and the skater) of a run: writes reskins/NAME/output.mp4 and output.json."""
    jobs = plan_jobs(_prompts(prompt, prompts_file), name, seed, seeds)
    limits = JobLimits.of(timeout_s, retries, patience_s, len(servers))
    addresses = list(dict.fromkeys(map(parse_address, servers)))
    if not addresses and not check:
        raise UsageError("--server HOST:PORT is missing; generate_reskin.py starts a server and gives it.")
    workflow = load_workflow(workflow_name)
    run = Run.open(run_dir)
    clips = {each: find_inputs(run, each, mask, pose) for each in {job.prompt for job in jobs}}

    def stage_of(job: Job, own: Run) -> contextlib.AbstractContextManager[Stage]:
        clip = clips[job.prompt]
        inputs = [path for path in (clip.source, clip.object_mask, clip.skater_mask, pose) if path is not None]
        params = {"prompt": str(job.prompt), "seed": job.seed, "workflow": workflow.name}
        tools = tool_versions(*_TOOLS)
        return run_stage(own, f"reskin/{job.name}", params=params, inputs=inputs, tools=tools, force=force, held=True)

    def paint_job(job: Job, server: str, stop: threading.Event) -> None:
        own = Run.open(run_dir)
        with (
            error_log(own.path("reskins") / job.name),
            stage_of(job, own) as stage,
            ComfyOrchestrator(server, limits=limits, stop=stop, say=click.echo) as orchestrator,
        ):
            paint_run(own, stage, orchestrator, workflow, clips[job.prompt], job.prompt, job.seed, job.name)

    with run.lock():
        left = [job for job in jobs if force or _has_work(stage_of(job, run))]
        if left and (check or not addresses):
            for job in left:
                click.echo(f"reskin/{job.name}: there is work to do, on a ComfyUI server")
            return WORK_TO_DO
        run_queue(left, addresses, paint_job, click.echo)
        mark_newest(run, jobs[-1].name)
    return 0


def _prompts(prompt: str | None, prompts_file: Path | None) -> list[Prompt]:
    if (prompt is None) == (prompts_file is None):
        raise UsageError('give --prompt "object, skater", or --prompts-file FILE with one a line.')
    return [parse_prompt(prompt)] if prompt is not None else read_prompts(prompts_file or Path())


def _has_work(stage_of: contextlib.AbstractContextManager[Stage]) -> bool:
    """Ask a stage whether something has changed, without doing its work."""
    try:
        with stage_of as stage:
            if not stage.unchanged:
                raise _Planned
    except _Planned:
        return True
    return False


def mark_newest(run: Run, name: str) -> None:
    """Note which reskin a command means that names none: reskins/.latest."""
    pointer = run.path("reskins") / ".latest"
    if not pointer.exists() or pointer.read_text(encoding="utf-8").strip() != name:
        write_text(pointer, name + "\n")


def find_inputs(run: Run, prompt: Prompt, mask: Path | None, pose: Path | None) -> Clip:
    """Return the clip with its masks; raise InputError when one is missing or is not of this clip."""
    object_mask = mask or run.path("mask.mp4")
    if not object_mask.exists():
        raise InputError(f"there is no mask {object_mask}; make it with extract_physics.py, or give --mask FILE.")
    check_mask_sequence(object_mask, run.info)
    if not any(image.any() for image in read_masks(object_mask)):
        raise InputError(f"{object_mask} shows the object in no frame; extract the clip again with a --bbox.")
    if pose is not None:
        check_poses(pose, run.info.frames)
    skater_mask: Path | None = run.path("human_mask.mp4")
    if prompt.skater is None:
        skater_mask = None
    elif not run.path("human_mask.mp4").exists():
        click.echo("reskin: the run has no human_mask.mp4, so only the object is re-skinned")
        skater_mask = None
    else:
        check_mask_sequence(run.path("human_mask.mp4"), run.info)
    return Clip(run.info, run.source, object_mask, skater_mask)


def paint_run(
    run: Run,
    stage: Stage,
    orchestrator: ComfyOrchestrator,
    workflow: Workflow,
    clip: Clip,
    prompt: Prompt,
    seed: int,
    name: str,
) -> None:
    """Paint the clip on the server and write output.mp4 and output.json."""
    folder = run.path("reskins") / name
    version = orchestrator.check(workflow.graph, where_from)
    click.echo(f"reskin/{name}: workflow '{workflow.name}' (embedded: paints without a model), ComfyUI {version}")
    look = decide_look(clip, prompt, seed)
    graph = fill_look(workflow, look, clip.info)
    output = folder / "output.mp4"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".scratch-", suffix=PARTIAL_SUFFIX, dir=folder) as scratch,
            tqdm(total=clip.info.frames, desc="reskin", unit="frame", disable=None, dynamic_ncols=True) as bar,
        ):

            def show(progress: Progress) -> None:
                bar.set_postfix_str(str(progress))

            def window_done(cut: WindowFrames) -> None:
                bar.update(len(cut.frames))

            changes = paint(orchestrator, graph, look, clip, output, Path(scratch), show, window_done)
    figures = changes.as_dict()
    windows = plan_windows(clip.info.frames, clip.info.width, clip.info.height)
    record = {
        "schema": 1,
        "prompt": {"object": prompt.object, "skater": prompt.skater if clip.skater_mask else None},
        "seed": seed,
        "colours": look.palette.as_dict(),
        "backend": "draft (embedded: paints without a model)",
        "workflow": {"name": workflow.name, "sha256": workflow.sha256, "graph_sha256": graph_sha256(graph)},
        "server": {"comfyui": version},
        "windows": [[window.start, window.stop - 1] for window in windows],
        "pixels": figures,
        "encoder": {"codec": "h264", "pix_fmt": "yuv420p", "crf": OUTPUT_CRF},
    }
    write_text(folder / "output.json", json.dumps(record, indent=1) + "\n")
    for path in (output, folder / "output.json"):
        stage.add_output(path)
    stage.note("comfyui", version)
    stage.note("pixels", figures)
    click.echo(f"{output} ({figures['frames']} frames; {figures['changed_outside_px']} px changed outside the regions)")
