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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runner import runs
from runner.comfyserver import serve
from runner.comfysource import ensure_source
from runner.envs import ensure_env
from runner.errors import RunnerError
from runner.process import ROOT, run_module

SELECT = "--select"
POINT = "--point"
"""The option of the tracker that says where the object is, beside --bbox and --select."""
POSE_OPTIONS = {
    "--object": ("--object", "NAME", "what to look for, one of COCO's 80 classes (default skateboard)"),
    "--person": ("--person", "FRAME:X,Y", "a point (or box) on the skater; default: who is nearest the object"),
    "--every": ("--every", "N", "detect people and object in every Nth frame"),
    "--detector": ("--detector", "SIZE", "the detector: nano, tiny, s, m, l or x (default nano)"),
    "--pose-backend": ("--backend", "NAME", "what finds the skeleton: auto, embedded or rtmw (default auto)"),
    "--pose-model": ("--model", "NAME", "which RTMW: rtmw-l, rtmw-x or rtmw-m"),
    "--smooth": ("--smooth", "HOW", "smooth the skeleton: savgol, one-euro or none (default savgol)"),
    "--draw": ("--draw", "STYLE", "how skeletons are drawn: vace or openpose (default vace)"),
}
"""Options of the pose stage: what the user writes, what the stage calls it, and the help. --backend and --model are the
tracker's; --device goes to both."""
PATIENCE = "--patience"
"""Option of the reskin stage: seconds to wait for a server that went away."""
GENERATED_POSE = "--generated-pose"
RTMW = "rtmw"
BAD_INPUT, INTERRUPTED = 2, (130, 143)
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


def _make_window() -> None:
    """Make the environment of --select's window and name its Python to the tracker; refused without a display."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RunnerError(
            "--select needs a display and there is none (DISPLAY is not set); write the frame with a grid instead and "
            "read the box from it: make frame VIDEO=clip.mp4 FRAME=n, then give --bbox x1,y1,x2,y2 --frame n."
        )
    os.environ["SELECTOR_PYTHON"] = str(ensure_env("selector"))


def extract(arguments: list[str]) -> int:
    """extract_physics.py: skeleton and masks of a clip."""
    parser = _parser("extract_physics.py", "Measure the object's mask and the skater's skeleton in a clip.", "tracker")
    parser.add_argument("-i", "--input", required=True, metavar="CLIP", help="the clip, such as input.mp4")
    parser.add_argument(
        "-bbox",
        "--bbox",
        metavar="X1,Y1,X2,Y2",
        help="the object's box in px on --frame; without it the object is looked for, see --object",
    )
    parser.add_argument("--select", action="store_true", help="draw the box with the mouse, where there is a display")
    parser.add_argument("--frame", metavar="N", help="the frame of the box or of --point, counted from 0 (default 0)")
    for name, (_, metavar, text) in POSE_OPTIONS.items():
        parser.add_argument(name, metavar=metavar, help=text)
    parser.add_argument("--device", metavar="WHERE", help="where all models run: auto, cuda or cpu (default auto)")
    options, rest = parser.parse_known_args(arguments)
    device = ["--device", options.device] if options.device else []
    pose = [*_given(options), *device]
    prompt = ["--bbox", options.bbox] if options.bbox else []
    by_hand = bool(prompt) or options.select or any(each.split("=")[0] == POINT for each in rest)
    if by_hand and options.object:
        raise RunnerError("--object looks for the box that --bbox, --point or --select gives; use one of them.", 2)
    prompt += ["--frame", options.frame] if options.frame else []
    if options.select:
        _make_window()
        prompt.append(SELECT)
    folder = _named_run(options.run) or runs.run_folder(runs.name_for(Path(options.input)))
    code = _extract(folder, options.input, by_hand, options.force, pose, [*prompt, *rest, *device])
    if code == 0:
        for name in ("mask.mp4", "pose.json"):
            print(f"{name}: {folder / name}")
    return code


def _extract(folder: Path, clip: str, by_hand: bool, forced: bool, pose: list[str], tracker: list[str]) -> int:
    """Run the stages; whatever cannot be used is refused before any long work.

    by_hand: the tracker's own options say where the object is. pose, tracker: the options of the two stages.
    """
    force = ["--force"] if forced else []
    run = ["--run", str(folder)]
    fresh = ["-i", clip, *run, *force]  # makes the run folder
    if by_hand:
        steps = [("tracker", [*fresh, *tracker, "--prompt-only"]), ("posegen", [*run, *force, *pose])]
    else:
        again = [*force, "--keep-detections"] if forced else []
        steps = [
            ("posegen", [*fresh, *pose, "--prompt-only"]),
            ("tracker", [*run, *tracker, "--prompt-only"]),
            ("posegen", [*run, *again, *pose]),
        ]
    # what was drawn is in prompts.json by then
    steps.append(("tracker", [*run, *force, *(each for each in tracker if each != SELECT)]))
    for number, (stage, arguments) in enumerate(steps):
        code = run_module(ensure_env(stage), stage, arguments)
        if code:
            return code
        if number == 0:
            runs.remember(folder)
    return 0


def _given(options: argparse.Namespace) -> Iterator[str]:
    """Yield the pose stage's options that were given, and their values."""
    for name, (option, _, _) in POSE_OPTIONS.items():
        value = vars(options)[name.removeprefix("--").replace("-", "_")]
        if value is not None:
            yield from (option, value)


def reskin(arguments: list[str]) -> int:
    """generate_reskin.py: paint the new object and the new skater, on a ComfyUI server that is started when needed."""
    parser = _parser("generate_reskin.py", "Paint a new object and a new skater into the clip.", "reskin")
    parser.add_argument("--mask", default="mask.mp4", metavar="FILE", help="the object's mask (default mask.mp4)")
    parser.add_argument("--pose", default="pose.json", metavar="FILE", help="the skeleton (default pose.json)")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a running ComfyUI; may be repeated, then jobs are shared out; default: one is started and stopped",
    )
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
        servers: contextlib.AbstractContextManager[list[str]] = contextlib.nullcontext(options.server)
        if not options.server:
            servers = _own_server(folder / "comfyui.log")
            if not any(each.split("=")[0] == PATIENCE for each in rest):
                forced += [PATIENCE, "5"]  # nobody starts that server again
        with servers as addresses:
            named_servers = [each for address in addresses for each in ("--server", address)]
            code = run_module(python, "reskin", [*forced, *named_servers])
    return code


@contextlib.contextmanager
def _own_server(log: Path) -> Iterator[list[str]]:
    """Start a ComfyUI server for one command and yield its address; its files go when it stops."""
    cache = runs.cache_dir()
    source = ensure_source(ROOT / "comfyui" / "pins.toml", cache)
    python = ensure_env("comfyui")
    for left in cache.glob("work-*"):  # of a command that was killed
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    with (
        tempfile.TemporaryDirectory(prefix=f"work-{os.getpid()}-", dir=cache) as work,
        serve(python, source, Path(work), log, models=runs.models_dir()) as address,
    ):
        yield [address]


def pose_again(stages: Mapping[str, Any]) -> list[str]:
    """Return the pose stage's options that find a skeleton in another clip as run.json says the run's own was found.

    The network and its size, the smoothing, and the detector where there was one, else none. The device is not among
    them: it is a machine's, not a result's.
    """
    made, detected = stages["posegen"], stages.get("detect")
    params = made["params"]
    options = ["--backend", params["backend"]] if "backend" in params else []
    if params.get("backend") == RTMW:
        options += ["--model", made["tools"]["name"].lower()]
    if "smoothing" in params:
        options += ["--smooth", params["smoothing"]["method"]]
    if detected and "boxes" in params:
        options += ["--detector", detected["tools"]["detector"].removeprefix("yolox-")]
        return [*options, "--every", str(detected["params"]["every"])]
    return [*options, "--no-detector"]


def _skater_again(stages: Mapping[str, Any]) -> list[str]:
    """Return the option that says which of the people is the skater: the one who stands where he did in the source."""
    place = stages["posegen"].get("notes", {}).get("skater")
    if not place or "boxes" not in stages["posegen"]["params"]:
        return []
    return ["--person", f"{place['frame']}:{','.join(str(each) for each in place['box'])}"]


def _second_pose(
    original: Path, generated: Path, force: bool, device: list[str], check: Callable[[], int]
) -> tuple[int, list[str]]:
    """Find the skeleton in a generated clip that lies in its run; return an exit code to stop with, and options.

    It is found as the run's own was, in a run folder that is thrown away; pose.json stays beside the clip. Not again
    where the last evaluation had this clip and this skeleton. Without it the gate still has its verdict, so a failure
    is only said. device: the option, where it was given; the embedded backend has none. check: refuses what the
    evaluator would, with its exit code, before anything is done.
    """
    run = runs.run_of(original)
    if run is None or run.resolve() not in generated.resolve().parents or not generated.is_file():
        return 0, []
    folder, pose = generated.resolve().parent, generated.with_name("pose.json")
    try:
        stages = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]
        again, skater = pose_again(stages), _skater_again(stages)
        known = stages.get(f"evaluator/{folder.name}", {}).get("inputs", {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0, []  # the evaluator says what is wrong with the run, if anything is
    options = [GENERATED_POSE, str(pose)]
    names = {path: path.resolve().relative_to(run.resolve()).as_posix() for path in (generated, pose)}
    if not force and all(path.is_file() and known.get(name) == _sha256(path) for path, name in names.items()):
        return 0, options
    code = check()
    if code:
        return code, []
    scratch = folder / f".pose.{os.getpid()}.partial"  # a killed command's is cleared away with other partial files
    try:
        arguments = ["--run", str(scratch), "-i", str(generated), *again, *(device if RTMW in again else [])]
        code = run_module(ensure_env("posegen"), "posegen", [*arguments, *skater])
        if code == BAD_INPUT and skater:  # nobody is where he was: then whoever there is, which may be nobody
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
    parser.add_argument("--device", metavar="DEVICE", help="where tracker and pose network run: auto, cuda or cpu")
    parser.add_argument("--no-pose", action="store_true", help="do not look for the skater in the generated clip")
    options, rest = parser.parse_known_args(arguments)
    named = _named_run(options.run)
    force = ["--force"] if options.force else []
    device = ["--device", options.device] if options.device else []
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
            checked = ["-original", str(original), *pair, *device, *rest, "--check"]

            def check() -> int:
                return run_module(ensure_env("evaluator"), "evaluator", checked)

            code, pose = _second_pose(original, Path(name), options.force, device, check)
            if code:
                return code
            pair += pose
    return run_module(ensure_env("evaluator"), "evaluator", ["-original", str(original), *pair, *device, *force, *rest])
