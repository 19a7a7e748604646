"""What will be painted, decided before anything is: who paints which windows, with which seeds and settings.

`PaintRequest` is what one job asks for. `plan_painting` makes a `Plan` of it: the painter, the windows, and what
output.json says of them. `foresee` writes down what a loop has to know before it begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from handoff.errors import UsageError, printable
from handoff.files import write_text
from handoff.run import Stage
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.comfy.progress import Listener
from reskin.draft_painter import DraftPainter, decide_looks, fill_look
from reskin.jobs import Job
from reskin.model_painter import VacePainter
from reskin.nouns import write_texts
from reskin.painting import Clip, Joining, Layers, WindowFrames
from reskin.regions import fit_into, fit_to_area
from reskin.settings import Settings, differing
from reskin.sharing import WindowOrder, WindowPainter
from reskin.windows import Window, plan_overlapping, plan_windows
from reskin.workflow import (
    DRAFT,
    LOCKED,
    LORA,
    NEGATIVE,
    ONE_PASS,
    PROMPT,
    REFERENCE,
    SEED,
    Graph,
    Slot,
    Workflow,
    drop,
    fill,
    load_workflow,
    nodes_of,
    size_slots,
    value_of,
    window_frames,
)


@dataclass(frozen=True)
class PaintRequest:
    """What to paint: reskins/NAME of a run. replaces: what the object was, where that is known. pose: the user's.

    varied: the settings that a window may have in place of `settings`; they differ from it in what may vary alone.
    window_seeds, window_settings: one a window; the setting is its place in `varied`.
    """

    job: Job
    workflow: Workflow
    clip: Clip
    settings: Settings
    replaces: str | None = None
    pose: Path | None = None
    force: bool = False
    window_seeds: tuple[int, ...] | None = None
    keep_windows: bool = False
    varied: tuple[Settings, ...] = ()
    window_settings: tuple[int, ...] | None = None

    @property
    def choices(self) -> tuple[Settings, ...]:
        """The settings that there are to choose from, at least one."""
        return self.varied or (self.settings,)

    def windows(self) -> list[Window]:
        """Return the clip's windows."""
        info = self.clip.info
        if self.workflow.name == DRAFT:
            return plan_windows(info.frames, info.width, info.height)
        length, overlap = self.settings.windows(window_frames(self.template().graph))
        return plan_overlapping(info.frames, length, overlap)

    def template(self) -> Workflow:
        """Return the workflow that is filled: where only the object is painted, the locked one's pass of that alone."""
        alone = self.workflow.name == LOCKED and self.clip.skater_mask is None
        return load_workflow(ONE_PASS) if alone else self.workflow

    def seeds(self, windows: int) -> list[int]:
        """Return the seed of each window: those given, else the job's; UsageError for another number of them."""
        return _one_each("--window-seeds", "seeds", self.window_seeds, self.job.seed, windows)

    def chosen(self, windows: int) -> list[int]:
        """Return the setting of each window, the first where none is given; UsageError for another number of them."""
        return _one_each("--window-settings", "settings", self.window_settings, 0, windows)

    def params(self) -> dict[str, Any]:
        """Return everything that changes the result, but for the seeds and settings of single windows, as JSON."""
        params = {
            "prompt": str(self.job.prompt),
            "seed": self.job.seed,
            "workflow": self.workflow.name,
            "sha256": self.workflow.sha256,
        } | self.settings.asked()
        if self.varied:
            params["varied"] = differing(self.varied)
        if self.replaces is not None:
            params["replaces"] = self.replaces
        return params

    def of_windows(self) -> dict[str, Any]:
        """Return what of single windows changes the result, as JSON."""
        params: dict[str, Any] = {}
        if set(self.window_seeds or ()) - {self.job.seed}:
            params["window_seeds"] = list(self.window_seeds or ())
        if any(self.window_settings or ()):
            params["window_settings"] = list(self.window_settings or ())
        return params


def _one_each(option: str, what: str, given: tuple[int, ...] | None, usual: int, windows: int) -> list[int]:
    if given is None:
        return [usual] * windows
    if len(given) != windows:
        raise UsageError(f"{option} has {len(given)} {what} for the clip's {windows} windows; give one a window.")
    return list(given)


@dataclass(frozen=True)
class Plan:
    """Who paints which windows, and what output.json says of it. graphs: what servers must know, the first of all."""

    painter: WindowPainter
    graphs: list[Graph]
    windows: list[Window]
    joining: Joining
    backend: str
    record: dict[str, Any]


def plan_painting(request: PaintRequest) -> Plan:
    """Return the plan; the draft looks through the clip for it. UsageError for what the workflow cannot take."""
    return (_plan_draft if request.workflow.name == DRAFT else _plan_model)(request)


def _plan_draft(request: PaintRequest) -> Plan:
    info, windows = request.clip.info, request.windows()
    seeds = request.seeds(len(windows))
    looks = decide_looks(request.clip, request.job.prompt, {request.job.seed, *seeds})
    return Plan(
        DraftPainter(request.workflow, [looks[seed] for seed in seeds], info),
        [fill_look(request.workflow, looks[request.job.seed], info)],
        windows,
        Joining(),
        "draft (embedded: paints without a model)",
        {"colours": looks[request.job.seed].palette.as_dict()},
    )


def _plan_model(request: PaintRequest) -> Plan:
    info, settings, workflow = request.clip.info, request.settings, request.template()
    _, overlap = settings.windows(window_frames(workflow.graph))
    fit = fit_into(info.width, info.height, *settings.size) if settings.size else fit_to_area(info.width, info.height)
    skater = request.job.prompt.skater if request.clip.skater_mask else None
    prompt = replace(request.job.prompt, skater=skater)
    windows = request.windows()
    seeds, chosen = request.seeds(len(windows)), request.chosen(len(windows))

    def texts_of(each: Settings) -> dict[str, Any]:
        texts = write_texts(prompt, request.replaces, each.object_prompt, each.human_prompt)
        return {"prompt": texts.positive_of(), "negative prompt": texts.negative_of()}

    def graph_of(each: Settings) -> Graph:
        texts = texts_of(each)
        values: dict[Slot, Any] = {PROMPT: texts["prompt"], NEGATIVE: texts["negative prompt"], SEED: request.job.seed}
        graph = fill(workflow.graph, values | each.slots() | size_slots(*fit.model), name=workflow.name)
        for title, used in ((REFERENCE, each.reference), (LORA, each.lora)):
            if used is None:
                for node_id in nodes_of(graph, title).values():
                    drop(graph, node_id)
        return graph

    graphs = [graph_of(each) for each in request.choices]
    painters = [
        VacePainter(graph, seeds, info, fit, each.grow_px, each.reference)
        for graph, each in zip(graphs, request.choices, strict=True)
    ]
    first = request.choices[0]
    models = [value_of(graph, Slot("model", ("unet_name",))) or "the workflow's own model" for graph in graphs]
    record: dict[str, Any] = {
        "replaces": request.replaces,
        "texts": texts_of(first),
        "settings": settings.asked(),
        "size": {"model": list(fit.model), "inner": list(fit.inner), "offset": list(fit.offset)},
        "overlap": {"frames": overlap, "mode": "anchor" if settings.anchored else "fade"},
        "grow_px": first.grow_px,
        "locked": settings.lock,
    }
    if request.varied:
        record |= {"varied": differing(request.varied), "window_settings": chosen}
    return Plan(
        EachItsOwn([painters[setting] for setting in chosen]) if request.varied else painters[0],
        graphs,
        windows,
        Joining(settings.anchored, settings.lock),
        f"{printable(workflow.name)} ({', '.join(dict.fromkeys(map(printable, models)))})",
        record,
    )


@dataclass(frozen=True)
class EachItsOwn:
    """A `WindowPainter` for windows with settings of their own. painters: of each window; all make the same pictures'
    number and size.
    """

    painters: Sequence[WindowPainter]

    def prepare(self, cut: WindowFrames, folder: Path) -> WindowOrder:
        """Have the window's own painter write its inputs."""
        return self.painters[cut.window.index].prepare(cut, folder)

    def paint(self, order: WindowOrder, comfy: ComfyOrchestrator, folder: Path, listener: Listener) -> None:
        """Have the window's own painter paint it."""
        self.painters[order.window.index].paint(order, comfy, folder, listener)

    def layers(self, folder: Path, frames: int) -> Iterator[Layers]:
        """Yield a painted window's layers."""
        return self.painters[0].layers(folder, frames)


def foresee(path: Path, reskin: str, request: PaintRequest, stage: Stage) -> None:
    """Write what a loop has to know before it begins, as JSON.

    reskin      its folder, relative to the run's
    of          what is painted, but for the seeds and settings of single windows: parameters, inputs' SHA-256
    windows     [first, last] frame of each
    chained     whether a window is painted on from the one before
    settings    what there is to choose from, each by what it differs in; one, and empty, where nothing is varied
    there       seeds and settings of the windows of the output.mp4 that stands there, null where none is as it was made

    stage: the request's own, entered.
    """
    windows = request.windows()
    standing = {"seeds": request.seeds(len(windows)), "settings": request.chosen(len(windows))}
    document = {
        "reskin": reskin,
        "of": {"params": request.params(), "inputs": stage.inputs},
        "windows": [[window.start, window.stop - 1] for window in windows],
        "chained": request.workflow.name != DRAFT and request.settings.anchored,
        "settings": differing(request.choices),
        "there": standing if stage.unchanged else None,
    }
    write_text(path, json.dumps(document) + "\n")
