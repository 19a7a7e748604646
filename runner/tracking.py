"""extract_tracking.py: the object's masks alone, by SAM 2.1 from a checkpoint and a configuration that are named.

It is the tracker's own command under other names. The output folder is a run folder: beside the masks it has
source.mp4, the clip that they belong to frame by frame, and the other commands go on from it.
"""

from __future__ import annotations

from pathlib import Path

from runner import runs
from runner.commands import FORCE, CommandLine, Option, named, options_of
from runner.process import RunnerError
from runner.stages import start_stage

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


def command_line() -> CommandLine:
    """Return the options: four by the names that the tracker does not know them by, and three of its own."""
    stage = options_of("tracker")
    what = "Find the object in every frame of a clip with SAM 2.1: its masks, without the skater's skeleton."
    return CommandLine("extract_tracking.py", what, [*OWN, *(named(stage, each) for each in AS_THEY_ARE), FORCE])


def track(arguments: list[str]) -> int:
    """extract_tracking.py: what is not there, or not said, is refused before anything is made."""
    given = command_line().parse(arguments)
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
            print(f"{name}: {folder / name}")
    return code
