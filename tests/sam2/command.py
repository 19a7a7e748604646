"""`python -m tracker` with the small random SAM 2.1: its weights in a registry and models folder of the tests'."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from handoff.box import Box
from handoff.masks import read_masks
from handoff.poses import N_KEYPOINTS, Person, PoseWriter
from handoff.prompts import Prompt, write_prompt
from handoff.run import Run
from handoff.video import probe
from tests.sam2.conftest import IMAGE_SIZE
from tests.sam2.standin import SMALL
from tracker.cli import command
from tracker.sam2.frames import ClipFrames
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session, exclusive_masks

Masks = NDArray[np.bool_]  # (frames, H, W)

CLIP_FRAMES = 14
BOX, OTHER = Box(20, 20, 50, 50), Box(60, 10, 90, 60)
BOXED = ("--bbox", str(BOX), "--frame", "5")
TINY = ("--model", "tiny", "--device", "cpu")

_ENTRY = """
[weights.sam2-1-hiera-{name}]
file = "sam2/sam2.1_hiera_{file}.pt"
url = "https://weights.example/sam2.1_hiera_{file}.pt"
sha256 = "{sha256}"
licence = "Apache-2.0"
licence_url = "https://weights.example/LICENSE"
profiles = ["tracker-{name}"]
"""
_FILES = {"tiny": "tiny", "small": "small", "base-plus": "base_plus", "large": "large"}


def environment(folder: Path, checkpoint: tuple[Path, str], *, weights: bool = True) -> dict[str, str]:
    """Make a registry and a models folder in which, with `weights`, hiera-tiny's file is the checkpoint."""
    path, sha256 = checkpoint
    models = folder / "models"
    models.mkdir(parents=True)
    if weights:
        (models / "sam2.1_hiera_tiny.pt").symlink_to(path)
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in _FILES} | {"tiny": sha256}
    text = "schema = 1\ndefault = []\n[profiles]\n" + "".join(f'tracker-{name} = "a size"\n' for name in _FILES)
    text += "".join(_ENTRY.format(name=name, file=file, sha256=digests[name]) for name, file in _FILES.items())
    (folder / "weights.toml").write_text(text)
    return {
        "WEIGHTS_TOML": str(folder / "weights.toml"),
        "MODELS_DIR": str(models),
        "TRACKER_SAM2_OVERRIDES": " ".join([f"++model.image_size={IMAGE_SIZE}", *SMALL]),
    }


def invoke(run: Run, *options: str) -> Result:
    return CliRunner().invoke(command, ["--run", str(run.dir), *options], catch_exceptions=False, standalone_mode=False)


def stage_of(run: Run) -> dict[str, Any]:
    stage: dict[str, Any] = json.loads((run.dir / "run.json").read_text())["stages"]["tracker"]
    return stage


def masks_of(run: Run, name: str = "mask.mp4") -> Masks:
    return np.array(list(read_masks(run.path(name))))


def expected(
    predictor: Predictor,
    run: Run,
    prompts: Sequence[dict[str, Any]],
    skater: Sequence[dict[str, Any]] = (),
    shot: range | None = None,
) -> tuple[Masks, Masks | None]:
    """What the session gives for the same prompts, object and skater, in the whole clip or in one shot of it."""
    info = probe(run.source)
    shot = shot or range(info.frames)
    things, humans = [], []
    with Sam2Session(predictor, ClipFrames(run.source, info, shot.start, shot.stop), spool_dir=run.dir) as session:
        for identity, places in ((1, prompts), (2, skater)):
            for place in places:
                session.add_prompt(
                    place["frame"] - shot.start, identity, **{k: v for k, v in place.items() if k != "frame"}
                )
        for frame in session.propagate():
            masks = exclusive_masks(frame.logits)
            things.append(masks[1])
            humans.append(masks.get(2, masks[1]))
    return np.array(things), np.array(humans) if skater else None


def write_pose(run: Run) -> None:
    """The skater of the pose stage: two sure keypoints in his box, one beside it, one unsure; other frames differ."""
    keypoints = np.zeros((N_KEYPOINTS, 2), np.float32)
    scores = np.zeros(N_KEYPOINTS, np.float32)
    for index, (x, y, score) in enumerate([(70, 20, 0.8), (75.5, 50, 0.9), (5, 5, 0.99), (80, 40, 0.3)]):
        keypoints[index], scores[index] = (x, y), score
    with PoseWriter(run.path("pose.json"), {"model": "test"}) as writer:
        for frame in range(run.info.frames):
            writer.write([Person(OTHER, keypoints + (frame != 3), scores)])
    write_prompt(run, "skater", Prompt(OTHER, 3, "pose"))
