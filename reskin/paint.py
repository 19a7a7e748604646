"""Paint one reskin of a run on a server: output.mp4, and output.json that says how."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from handoff.atomic import PARTIAL_SUFFIX, write_text
from handoff.errors import storage_errors
from handoff.run import Run
from handoff.stage import Stage
from reskin.choice import DRAFT, LOCKED, ONE_PASS
from reskin.clip import Clip
from reskin.draft import DraftPainter, decide_look, fill_look
from reskin.keep import KeptWindows
from reskin.listen import Listener, Progress
from reskin.loop import OUTPUT_CRF, Joining, paint_clip
from reskin.nouns import write_texts
from reskin.orchestrator import ComfyOrchestrator
from reskin.painter import Painter
from reskin.prompt import Prompt
from reskin.settings import Settings
from reskin.sizes import fit_into, fit_to_area
from reskin.slots import SEEDS, TEXTS, Choice, drop, settle, unfilled, value_of, window_frames
from reskin.vace import REFERENCE, VacePainter
from reskin.weightnames import where_from
from reskin.windows import Window, plan_overlapping, plan_windows
from reskin.workflow import Graph, Workflow, graph_sha256, load_workflow


@dataclass(frozen=True)
class Request:
    """What to paint: reskins/NAME of a run. replaces: what the object was, where that is known."""

    name: str
    workflow: Workflow
    clip: Clip
    prompt: Prompt
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


def paint_run(run: Run, stage: Stage, comfy: ComfyOrchestrator, request: Request) -> None:
    """Paint the clip on the server and write output.mp4 and output.json; finished windows are left where they lie."""
    folder = run.path("reskins") / request.name
    info, output, kept = request.clip.info, folder / "output.mp4", KeptWindows(folder)
    if request.force:
        kept.clear()
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".scratch-", suffix=PARTIAL_SUFFIX, dir=folder) as scratch,
            tqdm(total=info.frames, desc="reskin", unit="frame", disable=None, dynamic_ncols=True) as bar,
        ):

            def show(progress: Progress) -> None:
                bar.set_postfix_str(str(progress))

            def window_done(window: Window) -> None:
                bar.update(window.stop - bar.n)

            make = _plan_draft if request.workflow.name == DRAFT else _plan_model
            plan = make(request, comfy, Path(scratch), kept, show)
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


def _plan_draft(request: Request, comfy: ComfyOrchestrator, scratch: Path, kept: KeptWindows, show: Listener) -> _Plan:
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


def _plan_model(request: Request, comfy: ComfyOrchestrator, scratch: Path, kept: KeptWindows, show: Listener) -> _Plan:
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
