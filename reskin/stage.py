"""What of a run is painted on, checked before any work.

The server's traceback of a job that failed, kept beside where the result would be.

Paint one reskin of a run on a server: output.mp4, and output.json that says how.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from handoff.errors import InputError, storage_errors
from handoff.files import scratch_dir, write_text
from handoff.masks import check_mask_sequence, read_masks
from handoff.poses import check_poses
from handoff.run import Run, Stage
from reskin.comfy.errors import JobFailed
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.comfy.progress import Listener, Progress
from reskin.draft_painter import DraftPainter, decide_look, fill_look
from reskin.model_painter import REFERENCE, VacePainter
from reskin.nouns import Nouns, write_texts
from reskin.painting import OUTPUT_CRF, Clip, Joining, Painter, paint_clip
from reskin.regions import fit_into, fit_to_area
from reskin.settings import Settings
from reskin.windows import KeptWindows, Window, plan_overlapping, plan_windows
from reskin.workflow import (
    DRAFT,
    LOCKED,
    ONE_PASS,
    SEEDS,
    TEXTS,
    Choice,
    Graph,
    Workflow,
    check_slots,
    drop,
    graph_sha256,
    load_workflow,
    nodes_of,
    settle,
    unfilled,
    value_of,
    where_from,
    window_frames,
)

_SKELETONS, _SKELETON_VIDEO = "pose_skater", "pose.mp4"


def find_inputs(run: Run, prompt: Nouns, mask: Path | None, pose: Path | None, workflow: Workflow) -> Clip:
    """Return the clip with what the workflow reads; raise InputError when something is missing or not of this clip."""
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
    if workflow.name != DRAFT:
        check_slots(workflow, skater_mask is not None)
    draws = skater_mask is not None and bool(nodes_of(workflow.graph, "pose"))
    skeleton = _find_skeleton(pose.parent if pose else run.dir) if draws else None
    return Clip(run.info, run.source, object_mask, skater_mask, skeleton)


def _find_skeleton(folder: Path) -> Path:
    """Return the drawn skeletons beside pose.json: the lossless pictures, else the video."""
    for name in (_SKELETONS, _SKELETON_VIDEO):
        if (folder / name).exists():
            return folder / name
    raise InputError(
        f"there is neither {_SKELETONS}/ nor {_SKELETON_VIDEO} in {folder}, and the workflow draws the skater after "
        "the skeleton; make them with extract_physics.py, or name the object alone in --prompt."
    )


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


@dataclass(frozen=True)
class PaintRequest:
    """What to paint: reskins/NAME of a run. replaces: what the object was, where that is known."""

    name: str
    workflow: Workflow
    clip: Clip
    prompt: Nouns
    seed: int
    settings: Settings
    replaces: str | None = None
    force: bool = False


@dataclass(frozen=True)
class _Plan:
    """Who paints which windows, and what output.json says of it."""

    painter: Painter
    graph: Graph
    windows: list[Window]
    joining: Joining
    backend: str
    record: dict[str, Any]


def paint_run(run: Run, stage: Stage, comfy: ComfyOrchestrator, request: PaintRequest) -> None:
    """Paint the clip on the server and write output.mp4 and output.json; finished windows are left where they lie."""
    folder = run.path("reskins") / request.name
    info, output, kept = request.clip.info, folder / "output.mp4", KeptWindows(folder)
    if request.force:
        kept.clear()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (
            scratch_dir(folder / "scratch") as scratch,
            tqdm(total=info.frames, desc="reskin", unit="frame", disable=None, dynamic_ncols=True) as bar,
        ):

            def show(progress: Progress) -> None:
                bar.set_postfix_str(str(progress))

            def window_done(window: Window) -> None:
                bar.update(window.stop - bar.n)

            make = _plan_draft if request.workflow.name == DRAFT else _plan_model
            plan = make(request, comfy, scratch, kept, show)
            version = comfy.check(plan.graph, where_from, unfilled(plan.graph))
            click.echo(f"reskin/{request.name}: workflow {plan.backend}, ComfyUI {version}")
            changes = paint_clip(request.clip, plan.painter, plan.windows, output, plan.joining, window_done)
    figures = changes.as_dict()
    prompt, workflow = request.prompt, request.workflow
    record = {
        "schema": 1,
        "prompt": {"object": prompt.object, "skater": prompt.skater if request.clip.skater_mask else None},
        "seed": request.seed,
        **plan.record,
        "backend": plan.backend,
        "workflow": {"name": workflow.name, "sha256": workflow.sha256, "graph_sha256": graph_sha256(plan.graph)},
        "server": {"comfyui": version},
        "windows": [[window.start, window.stop - 1] for window in plan.windows],
        "pixels": figures,
        "encoder": {"codec": "h264", "pix_fmt": "yuv420p", "crf": OUTPUT_CRF},
    }
    if isinstance(plan.painter, VacePainter):
        record["windows_resumed"] = plan.painter.resumed
    write_text(folder / "output.json", json.dumps(record, indent=1) + "\n")
    for path in (output, folder / "output.json"):
        stage.add_output(path)
    stage.note("comfyui", version)
    stage.note("pixels", figures)
    click.echo(
        f"{output} ({figures['frames']} frames; {figures['changed_outside_px']} px changed outside the regions "
        f"before encoding, CRF {OUTPUT_CRF})"
    )


def _plan_draft(
    request: PaintRequest, comfy: ComfyOrchestrator, scratch: Path, kept: KeptWindows, show: Listener
) -> _Plan:
    info = request.clip.info
    look = decide_look(request.clip, request.prompt, request.seed)
    graph = fill_look(request.workflow, look, info)
    return _Plan(
        DraftPainter(comfy, graph, look, info, scratch, show),
        graph,
        plan_windows(info.frames, info.width, info.height),
        Joining(),
        "draft (embedded: paints without a model)",
        {"colours": look.palette.as_dict()},
    )


def _plan_model(
    request: PaintRequest, comfy: ComfyOrchestrator, scratch: Path, kept: KeptWindows, show: Listener
) -> _Plan:
    info, settings, workflow = request.clip.info, request.settings, request.workflow
    if workflow.name == LOCKED and request.clip.skater_mask is None:
        workflow = load_workflow(ONE_PASS)  # the object's pass alone, on the source
    length, overlap = settings.windows(window_frames(workflow.graph))
    fit = fit_into(info.width, info.height, *settings.size) if settings.size else fit_to_area(info.width, info.height)
    skater = request.prompt.skater if request.clip.skater_mask else None
    prompt = replace(request.prompt, skater=skater)
    texts = write_texts(prompt, request.replaces, settings.object_prompt, settings.human_prompt)
    choices = [
        Choice("prompt", TEXTS, texts.positive_of()),
        Choice("negative prompt", TEXTS, texts.negative_of()),
        Choice("sampler", SEEDS, request.seed),
        *settings.choices(),
    ]
    graph = settle(workflow, choices, fit.model)
    for title, used in ((REFERENCE, settings.reference), ("LoRA", settings.lora)):
        if used is None:
            drop(graph, title)
    model = value_of(graph, "model", "unet_name") or "the workflow's own model"
    return _Plan(
        VacePainter(comfy, graph, info, fit, settings.grow_px, settings.reference, kept, scratch, show),
        graph,
        plan_overlapping(info.frames, length, overlap),
        Joining(settings.anchored, settings.lock),
        f"{workflow.name} ({model})",
        {
            "replaces": request.replaces,
            "texts": {"prompt": texts.positive_of(), "negative prompt": texts.negative_of()},
            "settings": settings.asked(),
            "size": {"model": list(fit.model), "inner": list(fit.inner), "offset": list(fit.offset)},
            "overlap": {"frames": overlap, "mode": "anchor" if settings.anchored else "fade"},
            "grow_px": settings.grow_px,
            "locked": settings.lock,
        },
    )
