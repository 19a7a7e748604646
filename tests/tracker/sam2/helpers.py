"""Frames for SAM 2.1 in memory and in a folder, and upstream's own plain loop to compare with.

The small SAM 2.1 that stands in for the real one is the benchmark's, bench/standin.py. `environment` puts its weights
into a registry and a models folder of the tests', for `python -m tracker`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.scenes import moving_scene
from bench.standin import SMALL, small_predictor, write_checkpoint
from handoff.places import Box, Prompt, write_prompt
from handoff.poses import N_KEYPOINTS, Person, PoseWriter
from handoff.run import Run
from handoff.video import Frame, probe
from tests.helpers import vouch_for
from tests.tracker.helpers import write_registry
from tracker.sam2.frames import ClipFrames
from tracker.sam2.predictor import Predictor
from tracker.sam2.session import Sam2Session, exclusive_masks

__all__ = ["SMALL", "moving_scene", "small_predictor", "write_checkpoint"]

IMAGE_SIZE = 128
FRAMES = 64


class ArrayFrames:
    """Frames that are already in memory, as a source."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.height, self.width = frames[0].shape[:2]
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        return iter(self.frames[start:stop])


def write_frame_folder(folder: Path, frames: Sequence[Frame]) -> Path:
    """A folder as upstream wants it, without loss: PNG data in files named .jpg (Pillow goes by the content)."""
    folder.mkdir(parents=True)
    for index, frame in enumerate(frames):
        data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{index:05d}.jpg").write_bytes(data.tobytes())
    return folder


Logits = dict[int, dict[int, NDArray[np.float32]]]  # frame to object to (H, W)


def upstream_logits(predictor: Predictor, folder: Path, prompts: Sequence[dict[str, object]]) -> Logits:
    """Upstream's plain loop: all prompts into one state, forward from the first one, then backward."""
    state = predictor.init_state(str(folder))  # type: ignore[attr-defined]
    for prompt in prompts:
        add = predictor.add_new_mask if "mask" in prompt else predictor.add_new_points_or_box
        add(state, **prompt)
    result: Logits = {}
    for reverse in (False, True):
        for index, ids, logits in predictor.propagate_in_video(state, start_frame_idx=None, reverse=reverse):  # type: ignore[arg-type]
            result[index] = {identity: logits[row, 0].numpy().copy() for row, identity in enumerate(ids)}
    return result


Masks = NDArray[np.bool_]  # (frames, H, W)

CLIP_FRAMES = 14
BOX, OTHER = Box(20, 20, 50, 50), Box(60, 10, 90, 60)
BOXED = ("--bbox", str(BOX), "--frame", "5")
TINY = ("--model", "tiny", "--device", "cpu")


def environment(folder: Path, checkpoint: tuple[Path, str], *, weights: bool = True) -> dict[str, str]:
    """Make a registry and a models folder in which, with `weights`, hiera-tiny's file is the checkpoint."""
    path, sha256 = checkpoint
    models = folder / "models"
    models.mkdir(parents=True)
    if weights:
        (models / "sam2.1_hiera_tiny.pt").symlink_to(path)
    return {
        "WEIGHTS_TOML": str(write_registry(folder / "weights.toml", tiny=sha256)),
        "MODELS_DIR": str(models),
        "TRACKER_SAM2_OVERRIDES": " ".join([f"++model.image_size={IMAGE_SIZE}", *SMALL]),
    }


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
    with PoseWriter(run.path("pose.json"), run.info, {"model": "test"}) as writer:
        for frame in range(run.info.frames):
            writer.write([Person(OTHER, keypoints + (frame != 3), scores)])
    vouch_for(run.path("pose.json"))
    write_prompt(run, "skater", Prompt(OTHER, 3, "pose"))
