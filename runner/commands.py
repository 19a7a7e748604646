"""The three product commands: which stages they run, in which run folder, with which arguments.

Options that only a stage knows are passed on as they are; `--help` of the stage lists them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from runner import runs
from runner.comfyserver import serve
from runner.comfysource import ensure_source
from runner.envs import ensure_env
from runner.errors import RunnerError
from runner.process import ROOT, run_module

SELECT = "--select"
PLACES = ("--point", SELECT)
"""Options of the tracker that say where the object is, beside --bbox."""
GENERATED_POSE = "--generated-pose"
INTERRUPTED = (130, 143)
WORK_TO_DO = 4
"""Exit code of `python -m reskin --check` when the result is not there yet."""


def _parser(program: str, description: str, stage: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"Further options are those of the {stage} stage and are passed on to it.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", metavar="NAME", help="the run: a name in data/runs, or a folder (with a slash)")
    parser.add_argument("--force", action="store_true", help="do the work again even where nothing has changed")
    return parser


def _named_run(name: str | None) -> Path | None:
    return runs.run_folder(name) if name else None


def extract(arguments: list[str]) -> int:
    """extract_physics.py: skeleton and masks of a clip."""
    parser = _parser("extract_physics.py", "Measure the object's mask and the skater's skeleton in a clip.", "tracker")
    parser.add_argument("-i", "--input", required=True, metavar="CLIP", help="the clip, such as input.mp4")
    parser.add_argument("-bbox", "--bbox", metavar="X1,Y1,X2,Y2", help="the object's box in px on --frame")
    parser.add_argument("--frame", metavar="N", help="the frame of --bbox or --point, counted from 0 (default 0)")
    options, rest = parser.parse_known_args(arguments)
    clip = Path(options.input)
    folder = _named_run(options.run) or runs.run_folder(runs.name_for(clip))
    common = ["--run", str(folder), *(["--force"] if options.force else [])]
    prompt = ["--bbox", options.bbox] if options.bbox else []
    prompted = bool(prompt) or any(each.split("=")[0] in PLACES for each in rest)
    prompt += ["--frame", options.frame] if options.frame else []
    if not prompted and not (folder / "prompts.json").is_file():
        raise RunnerError(
            "where is the object? give its box on a frame where it is whole: --bbox x1,y1,x2,y2 --frame n.", 2
        )
    tracker = ensure_env("tracker")
    # a bad clip or box is refused here, before any long work
    code = run_module(tracker, "tracker", ["-i", str(clip), *common, *prompt, *rest, "--prompt-only"])
    if code:
        return code
    runs.remember(folder)
    code = run_module(ensure_env("posegen"), "posegen", common)
    if code:
        return code
    # what was drawn is in prompts.json by now
    code = run_module(tracker, "tracker", [*common, *prompt, *(each for each in rest if each != SELECT)])
    if code == 0:
        for name in ("mask.mp4", "pose.json"):
            print(f"{name}: {folder / name}")
    return code


def reskin(arguments: list[str]) -> int:
    """generate_reskin.py: paint the new object and the new skater, on a ComfyUI server that is started when needed."""
    parser = _parser("generate_reskin.py", "Paint a new object and a new skater into the clip.", "reskin")
    parser.add_argument("--mask", default="mask.mp4", metavar="FILE", help="the object's mask (default mask.mp4)")
    parser.add_argument("--pose", default="pose.json", metavar="FILE", help="the skeleton (default pose.json)")
    parser.add_argument("--server", metavar="HOST:PORT", help="a running ComfyUI; default: one is started and stopped")
    options, rest = parser.parse_known_args(arguments)
    named = _named_run(options.run)
    mask, pose = runs.find(options.mask, named), runs.find(options.pose, named)
    folder = named or runs.run_of(mask)
    if folder is None:
        raise RunnerError(
            f"{mask} is not in a run folder (no run.json beside it), so its clip is not known; "
            "make the mask with extract_physics.py, or name the run with --run.",
            2,
        )
    stage = ["--run", str(folder), "--mask", str(mask), "--pose", str(pose), *rest]
    python = ensure_env("reskin")
    code = 0 if options.force else run_module(python, "reskin", [*stage, "--check"])
    if code == WORK_TO_DO or options.force:
        forced = [*stage, *(["--force"] if options.force else [])]
        server = contextlib.nullcontext(options.server) if options.server else _own_server(folder / "comfyui.log")
        with server as address:
            code = run_module(python, "reskin", [*forced, "--server", address])
    return code


@contextlib.contextmanager
def _own_server(log: Path) -> Iterator[str]:
    """Start a ComfyUI server for one command and yield its address; its files go when it stops."""
    cache = runs.cache_dir()
    source = ensure_source(ROOT / "comfyui" / "pins.toml", cache)
    python = ensure_env("comfyui")
    for left in cache.glob("work-*"):  # of a command that was killed
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=f"work-{os.getpid()}-", dir=cache) as work,
        serve(python, source, Path(work), log) as address,
    ):
        yield address


def _second_pose(original: Path, generated: Path, force: bool) -> tuple[int, list[str]]:
    """Find the skeleton in a generated clip that lies in its run; return an exit code to stop with, and options.

    It is found as the run's own was, in a run folder that is thrown away; pose.json stays beside the clip. Not again
    where the last evaluation had this clip and this skeleton. Without it the gate still has its verdict, so a failure
    is only said.
    """
    run = runs.run_of(original)
    if run is None or run.resolve() not in generated.resolve().parents or not generated.is_file():
        return 0, []
    folder, pose = generated.resolve().parent, generated.with_name("pose.json")
    try:
        stages = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]
        made = stages["posegen"]["params"]
        known = stages.get(f"evaluator/{folder.name}", {}).get("inputs", {})
    except (OSError, ValueError, KeyError, TypeError):
        return 0, []  # the evaluator says what is wrong with the run, if anything is
    options = [GENERATED_POSE, str(pose)]
    names = {path: path.resolve().relative_to(run.resolve()).as_posix() for path in (generated, pose)}
    if not force and all(path.is_file() and known.get(name) == _sha256(path) for path, name in names.items()):
        return 0, options
    backend = ["--backend", made["backend"]] if "backend" in made else []
    scratch = folder / f".pose.{os.getpid()}.partial"  # a killed command's is cleared away with other partial files
    try:
        arguments = ["--run", str(scratch), "-i", str(generated), *backend]
        code = run_module(ensure_env("posegen"), "posegen", arguments)
        if code == 0:
            os.replace(scratch / "pose.json", pose)
            print(f"{pose.name}: {pose}", flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if code in INTERRUPTED:
        return code, []
    if code:
        print("warning: the skater's figures will be missing: no skeleton of the generated clip", file=sys.stderr)
        return 0, []
    return 0, options


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def evaluate(arguments: list[str]) -> int:
    """evaluate_iou.py: track the new object and hold it against the old outline, frame by frame."""
    parser = _parser("evaluate_iou.py", "Prove frame by frame that the new object fills the old outline.", "evaluator")
    parser.add_argument("-original", "--original", default="mask.mp4", metavar="MASK", help="the original mask")
    parser.add_argument("-generated", "--generated", metavar="VIDEO", help="the generated clip (default output.mp4)")
    parser.add_argument("--generated-mask", metavar="MASK", help="score this mask instead of tracking again")
    parser.add_argument("--no-pose", action="store_true", help="do not look for the skater in the generated clip")
    options, rest = parser.parse_known_args(arguments)
    named = _named_run(options.run)
    force = ["--force"] if options.force else []
    original = runs.find(options.original, named)
    if options.generated_mask:
        pair = ["--generated-mask", options.generated_mask]
    else:
        name = options.generated or "output.mp4"
        if not Path(name).exists() and Path(name).name == name:
            run = named or runs.newest_run()
            name = str(runs.find(name, run, runs.newest_reskin(run)))
        pair = ["-generated", name]
        if not options.no_pose and not any(each.split("=")[0] == GENERATED_POSE for each in rest):
            code, pose = _second_pose(original, Path(name), options.force)
            if code:
                return code
            pair += pose
    return run_module(ensure_env("evaluator"), "evaluator", ["-original", str(original), *pair, *force, *rest])
