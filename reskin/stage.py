"""What one run of the stage does, top to bottom: `reskin_run`.

It finds what of the run is painted on, asks which jobs have work to do, and hands those to the servers. A job is
`paint_run`: it plans who paints which windows, paints them, and writes output.mp4, and output.json that says how. The
server's traceback of a job that failed is kept beside where the result would be.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from handoff.clip.likeness import check_like_source
from handoff.command import say
from handoff.errors import BusyError, InputError, storage_errors
from handoff.files import scratch_dir, settle, write_text
from handoff.links import check_way, open_plain
from handoff.masks import check_mask_sequence
from handoff.poses import check_poses
from handoff.run import OUTPUT, RESKINS, Reskin, Run, Stage, run_stage, tool_versions
from reskin.comfy.errors import JobFailed, ServerError
from reskin.comfy.orchestrator import ComfyOrchestrator, JobLimits
from reskin.comfy.progress import Progress
from reskin.jobs import Job, run_queue
from reskin.nouns import Nouns, check_name, old_object, told_apart
from reskin.painting import OUTPUT_CRF, Clip, paint_clip
from reskin.plan import PaintRequest, foresee, plan_painting
from reskin.settings import LARGEST_SEED, Settings
from reskin.sharing import OneServer, SeveralServers
from reskin.windows import KeptWindows, Window
from reskin.workflow import DRAFT, Workflow, check_slots, graph_sha256, nodes_of, unfilled, where_from

_TOOLS = ("av", "numpy", "opencv-python-headless", "requests", "websocket-client")


@dataclass(frozen=True)
class ReskinOrder:
    """What one command asks for.

    mask, pose: in place of the run's own. check: only ask whether there is work. window_seeds, window_settings, varied:
    as in `PaintRequest`. keep_windows: keep the pictures of every window and seed. plan: only write there what a loop
    has to know (`foresee`).
    """

    run_dir: Path
    jobs: list[Job]
    servers: list[str]
    limits: JobLimits
    workflow: Workflow
    settings: Settings
    mask: Path | None = None
    pose: Path | None = None
    force: bool = False
    check: bool = False
    window_seeds: tuple[int, ...] | None = None
    keep_windows: bool = False
    varied: tuple[Settings, ...] = ()
    window_settings: tuple[int, ...] | None = None
    plan: Path | None = None


def reskin_run(order: ReskinOrder) -> bool:
    """Paint all jobs that have work to do; return False when there is some that nobody may do now, having said so."""
    run, workflow = Run.open(order.run_dir), order.workflow
    replaces = old_object(run, order.mask, order.settings.replaces) if workflow.name != DRAFT else None
    jobs = [_with_own_folder(run, job) for job in order.jobs]
    prompts = dict.fromkeys(job.prompt for job in jobs)
    clips = {each: find_inputs(run, each, order.mask, order.pose, workflow) for each in prompts}
    requests = {
        job: PaintRequest(
            job,
            workflow,
            clips[job.prompt],
            order.settings,
            replaces,
            order.pose,
            order.force,
            order.window_seeds,
            order.keep_windows,
            order.varied,
            order.window_settings,
        )
        for job in jobs
    }
    if order.plan is not None:
        if _foresee(run.reskin(jobs[0].name), requests[jobs[0]], order.plan):
            _mark_newest(run, jobs[0].name)
        return True
    left = [job for job in jobs if _has_work(run.reskin(job.name), requests[job])]
    if left and (order.check or not order.servers):
        for job in left:
            say(f"reskin/{job.name}: there is work to do, on a ComfyUI server")
        return False
    if left and replaces is None and workflow.name != DRAFT:
        say(
            "reskin: nobody has said what the object was (no detector found it), so the negative prompt does not "
            "name it; --replaces NOUN does"
        )

    def paint_job(job: Job, servers: Sequence[str], stop: threading.Event) -> None:
        own = Run.open(order.run_dir).reskin(job.name)
        with own.lock(), error_log(own.dir):
            own.reload()
            if own.run.manifest["source"] != run.manifest["source"]:
                raise BusyError(f"the run {run.dir} was begun anew meanwhile; run the same command again.")
            if job != _with_own_folder(own.run, job):
                raise BusyError(f"reskins/{job.name} was made of another prompt meanwhile; run the same command again.")
            with _stage_of(own, requests[job]) as stage:
                if not stage.unchanged:  # as another process may have left it meanwhile
                    with contextlib.ExitStack() as stack:
                        comfys = [
                            stack.enter_context(ComfyOrchestrator(server, limits=order.limits, stop=stop, say=say))
                            for server in servers
                        ]
                        # nobody there is said before the clip is looked through
                        comfys = _useful(comfys, lambda comfy: comfy.server.version())
                        paint_run(own, stage, comfys, requests[job], stop)
            _kept(own, requests[job]).done()  # only now does run.json have the reskin

    shared = len(left) == 1 and len(order.servers) > 1
    if shared and order.settings.anchored:
        say(f"reskin/{left[0].name}: each window is painted on from the one before, so one server has them all")
        shared = False
    if shared:
        paint_job(left[0], order.servers, threading.Event())
    else:
        run_queue(left, order.servers, lambda job, server, stop: paint_job(job, [server], stop), say)
    _mark_newest(run, jobs[-1].name)
    return True


def _with_own_folder(run: Run, job: Job) -> Job:
    """Return the job in a folder that no other prompt has: "red, cat" and "red cat" would both be red-cat.

    A folder that the user named may be painted anew of another prompt.
    """
    record = run.reskin(job.name).manifest["stages"].get("reskin", {})
    if job.chosen or record.get("params", {}).get("prompt") in (None, str(job.prompt)):
        return job
    return replace(job, name=check_name(told_apart(job.name, str(job.prompt))))


_SKELETONS, _SKELETON_VIDEO = "pose_skater", "pose.mp4"


def find_inputs(run: Run, prompt: Nouns, mask: Path | None, pose: Path | None, workflow: Workflow) -> Clip:
    """Return the clip with what the workflow reads; raise InputError when something is missing or not of this clip."""
    object_mask = mask or run.path("mask.mp4")
    check_way(object_mask)
    if not object_mask.exists():
        raise InputError(f"there is no mask {object_mask}; make it with extract_physics.py, or give --mask FILE.")
    check_like_source(object_mask, mask=True)
    if not check_mask_sequence(object_mask, run.info).seen:
        raise InputError(f"{object_mask} shows the object in no frame; extract the clip again with a --bbox.")
    if pose is not None:
        check_poses(pose, run.info)
    skater_mask: Path | None = run.path("human_mask.mp4")
    check_way(run.path("human_mask.mp4"))
    if prompt.skater is None:
        skater_mask = None
    elif not run.path("human_mask.mp4").exists():
        say("reskin: the run has no human_mask.mp4, so only the object is re-skinned")
        skater_mask = None
    else:
        check_mask_sequence(run.path("human_mask.mp4"), run.info)
    if workflow.name != DRAFT:
        check_slots(workflow, skater_mask is not None)
    draws = skater_mask is not None and bool(nodes_of(workflow.graph, "pose"))
    skeleton = _find_skeleton(pose.parent if pose else run.dir) if draws else None
    return Clip(run.info, run.source, object_mask, skater_mask, skeleton)


def _find_skeleton(folder: Path) -> Path:
    """Return the drawn skeletons beside pose.json: the lossless pictures, else the video."""
    for name in (_SKELETONS, _SKELETON_VIDEO):
        check_way(folder / name)
        if (folder / name).exists():
            return folder / name
    raise InputError(
        f"there is neither {_SKELETONS}/ nor {_SKELETON_VIDEO} in {folder}, and the workflow draws the skater after "
        "the skeleton; make them with extract_physics.py, or name the object alone in --prompt."
    )


class _Planned(Exception):
    """Leaves a stage that has work to do without doing it."""


def _has_work(own: Reskin, request: PaintRequest) -> bool:
    """Ask a job's stage whether something has changed, without doing its work."""
    with own.lock():
        if request.force:
            return True
        try:
            with _stage_of(own, request) as stage:
                if not stage.unchanged:
                    raise _Planned
        except _Planned:
            return True
        _kept(own, request).done()  # of a command that was killed before it had done so
        return False


def _stage_of(own: Reskin, request: PaintRequest) -> contextlib.AbstractContextManager[Stage]:
    """Return the stage of one job: what it reads, and all that changes its result."""
    clip, params = request.clip, request.params() | request.of_windows()
    references = dict.fromkeys(each.reference for each in request.choices)
    files = (clip.source, clip.object_mask, clip.skater_mask, request.pose, clip.skeleton, *references)
    inputs = [path for path in files if path is not None]
    return run_stage(own, "reskin", params=params, inputs=inputs, tools=tool_versions(*_TOOLS), force=request.force)


def _foresee(own: Reskin, request: PaintRequest, path: Path) -> bool:
    """Have `foresee` write what a loop has to know; return whether an output.mp4 of the request is there as made."""
    with own.lock(), contextlib.suppress(_Planned):
        params = own.manifest["stages"].get("reskin", {}).get("params", {})
        windows = len(request.windows())
        standing = replace(
            request,
            window_seeds=_numbers(params.get("window_seeds"), windows, LARGEST_SEED),
            window_settings=_numbers(params.get("window_settings"), windows, len(request.choices) - 1),
        )
        with _stage_of(own, standing) as stage:
            foresee(path, f"{RESKINS}/{own.name}", standing, stage)
            if not stage.unchanged:
                raise _Planned
            return True
    return False


def _numbers(found: Any, count: int, largest: int) -> tuple[int, ...] | None:
    """Return `found` where it is a list of so many whole numbers, 0 to `largest`; else None."""
    fits = isinstance(found, list) and len(found) == count
    return tuple(found) if fits and all(type(each) is int and 0 <= each <= largest for each in found) else None


def _kept(own: Reskin, request: PaintRequest) -> KeptWindows:
    return KeptWindows(own.dir, all_seeds=request.keep_windows)


def _mark_newest(run: Run, name: str) -> None:
    """Note which reskin a command means that names none: reskins/.latest."""
    pointer = run.path(RESKINS) / ".latest"
    if pointer.is_file() and not pointer.is_symlink():
        with open_plain(pointer) as file:
            if file.read(len(name) + 2).strip() == name.encode():
                return
    write_text(pointer, name + "\n")


ERROR_LOG = "error.log"


@contextlib.contextmanager
def error_log(folder: Path) -> Iterator[None]:
    """Write the traceback of a JobFailed to `folder`/error.log and say so in the message; remove an old one else."""
    path = folder / ERROR_LOG
    try:
        yield
    except JobFailed as error:
        if not error.traceback:
            raise
        write_text(path, f"{error}\n\n{error.traceback}")
        raise type(error)(f"{error} (the server's traceback: {path})", error.traceback) from error
    path.unlink(missing_ok=True)


def _useful(comfys: Sequence[ComfyOrchestrator], ask: Callable[[ComfyOrchestrator], object]) -> list[ComfyOrchestrator]:
    """Return the servers that answer what they are asked; say which are left out. ServerError when none is left."""
    useful, errors = [], list[ServerError]()
    for comfy in comfys:
        try:
            ask(comfy)
        except ServerError as error:
            errors.append(error)
            if len(errors) == len(comfys):
                raise
            say(f"reskin: {comfy.server.address} is left out from now on: {error}")
        else:
            useful.append(comfy)
    return useful


def paint_run(
    own: Reskin, stage: Stage, comfys: Sequence[ComfyOrchestrator], request: PaintRequest, stop: threading.Event
) -> None:
    """Paint the clip on the servers and write output.mp4 and output.json; finished windows are left where they lie.

    Several servers have a window each at once, so no window may hang on another. `stop` ends their work.
    What is said of an older clip in this folder, its verdict above all, is taken away before the new one stands there.
    """
    folder = own.dir
    info, output, kept = request.clip.info, folder / OUTPUT, _kept(own, request)
    if request.force:
        kept.clear()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.closing(kept),
            scratch_dir(folder / "scratch") as scratch,
            tqdm(total=info.frames, desc="reskin", unit="frame", disable=None, dynamic_ncols=True) as bar,
        ):

            def show(progress: Progress | str) -> None:
                bar.set_postfix_str(str(progress))

            def window_done(window: Window) -> None:
                before = plan.windows[window.index - 1].stop if window.index else 0
                bar.update(window.stop - before)

            def check(comfy: ComfyOrchestrator) -> None:
                versions.extend([comfy.check(graph, where_from, unfilled(graph)) for graph in plan.graphs])

            plan = plan_painting(request)
            versions: list[str] = []
            comfys = _useful(comfys, check)
            version = ", ".join(dict.fromkeys(versions))
            say(f"reskin/{request.job.name}: workflow {plan.backend}, ComfyUI {version}")
            painted = scratch / OUTPUT
            servers: OneServer | SeveralServers
            if len(comfys) == 1:
                servers = OneServer(plan.painter, comfys[0], kept, scratch, show)
            else:
                say(f"reskin/{request.job.name}: on {' and '.join(comfy.server.address for comfy in comfys)}")
                clip, windows = request.clip, plan.windows
                servers = SeveralServers(
                    plan.painter, comfys, clip, windows, kept, scratch, window_done, show, say, stop
                )
            with servers:
                # the bar follows what the servers have painted
                joined = window_done if len(comfys) == 1 else lambda window: None
                changes = paint_clip(request.clip, servers, plan.windows, painted, plan.joining, joined)
            own.take_back()
            settle(painted, output)
    figures = changes.as_dict()
    prompt, workflow = request.job.prompt, request.workflow
    record = {
        "schema": 1,
        "prompt": {"object": prompt.object, "skater": prompt.skater if request.clip.skater_mask else None},
        "seed": request.job.seed,
        **plan.record,
        "backend": plan.backend,
        "workflow": {"name": workflow.name, "sha256": workflow.sha256, "graph_sha256": graph_sha256(plan.graphs[0])},
        "server": {"comfyui": version},
        "windows": [[window.start, window.stop - 1] for window in plan.windows],
        "window_seeds": request.seeds(len(plan.windows)),
        "windows_resumed": servers.resumed,
        "pixels": figures,
        "encoder": {"codec": "h264", "pix_fmt": "yuv420p", "crf": OUTPUT_CRF},
    }
    write_text(folder / "output.json", json.dumps(record, indent=1) + "\n")
    for path in (output, folder / "output.json"):
        stage.add_output(path)
    stage.note("comfyui", version)
    stage.note("pixels", figures)
    # here and not in output.json, which is the same whoever paints, and however long it takes
    stage.note(
        "windows",
        [
            {"window": window.index, **servers.painted[window.index].as_dict()}
            for window in plan.windows
            if window.index in servers.painted
        ],
    )
    say(
        f"{output} ({figures['frames']} frames; {figures['changed_outside_px']} px changed outside the regions "
        f"before encoding, CRF {OUTPUT_CRF})"
    )
