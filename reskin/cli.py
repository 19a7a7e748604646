"""`python -m reskin`: paint a run's object and skater anew."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import click

from handoff.errors import UsageError
from handoff.files import write_text
from handoff.run import RESKINS, Reskin, Run, Stage, run_stage, tool_versions
from reskin.comfy.client import parse_address
from reskin.comfy.orchestrator import DEFAULT_RETRIES, DEFAULT_TIMEOUT_S, ComfyOrchestrator, JobLimits
from reskin.jobs import Job, plan_jobs, read_prompts_file, run_queue
from reskin.nouns import Nouns, old_object, parse_prompt
from reskin.settings import painting_options, read_settings
from reskin.stage import PaintRequest, error_log, find_inputs, paint_run
from reskin.windows import KeptWindows
from reskin.workflow import DRAFT, choose_workflow

WORK_TO_DO = 4
"""Exit code of --check when a server is needed."""

_TOOLS = ("av", "numpy", "opencv-python-headless", "requests", "websocket-client")


class _Planned(Exception):
    """Leaves a stage that has work to do without doing it."""


@click.command()
@click.option("--run", "run_dir", type=click.Path(path_type=Path), required=True, help="The run folder.")
@click.option("--prompt", help='"object, skater", or "object" alone.')
@click.option("--prompts-file", type=click.Path(path_type=Path), help="Prompts, one a line, in place of --prompt.")
@click.option("--server", "servers", multiple=True, metavar="HOST:PORT", help="A ComfyUI server; may be repeated.")
@click.option("--mask", type=click.Path(path_type=Path), help="The object's mask (default: the run's mask.mp4).")
@click.option("--pose", type=click.Path(path_type=Path), help="The poses, with their drawn skeletons beside them.")
@click.option("--name", help="Folder below reskins/ (default: made from the prompt).")
@click.option("--workflow", "workflow_name", metavar="NAME|FILE", help="The template (default: by the models here).")
@click.option("--seed", default=0, show_default=True, help="Another seed, another look.")
@click.option("--seeds", type=int, metavar="N", help="N jobs with the seeds from --seed on: reskins/NAME-seedK.")
@click.option(
    "--timeout",
    "timeout_s",
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    help="Seconds for one window on the server, with its wait in the queue.",
)
@click.option("--retries", default=DEFAULT_RETRIES, show_default=True, help="Times to submit again what was lost.")
@click.option("--patience", "patience_s", type=float, help="Seconds to wait for a server that went away in mid-job.")
@click.option("--force", is_flag=True, help="Do it again even when nothing has changed.")
@click.option("--check", is_flag=True, help=f"Only say whether there is work: exit 0 for no, {WORK_TO_DO} for yes.")
@painting_options
def command(
    run_dir: Path,
    prompt: str | None,
    prompts_file: Path | None,
    servers: tuple[str, ...],
    mask: Path | None,
    pose: Path | None,
    name: str | None,
    workflow_name: str | None,
    seed: int,
    seeds: int | None,
    timeout_s: float,
    retries: int,
    patience_s: float | None,
    force: bool,
    check: bool,
    **painting: Any,
) -> int:
    """Re-skin the object (and the skater) of a run: writes reskins/NAME/output.mp4 and output.json."""
    jobs = plan_jobs(_prompts(prompt, prompts_file), name, seed, seeds)
    limits = JobLimits.of(timeout_s, retries, patience_s, len(servers))
    addresses = list(dict.fromkeys(map(parse_address, servers)))
    if not addresses and not check:
        raise UsageError("--server HOST:PORT is missing; generate_reskin.py starts a server and gives it.")
    settings = read_settings(painting)
    workflow = choose_workflow(workflow_name, quiet=check)
    asked = settings.asked()
    if asked and workflow.name == DRAFT:
        raise UsageError(f"--{next(iter(asked))} is for workflows with a model, and the draft has none; leave it out.")
    run = Run.open(run_dir)
    replaces = old_object(run, mask, settings.replaces) if workflow.name != DRAFT else None
    clips = {each: find_inputs(run, each, mask, pose, workflow) for each in {job.prompt for job in jobs}}

    def stage_of(job: Job, own: Reskin) -> contextlib.AbstractContextManager[Stage]:
        clip = clips[job.prompt]
        files = (clip.source, clip.object_mask, clip.skater_mask, pose, clip.skeleton, settings.reference)
        inputs = [path for path in files if path is not None]
        params = {
            "prompt": str(job.prompt),
            "seed": job.seed,
            "workflow": workflow.name,
            "sha256": workflow.sha256,
        } | asked
        if replaces is not None:
            params["replaces"] = replaces
        tools = tool_versions(*_TOOLS)
        return run_stage(own, "reskin", params=params, inputs=inputs, tools=tools, force=force)

    def paint_job(job: Job, server: str, stop: threading.Event) -> None:
        own = Run.open(run_dir).reskin(job.name)
        request = PaintRequest(job.name, workflow, clips[job.prompt], job.prompt, job.seed, settings, replaces, force)
        with own.lock(), error_log(own.dir):
            with stage_of(job, own) as stage:
                if not stage.unchanged:  # as another process may have left it meanwhile
                    with ComfyOrchestrator(server, limits=limits, stop=stop, say=click.echo) as orchestrator:
                        orchestrator.server.version()  # nobody there is said before the clip is looked through
                        paint_run(own.run, stage, orchestrator, request)
            KeptWindows(own.dir).clear()  # only now does run.json have the reskin

    def has_work(job: Job) -> bool:
        own = run.reskin(job.name)
        with own.lock():
            if force or _has_work(stage_of(job, own)):
                return True
            KeptWindows(own.dir).clear()  # of a command that was killed between the two
            return False

    left = [job for job in jobs if has_work(job)]
    if left and (check or not addresses):
        for job in left:
            click.echo(f"reskin/{job.name}: there is work to do, on a ComfyUI server")
        return WORK_TO_DO
    if left and replaces is None and workflow.name != DRAFT:
        click.echo(
            "reskin: nobody has said what the object was (no detector found it), so the negative prompt does not "
            "name it; --replaces NOUN does"
        )
    run_queue(left, addresses, paint_job, click.echo)
    mark_newest(run, jobs[-1].name)
    return 0


def _prompts(prompt: str | None, prompts_file: Path | None) -> list[Nouns]:
    if (prompt is None) == (prompts_file is None):
        raise UsageError('give --prompt "object, skater", or --prompts-file FILE with one a line.')
    return [parse_prompt(prompt)] if prompt is not None else read_prompts_file(prompts_file or Path())


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
    pointer = run.path(RESKINS) / ".latest"
    if not pointer.exists() or pointer.read_text(encoding="utf-8").strip() != name:
        write_text(pointer, name + "\n")
