"""extract_physics.py: skeleton and masks of a clip.

The options are those of the tracker and of the pose stage (runner/commands.py). A name that both have is the tracker's
here; the pose stage's option has its other one, --pose-NAME.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from runner import runs
from runner.commands import FORCE, RUN, CommandLine, Option, beside, named, passed_on, shared
from runner.envs import ensure_env
from runner.process import RunnerError
from runner.stages import chosen, start_stage

SELECT, DEVICE = "--select", "--device"
BY_HAND = ("--bbox", "--point", SELECT)
"""The tracker's options that say where the object is."""
MISSING, INTERRUPTED = 3, (130, 137, 143)
CLIP = Option(("-i", "--input"), "The clip, such as input.mp4.", "CLIP", required=True)


def _make_window() -> None:
    """Make the environment of --select's window and name its Python to the tracker; refused without a display."""
    if chosen() == "docker":
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


def command_line() -> CommandLine:
    """Return the options: the tracker's under their own names, then the pose stage's, and --device for both."""
    tracking, posing = passed_on("tracker"), passed_on("posegen")
    device = shared(named(tracking, DEVICE), named(posing, DEVICE))
    tracking = [each for each in tracking if DEVICE not in each.names]
    posing = [each for each in posing if DEVICE not in each.names]
    device = replace(device, help="Where all models run. auto: on the GPU where there is one that works.")
    return CommandLine(
        "extract_physics.py",
        "Measure the object's mask and the skater's skeleton in a clip. The object is looked for (--object) unless its "
        "box is given (--bbox, --point or --select).",
        [CLIP, RUN, *tracking, *beside(tracking, posing), device, FORCE],
    )


def extract(arguments: list[str]) -> int:
    """extract_physics.py: skeleton and masks of a clip."""
    given = command_line().parse(arguments)
    clip = given.values("--input")[-1]
    by_hand = any(given.has(name) for name in BY_HAND)
    if by_hand and given.has("--object"):
        raise RunnerError("--object looks for the box that --bbox, --point or --select gives; use one of them.", 2)
    if not Path(clip).exists():
        raise RunnerError(f"there is no file {clip}; check the path.", 2)
    folder = runs.named_run(given.value("--run")) or runs.run_folder(runs.name_for(Path(clip)))
    if given.has(SELECT):
        _make_window()
    existed, before, code = folder.exists(), runs.newest(folder.parent), MISSING
    try:
        code = _extract(folder, clip, by_hand, given.has("--force"), given.of("posegen"), given.of("tracker"))
    finally:
        if not existed and code not in INTERRUPTED:
            _remove_without_stages(folder, before, Path(clip))
    if code == 0:
        for name in ("mask.mp4", "pose.json"):
            print(f"{name}: {folder / name}")
    return code


def _remove_without_stages(folder: Path, before: Path | None, clip: Path) -> None:
    """Take away a run folder that this command made, where no stage came to its end in it; the run `before` it is the
    newest again. One that another command made meanwhile, of another clip, is left alone.
    """
    held = runs.clip_of(folder)
    ours = held is None or held[0] == clip.resolve()
    if ours and folder.is_dir() and not runs.stages_of(folder) and runs.remove_unused(folder) and before:
        runs.remember(before)


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
    ours = ""
    for number, (stage, arguments) in enumerate(steps):
        code = start_stage(stage, arguments, writes=[folder])
        if code:
            return code
        if number == 0:
            runs.remember(folder)
            ours = runs.sha256(Path(clip))
        held = runs.clip_of(folder)
        if held is not None and held[1] != ours:
            told = f"another command began the run {folder} anew of another clip; give this one --run NAME."
            raise RunnerError(told, 2)
    return 0
