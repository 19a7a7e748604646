"""extract_physics.py: skeleton and masks of a clip; and extract_tracking.py: the masks alone.

The options are those of the tracker and of the pose stage (runner/commands.py). A name that both have is the tracker's
here; the pose stage's option has its other one, --pose-NAME. extract_tracking.py is the tracker's own command under
other names. Its output folder is a run folder: beside the masks it has source.mp4, the clip that they belong to frame
by frame, and the other commands go on from it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from runner import runs
from runner.commands import FORCE, RUN, CommandLine, Option, beside, named, options_of, passed_on, shared
from runner.envs import ensure_env
from runner.process import RunnerError, say
from runner.stages import chosen, start_stage

SELECT, DEVICE = "--select", "--device"
BY_HAND = ("--bbox", "--point", SELECT)
"""The tracker's options that say where the object is."""
MISSING, INTERRUPTED = 3, (130, 137, 143)
CLIP = Option(("-i", "--input"), "The clip, such as input.mp4.", "CLIP", required=True)
MASKS = "mask_skateboard"
OWN = [
    Option(("--video",), "The clip, such as input.mp4.", "CLIP", required=True),
    Option(
        ("--output",),
        "The folder for mask.mp4 and mask_skateboard/frame_00000.png, or that mask_skateboard.",
        "DIR",
        required=True,
    ),
    Option(
        ("--sam_checkpoint", "--sam-checkpoint"),
        "SAM 2.1's weights; their SHA-256 must be one that weights.toml has.",
        "FILE",
        required=True,
    ),
    Option(
        ("--sam_config", "--sam-config"),
        "The configuration that fits them, such as configs/sam2.1/sam2.1_hiera_l.yaml.",
        "NAME",
        required=True,
    ),
]
AS_THEY_ARE = ("--bbox", "--frame", "--device")


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
    if not os.path.exists(clip):  # False also for a name that is too long for one
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
            say(f"{name}: {folder / name}")
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


def tracking_line() -> CommandLine:
    """Return the options: four by the names that the tracker does not know them by, and three of its own."""
    stage = options_of("tracker")
    what = "Find the object in every frame of a clip with SAM 2.1: its masks, without the skater's skeleton."
    return CommandLine("extract_tracking.py", what, [*OWN, *(named(stage, each) for each in AS_THEY_ARE), FORCE])


def track(arguments: list[str]) -> int:
    """extract_tracking.py: what is not there, or not said, is refused before anything is made."""
    given = tracking_line().parse(arguments)
    video, checkpoint = (Path(given.values(name)[-1]) for name in ("--video", "--sam_checkpoint"))
    if not given.has("--bbox"):
        raise RunnerError(
            "where is the object? Give its box in pixels: --bbox x1,y1,x2,y2, and --frame N for the frame it is on; "
            "extract_physics.py looks for it.",
            2,
        )
    if not video.is_file():
        raise RunnerError(f"there is no file {video}; check the path.", 2)
    if not checkpoint.is_file():
        raise RunnerError(
            f"there is no checkpoint {checkpoint}; run make weights PROFILE=tracker, which puts SAM 2.1's into "
            f"{runs.models_dir() / 'sam2'}, or name the file where you have it."
        )
    output = Path(given.values("--output")[-1])
    folder = runs.real(output.parent if output.name == MASKS else output)
    stage = ["--input", str(runs.real(video)), "--run", str(folder), "--backend", "sam2"]
    stage += ["--checkpoint", str(runs.real(checkpoint)), "--config", given.values("--sam_config")[-1]]
    stage += [*given.of("tracker"), *(["--force"] if given.has("--force") else [])]
    code = start_stage("tracker", stage, writes=[folder])
    if code == 0:
        for name in ("mask.mp4", MASKS):
            say(f"{name}: {folder / name}")
    return code
