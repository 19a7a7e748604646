"""evaluate_iou.py: the new object tracked again and held against the old outline, frame by frame."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from runner import runs
from runner.commands import FORCE, RUN, CommandLine, Given, Option, named, passed_on
from runner.secondpose import GENERATED_POSE, second_pose
from runner.stages import start_stage

MASK, CLIP = "mask.mp4", "output.mp4"
OWN = {"--original": MASK, "--generated": CLIP, "--device": "auto", "--output": None}
"""Options of the stage that are looked at here first, with what they are where they are not given."""
NO_POSE = Option(("--no-pose",), "Do not look for the skater in the generated clip.")


def command_line() -> CommandLine:
    """Return the options: the evaluator's, and --no-pose."""
    stage = passed_on("evaluator")
    own = {name: replace(named(stage, name), goes={}, default=default, required=False) for name, default in OWN.items()}
    own["--device"] = replace(own["--device"], help="Where tracker and pose network run.")
    what = "Prove frame by frame that the new object fills the old outline."
    return CommandLine("evaluate_iou.py", what, [*(own.get(each.name, each) for each in stage), RUN, NO_POSE, FORCE])


def evaluate(arguments: list[str]) -> int:
    """evaluate_iou.py: track the new object and hold it against the old outline, frame by frame."""
    given = command_line().parse(arguments)
    named_run = runs.named_run(given.value("--run"))
    force = ["--force"] if given.has("--force") else []
    device = ["--device", str(given.value("--device"))] if given.has("--device") else []
    output, rest = given.value("--output"), given.of("evaluator")
    folder = runs.real(Path(output)) if output else None
    report = ["--output", str(folder)] if folder else []
    original = runs.find(given.value("--original") or MASK, named_run)
    run = runs.run_of(original)
    tracking = device if _tracks_on_a_device(run, given) else []
    if device and not tracking:
        said = f"{' '.join(device)}: the run's embedded tracker knows no devices; it is for the pose network only"
        print(said, file=sys.stderr, flush=True)
    writes = [*([run] if run else []), *([folder] if folder else [])]
    if given.has("--generated-mask"):
        stage = ["-original", str(original), *tracking, *report, *rest]
        return start_stage("evaluator", [*stage, *force], writes=writes)
    generated = _generated(given.value("--generated") or CLIP, named_run)
    if generated.is_file() and not folder:
        writes.append(generated.absolute().parent / "report")
    beside = [generated.with_name("output.json")]  # how the clip was encoded, which --calibrate asks for
    stage = ["-original", str(original), "-generated", str(generated), *tracking, *report, *rest]
    comparable = run is not None and ((run / "pose.json").is_file() or given.has("--pose"))
    if comparable and not given.has("--no-pose") and not given.has(GENERATED_POSE):

        def check() -> int:
            return start_stage("evaluator", [*stage, "--check"], reads=beside, writes=writes)

        code, pose = second_pose(original, generated, bool(force), device, check)
        if code:
            return code
        stage += pose
    return start_stage("evaluator", [*stage, *force], reads=beside, writes=writes)


def _tracks_on_a_device(run: Path | None, given: Given) -> bool:
    """Say whether the tracker takes --device: SAM 2.1 does, the run's or the one that is asked for.

    Where that is not known it is handed over, and the evaluator says what it thinks of it.
    """
    if run is None or given.has("--backend") or given.has("--model"):
        return True
    try:
        stages = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]
        return bool(stages["tracker"]["params"]["backend"] != "embedded")
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _generated(name: str, named_run: Path | None) -> Path:
    """Return the clip that `name` means: itself, else a bare name in the newest reskin of the run."""
    if Path(name).exists() or Path(name).name != name:
        return runs.real(Path(name))
    run = named_run or runs.newest_run()
    return runs.find(name, run, runs.newest_reskin(run))
