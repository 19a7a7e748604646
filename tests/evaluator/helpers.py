"""What these tests share: a skater, a reskin, a report read back, and the figures' definitions as one reads them.

The definitions are over sets of pixels and plain loops: what the fast code is held against.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner, Result
from numpy.typing import NDArray

from evaluator.cli import command
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person, PoseWriter
from handoff.run import Run
from handoff.video import ClipInfo, Frame, VideoWriter
from tests.helpers import vouch_for

FRAMES, CRF, BLUE = 14, 12, (30, 60, 230)
REPORTS = {"iou.csv", "iou.json", "junit.xml", "summary.md", "iou.png", "overlay.mp4"}


def stick_figure(dx: float = 0.0, seen: float = 0.9) -> Person:
    """A standing person of 100 px around (120, 60): all body and foot keypoints, moved by dx px."""
    xs = [0, 2, -2, 4, -4, 10, -10, 14, -14, 15, -15, 7, -7, 8, -8, 8, -8, 12, 13, 6, -12, -13, -6]
    ys = [8, 6, 6, 7, 7, 22, 22, 38, 38, 52, 52, 55, 55, 75, 75, 96, 96, 100, 100, 99, 100, 100, 99]
    keypoints, scores = np.zeros((N_KEYPOINTS, 2), np.float32), np.zeros(N_KEYPOINTS, np.float32)
    keypoints[:23] = np.stack([np.array(xs) + 120 + dx, np.array(ys) + 10], axis=1)
    scores[:23] = seen
    return Person(Box(100 + dx, 10, 140 + dx, 112), keypoints, scores)


def masks_against(*options: object) -> Result:
    """The command in this process; errors come through."""
    arguments = [str(each) for each in options]
    return CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)


def write_poses(path: Path, info: ClipInfo, people: Iterable[list[Person]]) -> Path:
    with PoseWriter(path, info, {"model": "test"}) as writer:
        for each in people:
            writer.write(each)
    vouch_for(path)
    return path


def write_output(run: Run, frames: Iterable[Frame]) -> Path:
    """Encode what was painted as the reskin stage does, with its output.json."""
    folder = run.path("reskins/drone")
    folder.mkdir(parents=True, exist_ok=True)
    with VideoWriter(folder / "output.mp4", run.info.fps, run.info.width, run.info.height, crf=CRF) as writer:
        for frame in frames:
            writer.write(frame)
    (folder / "output.json").write_text(json.dumps({"encoder": {"codec": "h264", "crf": CRF}}))
    return folder / "output.mp4"


def read_report(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "iou.json").read_text())
    return data


SHA, OTHER = "a" * 64, "b" * 64


def takes_document(clip: str = SHA, frames: int = FRAMES) -> dict[str, Any]:
    """Two windows and three rounds: the second window fails in the same two frames, whatever the take."""
    half = frames // 2
    stuck = [frames - 2, frames - 1]

    def take(window: int, number: int, failing: list[int]) -> dict[str, Any]:
        kinds = {"gap": len(failing)} if failing else {}
        worst = 0.5 if failing else 0.95
        return {
            "window": window,
            "take": number,
            "seed": number,
            "setting": 0,
            "failing": failing,
            "worst_iou": worst,
            "kinds": kinds,
        }

    def round_of(number: int, chosen: list[int], failing: list[int], painted: int, sha256: str) -> dict[str, Any]:
        results = [[frame not in failing, 0.5 if frame in failing else 0.95, 0.9, False] for frame in range(frames)]
        counts = {"failing": len(failing), "worst_iou": 0.5, "worst_frame": failing[0], "kinds": {"gap": len(failing)}}
        made = [{"window": 1, "take": number, "seed": number}] * painted
        return {"number": number, "paintings": made, "chosen": chosen, "clip": sha256, "results": results} | counts

    return {
        "schema": 1,
        "of": "inputs",
        "settings": [{}],
        "windows": [[0, half - 1], [half, frames - 1]],
        "takes": [take(0, 1, []), take(1, 1, [half, *stuck]), take(1, 2, stuck), take(1, 3, [half, *stuck])],
        "rounds": [
            round_of(1, [1, 1], [half, *stuck], 2, OTHER),
            round_of(2, [1, 2], stuck, 1, clip),
            round_of(3, [1, 3], [half, *stuck], 1, OTHER),
        ],
    }


def write_takes(folder: Path, found: object) -> Path:
    """Write takes.json; a text as it is."""
    path = folder / "takes.json"
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return path


Pixels = set[tuple[int, int]]


def pixels(mask: NDArray[np.bool_]) -> Pixels:
    return {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}


def boundary(mask: NDArray[np.bool_]) -> Pixels:
    """Pixels unlike their right, lower or lower right neighbour; beyond the frame nothing differs (DAVIS)."""
    height, width = mask.shape
    found = set()
    for y in range(height):
        for x in range(width):
            right, below = min(x + 1, width - 1), min(y + 1, height - 1)
            if mask[y, x] != mask[y, right] or mask[y, x] != mask[below, x] or mask[y, x] != mask[below, right]:
                found.add((y, x))
    return found


def share_near(points: Pixels, others: Pixels, reach: int) -> float:
    near = sum(any((y - b) ** 2 + (x - a) ** 2 <= reach**2 for b, a in others) for y, x in points)
    return near / len(points)


def boundary_f(original: NDArray[np.bool_], generated: NDArray[np.bool_]) -> float:
    reach = math.ceil(0.008 * math.hypot(*original.shape))
    first, second = boundary(generated), boundary(original)
    if not first or not second:
        return 1.0 if first == second else 0.0
    precision, recall = share_near(first, second, reach), share_near(second, first, reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def shifted_iou(mask: NDArray[np.bool_]) -> float:
    """The lowest IoU of a mask with itself one pixel further, on a plane without edges."""
    here = pixels(mask)
    moved = [{(y + dy, x + dx) for y, x in here} for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    return min(len(here & there) / len(here | there) for there in moved)
