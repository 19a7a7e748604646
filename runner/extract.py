"""extract_physics.py: skeleton and masks of a clip.

Options that only a stage knows are passed on as they are; `--help` of the stage lists them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from runner import runs
from runner.arguments import has, named_run, stage_parser
from runner.envs import ensure_env
from runner.errors import RunnerError
from runner.stages import run_stage, runner

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


def _make_window() -> None:
    """Make the environment of --select's window and name its Python to the tracker; refused without a display."""
    if runner() == "docker":
        raise RunnerError(
            "--select opens a window, which a container cannot; use RUNNER=local, or write the frame with a grid, "
            "make frame VIDEO=clip.mp4 FRAME=n, and read the box from it."
        )
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RunnerError(
            "--select needs a display and there is none (DISPLAY is not set); write the frame with a grid instead and "
            "read the box from it: make frame VIDEO=clip.mp4 FRAME=n, then give --bbox x1,y1,x2,y2 --frame n."
        )
    os.environ["SELECTOR_PYTHON"] = str(ensure_env("selector"))


def extract(arguments: list[str]) -> int:
    """extract_physics.py: skeleton and masks of a clip."""
    parser = stage_parser(
        "extract_physics.py", "Measure the object's mask and the skater's skeleton in a clip.", "tracker"
    )
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
    by_hand = bool(prompt) or options.select or has(POINT, rest)
    if by_hand and options.object:
        raise RunnerError("--object looks for the box that --bbox, --point or --select gives; use one of them.", 2)
    prompt += ["--frame", options.frame] if options.frame else []
    if options.select:
        _make_window()
        prompt.append(SELECT)
    folder = named_run(options.run) or runs.run_folder(runs.name_for(Path(options.input)))
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
        steps = [("tracker", [*fresh, *tracker, "--check"]), ("posegen", [*run, *force, *pose])]
    else:
        again = [*force, "--keep-detections"] if forced else []
        steps = [
            ("posegen", [*fresh, *pose, "--prompt-only"]),
            ("tracker", [*run, *tracker, "--check"]),
            ("posegen", [*run, *again, *pose]),
        ]
    # what was drawn is in prompts.json by then
    steps.append(("tracker", [*run, *force, *(each for each in tracker if each != SELECT)]))
    for number, (stage, arguments) in enumerate(steps):
        code = run_stage(stage, arguments, writes=[folder])
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
