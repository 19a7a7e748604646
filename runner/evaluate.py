"""evaluate_iou.py: the new object tracked again and held against the old outline, frame by frame."""

from __future__ import annotations

from pathlib import Path

from runner import runs
from runner.arguments import has, named_run, stage_parser
from runner.secondpose import GENERATED_POSE, second_pose
from runner.stages import run_stage

MASK, CLIP = "mask.mp4", "output.mp4"


def evaluate(arguments: list[str]) -> int:
    """evaluate_iou.py: track the new object and hold it against the old outline, frame by frame."""
    what = "Prove frame by frame that the new object fills the old outline."
    parser = stage_parser("evaluate_iou.py", what, "evaluator")
    parser.add_argument("-original", "--original", metavar="MASK", help="the original mask (default: the run's)")
    parser.add_argument("-generated", "--generated", metavar="VIDEO", help="the generated clip (default: the newest)")
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
    original = runs.find(options.original, named) if options.original else _unnamed("original", MASK, named)
    run = runs.run_of(original)
    writes = [*([run] if run else []), *([folder] if folder else [])]
    if options.generated_mask:
        stage = ["-original", str(original), "--generated-mask", options.generated_mask, *device, *report, *rest]
        return run_stage("evaluator", [*stage, *force], writes=writes)
    generated = _generated(options.generated, named) if options.generated else _unnamed("generated", CLIP, named)
    if generated.is_file() and not folder:
        writes.append(generated.absolute().parent / "report")
    beside = [generated.with_name("output.json")]  # how the clip was encoded, which --calibrate asks for
    stage = ["-original", str(original), "-generated", str(generated), *device, *report, *rest]
    comparable = run is not None and ((run / "pose.json").is_file() or has("--pose", rest))
    if comparable and not options.no_pose and not has(GENERATED_POSE, rest):

        def check() -> int:
            return run_stage("evaluator", [*stage, "--check"], reads=beside, writes=writes)

        code, pose = second_pose(original, generated, options.force, device, check)
        if code:
            return code
        stage += pose
    return run_stage("evaluator", [*stage, *force], reads=beside, writes=writes)


def _unnamed(what: str, name: str, named: Path | None) -> Path:
    """Return the file that is taken where none was named, and say which: one here, else the run's or its reskin's."""
    if Path(name).exists():
        path = runs.real(Path(name))
        print(f"{what}: {path}", flush=True)
        return path
    run = named or runs.newest_run()
    path = runs.real(run / (runs.newest_reskin(run) if name == CLIP else "") / name)
    print(f"{what}: {path} ({'run' if named else 'the newest run,'} {run.name})", flush=True)
    return path


def _generated(name: str, named: Path | None) -> Path:
    """Return the clip that `name` means: itself, else a bare name in the newest reskin of the run."""
    if Path(name).exists() or Path(name).name != name:
        return runs.real(Path(name))
    run = named or runs.newest_run()
    return runs.find(name, run, runs.newest_reskin(run))
