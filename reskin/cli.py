"""The command: python -m reskin --prompt "object, skater" --run DIR --server HOST:PORT. Every option is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from handoff.command import FORCE, PATH, RUN, FiniteRange, Option, with_options
from handoff.errors import UsageError
from reskin.settings import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    GROW_PX,
    MAX_GROW_PX,
    OVERLAP_MODES,
    read_choices,
    read_seeds,
    read_settings,
    read_varied,
)
from reskin.windows import MODEL_FRAMES, MODEL_OVERLAP

WORK_TO_DO = 4
"""Exit code of --check when a server is needed."""


PAINTING: tuple[Option, ...] = (
    (
        ("--object-prompt",),
        {"metavar": "TEXT"},
        "What the model is told of the object, in place of our sentence, e.g. --object-prompt 'a matte black drone'",
    ),
    (
        ("--human-prompt",),
        {"metavar": "TEXT"},
        "What the model is told of the skater, in place of our sentence, e.g. --human-prompt 'a samurai in red armour'",
    ),
    (
        ("--replaces",),
        {"metavar": "NOUN"},
        "What the object was: the negative prompt names it, e.g. --replaces snowboard  [default: as it was detected]",
    ),
    (
        ("--steps",),
        {"type": click.IntRange(1, 200)},
        "Sampling steps, e.g. --steps 4  [default: the workflow's]",
    ),
    (
        ("--cfg",),
        {"type": FiniteRange(0, 30)},
        "How closely the prompt is followed, e.g. --cfg 1  [default: the workflow's]",
    ),
    (
        ("--shift",),
        {"type": FiniteRange(0, 100)},
        "The sampling's shift towards noise, e.g. --shift 16  [default: the workflow's]",
    ),
    (
        ("--sampler",),
        {"metavar": "NAME"},
        "The sampler, as ComfyUI names it, e.g. --sampler euler  [default: the workflow's]",
    ),
    (
        ("--model",),
        {"metavar": "FILE"},
        "The diffusion model, as the server lists it, e.g. --model wan2.1_vace_14B_fp16.safetensors  "
        "[default: the workflow's]",
    ),
    (
        ("--lora",),
        {"metavar": "FILE[:STRENGTH]"},
        "A LoRA of the server's, and how strong (else 1), e.g. --lora look.safetensors:0.8",
    ),
    (("--reference",), {"type": PATH}, "A picture of the new object (PNG, JPEG, WebP), e.g. --reference drone.png"),
    (
        ("--size",),
        {"metavar": "WxH|auto"},
        "The model's picture in px, e.g. --size 1280x720  [default: auto, the clip's aspect at about 832x480]",
    ),
    (
        ("--grow",),
        {"type": click.IntRange(0, MAX_GROW_PX)},
        f"Room around the masks, px of the source, e.g. --grow 16  [default: {GROW_PX}]",
    ),
    (
        ("--window",),
        {"type": int, "metavar": "N"},
        f"Frames in one job, 4n+1, e.g. --window 49  [default: the workflow's, mostly {MODEL_FRAMES}]",
    ),
    (
        ("--overlap",),
        {"type": int, "metavar": "N"},
        f"Frames that windows share, 0 or 4n+1, e.g. --overlap 5  [default: {MODEL_OVERLAP}, or what fits]",
    ),
    (
        ("--overlap-mode",),
        {"type": click.Choice(OVERLAP_MODES)},
        "Cross-fade the shared frames, or keep the earlier window's, e.g. --overlap-mode anchor  [default: fade]",
    ),
    (
        ("--no-lock",),
        {"is_flag": True},
        "Show all that the model painted: nothing is put back, e.g. --prompt drone --run runs/demo --no-lock",
    ),
)
"""How to paint: for `read_settings`."""
_TYPES: dict[str, click.ParamType[Any]] = {
    names[0].removeprefix("--"): how.get("type") or click.STRING for names, how, _ in PAINTING if "is_flag" not in how
}
"""Of the values of each of them, by its name."""

OPTIONS: tuple[Option, ...] = (
    (
        ("--prompt",),
        {},
        'The new object and the new skater, or the object alone, e.g. --prompt "cyberpunk drone, samurai"',
    ),
    RUN,
    (
        ("--prompts-file",),
        {"type": PATH},
        "Prompts, one a line, in place of --prompt, e.g. --prompts-file prompts.txt",
    ),
    (
        ("--server", "servers"),
        {"multiple": True, "metavar": "HOST:PORT"},
        "A ComfyUI server; repeatable, then all of them paint at once, e.g. --server 127.0.0.1:8188",
    ),
    (
        ("--mask",),
        {"type": PATH},
        "The object's mask, a video or a folder of PNG files, e.g. --mask own.mp4  [default: the run's mask.mp4]",
    ),
    (
        ("--pose",),
        {"type": PATH},
        "The poses, with their drawn skeletons beside them, e.g. --pose runs/demo/pose.json  [default: the run's]",
    ),
    (("--name",), {}, "Folder below reskins/, e.g. --name take2  [default: made from the prompt]"),
    (
        ("--workflow", "workflow_name"),
        {"metavar": "NAME|FILE"},
        "The template, or one of your own, e.g. --workflow wan_vace  [default: by the models here]",
    ),
    (
        ("--seed",),
        {"default": 0, "show_default": True},
        "A whole number from 0 on: another one, another look, e.g. --seed 7",
    ),
    (
        ("--seeds",),
        {"type": int, "metavar": "N"},
        "N jobs with the seeds from --seed on: reskins/NAME-seedK, e.g. --seeds 4",
    ),
    (
        ("--window-seeds",),
        {"metavar": "N,N,..."},
        "A seed for each window, in order, e.g. --window-seeds 0,7,0  [default: --seed for all]",
    ),
    (
        ("--vary",),
        {"multiple": True, "metavar": "NAME=V,V"},
        "Values of an option that windows may have in turn; repeatable, then all of them with one another, e.g. --vary "
        "grow=4,12 --vary cfg=4,6",
    ),
    (
        ("--window-settings",),
        {"metavar": "N,N,..."},
        "Which of the settings that --vary makes each window has, counted from 0, e.g. --vary grow=4,12 "
        "--window-settings 0,1,0  [default: 0 for all]",
    ),
    (
        ("--keep-windows",),
        {"is_flag": True},
        "Keep the pictures of every window and seed in reskins/NAME/.windows: none is painted twice, e.g. "
        "--window-seeds 0,7,0 --keep-windows",
    ),
    (
        ("--timeout", "timeout_s"),
        {"default": DEFAULT_TIMEOUT_S, "show_default": True},
        "Seconds for one window on the server, with its wait in the queue, e.g. --timeout 7200",
    ),
    (
        ("--retries",),
        {"default": DEFAULT_RETRIES, "show_default": True},
        "Times to submit again what was lost, e.g. --retries 5",
    ),
    (
        ("--patience", "patience_s"),
        {"type": float},
        "Seconds to wait for a server that went away in mid-job, e.g. --patience 300",
    ),
    *PAINTING,
    FORCE,
    (
        ("--check",),
        {"is_flag": True},
        f"Only say whether there is work: exit 0 for no, {WORK_TO_DO} for yes, e.g. --prompt drone --run runs/demo "
        "--check",
    ),
    (
        ("--plan",),
        {"type": PATH},
        "Only write what will be painted: windows, settings, what output.mp4 is of, e.g. --plan plan.json",
    ),
)


@click.command("reskin")
@with_options(*OPTIONS)
def command(
    prompt: str | None,
    run_dir: Path,
    prompts_file: Path | None,
    servers: tuple[str, ...],
    mask: Path | None,
    pose: Path | None,
    name: str | None,
    workflow_name: str | None,
    seed: int,
    seeds: int | None,
    window_seeds: str | None,
    vary: tuple[str, ...],
    window_settings: str | None,
    keep_windows: bool,
    timeout_s: float,
    retries: int,
    patience_s: float | None,
    force: bool,
    check: bool,
    plan: Path | None,
    **painting: Any,
) -> int:
    """Re-skin the object (and the skater) of a run: writes reskins/NAME/output.mp4 and output.json.

    \b
    python -m reskin --prompt "cyberpunk drone, samurai" --run data/runs/demo --server 127.0.0.1:8188
    """
    # here, so that --help needs no package of the stage's own, and a bad option no OpenCV
    from reskin.comfy.client import parse_address
    from reskin.comfy.orchestrator import JobLimits
    from reskin.jobs import plan_jobs, read_prompts
    from reskin.workflow import DRAFT, choose_workflow

    jobs = plan_jobs(read_prompts(prompt, prompts_file), name, seed, seeds)
    own_seeds = None if window_seeds is None else read_seeds(window_seeds)
    for option, value in (("--window-seeds", own_seeds), ("--window-settings", window_settings), ("--plan", plan)):
        if value is not None and len(jobs) > 1:
            raise UsageError(f"{option} is for one reskin, and {len(jobs)} are asked for; name one prompt.")
    limits = JobLimits.of(timeout_s, retries, patience_s, len(servers))
    addresses = list(dict.fromkeys(map(parse_address, servers)))
    if not addresses and not check and plan is None:
        raise UsageError("--server HOST:PORT is missing; generate_reskin.py starts a server and gives it.")
    settings = read_settings(painting)
    varied = read_varied(vary, painting, settings, _TYPES)
    choices = None if window_settings is None else read_choices(window_settings, len(varied) or 1)
    workflow = choose_workflow(workflow_name, quiet=check or plan is not None)
    asked = [*settings.asked(), *(["vary"] if varied else [])]
    if asked and workflow.name == DRAFT:
        raise UsageError(f"--{asked[0]} is for workflows with a model, and the draft has none; leave it out.")

    from reskin.stage import ReskinOrder, reskin_run

    given = (mask, pose, force, check, own_seeds, keep_windows, varied, choices, plan)
    order = ReskinOrder(run_dir, jobs, addresses, limits, workflow, settings, *given)
    return 0 if reskin_run(order) else WORK_TO_DO
