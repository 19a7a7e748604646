"""evaluate_iou.py: the new object tracked again and held against the old outline, frame by frame.

Where the source has a skeleton, the generated clip's is found first, as the run's own was, for the evaluator to compare
the two (`second_pose`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from runner import runs
from runner.commands import FORCE, RUN, CommandLine, Option, named, passed_on
from runner.holds import held_folder
from runner.process import RunnerError, say
from runner.stages import start_stage

GENERATED_POSE, GENERATED_DETECTIONS = "--generated-pose", "--generated-detections"
MISSING, INTERRUPTED = 3, (130, 143)
MASK, CLIP, DETECTIONS = "mask.mp4", "output.mp4", "detections.json"
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
    mask, clip = given.value("--original"), given.value("--generated")
    original = runs.find(mask, named_run) if mask else _unnamed("original", MASK, named_run)
    run = runs.run_of(original)
    writes = [*([run] if run else []), *([folder] if folder else [])]
    if given.has("--generated-mask"):
        stage = ["-original", str(original), *device, *report, *rest]
        return start_stage("evaluator", [*stage, *force], writes=writes)
    generated = _generated(clip, named_run) if clip else _unnamed("generated", CLIP, named_run)
    if generated.is_file() and not folder:
        runs.check_plain(generated.parent / "report")
        writes.append(generated.absolute().parent / "report")
    beside = [generated.with_name("output.json")]  # how the clip was encoded, which --calibrate asks for
    stage = ["-original", str(original), "-generated", str(generated), *device, *report, *rest]
    comparable = run is not None and ((run / "pose.json").is_file() or given.has("--pose"))
    if comparable and not given.has("--no-pose") and not given.has(GENERATED_POSE):

        def check() -> int:
            return start_stage("evaluator", [*stage, "--check"], reads=beside, writes=writes)

        code, pose = second_pose(original, generated, bool(force), device, check)
        if code:
            return code
        stage += pose
    return start_stage("evaluator", [*stage, *force], reads=beside, writes=writes)


def draw_takes(reskin: Path) -> int:
    """Have takes.png drawn in a reskin's folder; it decides nothing, so a failure is only said.

    Return the code: of an interruption, by SIGTERM too, that of Ctrl-C.
    """
    run = runs.run_of(reskin / CLIP) or reskin
    try:
        code = start_stage("evaluator", [str(reskin)], writes=[run], module="evaluator.report")
    except RunnerError as error:
        print(f"warning: takes.png is not drawn: {error}", file=sys.stderr)
        return error.exit_code
    return INTERRUPTED[0] if code in INTERRUPTED else code


def _unnamed(what: str, name: str, named_run: Path | None) -> Path:
    """Return the file that is taken where none was named, and say which: one here, else the run's or its reskin's."""
    if Path(name).exists():
        path = runs.real_file(Path(name))
        say(f"{what}: {path}")
        return path
    run = named_run or runs.newest_run()
    path = runs.real_file(run / (runs.newest_reskin(run) if name == CLIP else "") / name)
    say(f"{what}: {path} ({'run' if named_run else 'the newest run,'} {run.name})")
    return path


def _generated(name: str, named_run: Path | None) -> Path:
    """Return the clip that `name` means: itself, else a bare name in the newest reskin of the run."""
    if Path(name).exists() or Path(name).name != name:
        return runs.real_file(Path(name))
    run = named_run or runs.newest_run()
    return runs.find(name, run, runs.newest_reskin(run))


def second_pose(
    original: Path, generated: Path, force: bool, device: list[str], check: Callable[[], int]
) -> tuple[int, list[str]]:
    """Find the skeleton in a generated clip that lies in its run; return an exit code to stop with, and options.

    It is found as the run's own was (the pose stage's --again-as), in a run folder that is thrown away; pose.json stays
    beside the clip, and detections.json where a detector was asked. Not again where the last evaluation had this clip,
    this skeleton and the run's own as it is. Without it the gate still has its verdict, so a failure, an environment or
    image that cannot be made too, is only said. device: the option, where it was given. check: refuses what the
    evaluator would, with its exit code, before anything is done.
    """
    run = runs.run_of(original)
    if run is None or run.resolve() not in generated.resolve().parents or not generated.is_file():
        return 0, []
    folder, pose, own = generated.resolve().parent, generated.with_name("pose.json"), run / "pose.json"
    detections, known = generated.with_name(DETECTIONS), _known(folder)
    below = folder.relative_to(run)
    names = {generated: below / generated.name, pose: below / pose.name, own: Path(own.name)}
    if os.path.lexists(detections):
        names[detections] = below / DETECTIONS
    for path in names:
        runs.check_way(path)
    there = all(path.is_file() for path in names)
    if not force and there and all(known.get(name.as_posix()) == runs.sha256(path) for path, name in names.items()):
        return 0, _found_again(pose, detections)
    code = check()
    if code:
        return code, []
    try:
        with held_folder(runs.data_dir(), "pose") as scratch:  # the user's own: the run may come from anybody
            arguments = ["--run", str(scratch), "-i", str(generated), "--again-as", str(run), *device]
            code = start_stage("posegen", arguments, writes=[scratch])
            if code == 0:
                runs.put_file(scratch / "pose.json", folder / pose.name, run)
                if (scratch / DETECTIONS).is_file():
                    runs.put_file(scratch / DETECTIONS, folder / DETECTIONS, run)
                else:
                    runs.remove_file(folder / DETECTIONS, run)
                say(f"{pose.name}: {pose}")
    except (RunnerError, OSError) as error:
        print(f"warning: {error}", file=sys.stderr)
        code = MISSING
    if code in INTERRUPTED:
        return code, []
    if code:
        print("warning: the skater's figures will be missing: no skeleton of the generated clip", file=sys.stderr)
        return 0, []
    return 0, _found_again(pose, detections)


def _found_again(pose: Path, detections: Path) -> list[str]:
    """Return the stage's options for what was found in the generated clip."""
    seen = [GENERATED_DETECTIONS, str(detections)] if detections.is_file() else []
    return [GENERATED_POSE, str(pose), *seen]


def _known(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of what the last evaluation of a reskin read, by path; nothing where there was none."""
    known = runs.within(runs.read_manifest(folder / runs.MANIFEST), "stages", "evaluator", "inputs")
    return known if isinstance(known, dict) else {}
