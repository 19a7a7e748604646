"""evaluate_iou.py: the new object tracked again and held against the old outline, frame by frame."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from runner import runs
from runner.arguments import has, named_run, stage_parser
from runner.stages import run_stage

GENERATED_POSE = "--generated-pose"
INTERRUPTED = (130, 143)


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
    if not force and all(path.is_file() and known.get(name) == runs.sha256(path) for path, name in names.items()):
        return 0, options
    backend = ["--backend", made["backend"]] if "backend" in made else []
    scratch = folder / f".pose.{os.getpid()}.partial"  # a killed command's is cleared away with other partial files
    try:
        arguments = ["--run", str(scratch), "-i", str(generated), *backend]
        code = run_stage("posegen", arguments, writes=[run])
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


def evaluate(arguments: list[str]) -> int:
    """evaluate_iou.py: track the new object and hold it against the old outline, frame by frame."""
    parser = stage_parser(
        "evaluate_iou.py", "Prove frame by frame that the new object fills the old outline.", "evaluator"
    )
    parser.add_argument("-original", "--original", default="mask.mp4", metavar="MASK", help="the original mask")
    parser.add_argument("-generated", "--generated", metavar="VIDEO", help="the generated clip (default output.mp4)")
    parser.add_argument("--generated-mask", metavar="MASK", help="score this mask instead of tracking again")
    parser.add_argument(
        "--output", metavar="DIR", help="the report's folder; default report/ beside the generated clip"
    )
    parser.add_argument("--no-pose", action="store_true", help="do not look for the skater in the generated clip")
    options, rest = parser.parse_known_args(arguments)
    named = named_run(options.run)
    force = ["--force"] if options.force else []
    original = runs.find(options.original, named)
    writes: list[Path] = []
    if options.generated_mask:
        pair = ["--generated-mask", options.generated_mask]
    else:
        name = options.generated or "output.mp4"
        if not Path(name).exists() and Path(name).name == name:
            run = named or runs.newest_run()
            name = str(runs.find(name, run, runs.newest_reskin(run)))
        pair = ["-generated", name]
        if not options.no_pose and not has(GENERATED_POSE, rest):
            code, pose = _second_pose(original, Path(name), options.force)
            if code:
                return code
            pair += pose
        writes.append(Path(name).absolute().parent)  # the report's place
    run_dir = runs.run_of(original)
    writes += [run_dir] if run_dir else []
    if options.output:
        pair += ["--output", options.output]
        writes.append(Path(options.output))
    return run_stage("evaluator", ["-original", str(original), *pair, *force, *rest], writes=writes)
