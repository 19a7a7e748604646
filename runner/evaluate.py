"""evaluate_iou.py: the new object tracked again and held against the old outline, frame by frame."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from runner import runs
from runner.arguments import has, named_run, stage_parser
from runner.secondpose import GENERATED_POSE, second_pose
from runner.stages import start_stage


def evaluate(arguments: list[str]) -> int:
    """evaluate_iou.py: track the new object and hold it against the old outline, frame by frame."""
    what = "Prove frame by frame that the new object fills the old outline."
    parser = stage_parser("evaluate_iou.py", what, "evaluator")
    parser.add_argument("-original", "--original", default="mask.mp4", metavar="MASK", help="the original mask")
    parser.add_argument("-generated", "--generated", metavar="VIDEO", help="the generated clip (default output.mp4)")
    parser.add_argument("--generated-mask", metavar="MASK", help="score this mask instead of tracking again")
    parser.add_argument("--device", metavar="DEVICE", help="where tracker and pose network run: auto, cuda or cpu")
    parser.add_argument("--output", metavar="DIR", help="the report's folder (default: report/ beside the clip)")
    parser.add_argument("--no-pose", action="store_true", help="do not look for the skater in the generated clip")
    options, rest = parser.parse_known_args(arguments)
    named = named_run(options.run)
    force = ["--force"] if options.force else []
    device = ["--device", options.device] if options.device else []
    folder = runs.real(Path(options.output)) if options.output else None
    report = ["--output", str(folder)] if folder else []
    original = runs.find(options.original, named)
    run = runs.run_of(original)
    tracking = device if _tracks_on_a_device(run, rest) else []
    if device and not tracking:
        said = (
            f"--device {options.device}: the run's embedded tracker knows no devices; it is for the pose network only"
        )
        print(said, file=sys.stderr, flush=True)
    writes = [*([run] if run else []), *([folder] if folder else [])]
    if options.generated_mask:
        stage = ["-original", str(original), "--generated-mask", options.generated_mask, *tracking, *report, *rest]
        return start_stage("evaluator", [*stage, *force], writes=writes)
    generated = _generated(options.generated or "output.mp4", named)
    if generated.is_file() and not folder:
        writes.append(generated.absolute().parent / "report")
    beside = [generated.with_name("output.json")]  # how the clip was encoded, which --calibrate asks for
    stage = ["-original", str(original), "-generated", str(generated), *tracking, *report, *rest]
    comparable = run is not None and ((run / "pose.json").is_file() or has("--pose", rest))
    if comparable and not options.no_pose and not has(GENERATED_POSE, rest):

        def check() -> int:
            return start_stage("evaluator", [*stage, "--check"], reads=beside, writes=writes)

        code, pose = second_pose(original, generated, options.force, device, check)
        if code:
            return code
        stage += pose
    return start_stage("evaluator", [*stage, *force], reads=beside, writes=writes)


def _tracks_on_a_device(run: Path | None, rest: list[str]) -> bool:
    """Say whether the tracker takes --device: SAM 2.1 does, the run's or the one that is asked for.

    Where that is not known it is handed over, and the evaluator says what it thinks of it.
    """
    if run is None or has("--backend", rest) or has("--model", rest):
        return True
    try:
        stages = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]
        return bool(stages["tracker"]["params"]["backend"] != "embedded")
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _generated(name: str, named: Path | None) -> Path:
    """Return the clip that `name` means: itself, else a bare name in the newest reskin of the run."""
    if Path(name).exists() or Path(name).name != name:
        return runs.real(Path(name))
    run = named or runs.newest_run()
    return runs.find(name, run, runs.newest_reskin(run))
