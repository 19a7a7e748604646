"""What smoothing does to the keypoints of runs: python -m runner.tools bench.smoothing data/runs/NAME/pose.json ...

It starts from the keypoints as the model gave them. For each file and method:
- jitter: the second difference of shoulders and hips, px a frame squared, median and 95th percentile: of a trunk, most
  of that is noise;
- fast_moved: how far the wrists are moved in the tenth of the frames where they are fastest (from `fast_from` px a
  frame on), px, median and 95th percentile;
- turn_lost: by how much a wrist's turning points (the extremes of 9 frames, where it travels 30 px or more in 17) fall
  short, px, median and 95th percentile.
The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handoff.poses import N_KEYPOINTS, Person, read_poses
from posegen.backend import FramePose
from posegen.choice import METHODS
from posegen.keypoints import KPT_THR
from posegen.smooth import smooth

TRUNK = [5, 6, 11, 12]
WRISTS = [9, 10]
FAST = 0.9
NEAR, AROUND, TRAVEL_PX = 4, 8, 30

Ways = NDArray[np.float64]


def _unsmoothed(people: list[Person]) -> list[Person]:
    return [person if person.raw is None else replace(person, keypoints=person.raw, raw=None) for person in people]


def _ways(poses: Iterator[FramePose]) -> Ways:
    """Return the first person's keypoints (frames, 133, 2) px; NaN where one was not seen."""
    ways = []
    for pose in poses:
        way = np.full((N_KEYPOINTS, 2), np.nan)
        for person in pose.people[:1]:
            seen = person.scores > KPT_THR
            way[seen] = person.keypoints[seen]
        ways.append(way)
    return np.stack(ways)


def _turns_lost(raw: Ways, ways: Ways) -> list[float]:
    """Return, for each turning point of each wrist and axis, how many px nearer the nearest extreme is afterwards."""
    lost = []
    for wrist, axis, sign in [(wrist, axis, sign) for wrist in WRISTS for axis in (0, 1) for sign in (1, -1)]:
        before, after = sign * raw[:, wrist, axis], sign * ways[:, wrist, axis]
        for frame in range(AROUND, len(before) - AROUND):
            around = before[frame - AROUND : frame + AROUND + 1]
            near = before[frame - NEAR : frame + NEAR + 1]
            if np.ptp(around) >= TRAVEL_PX and near.argmax() == NEAR:  # no comparison holds with NaN
                lost.append(float(before[frame] - after[frame - 2 : frame + 3].max()))
    return lost


def _pair(values: object) -> list[float]:
    """Return median and 95th percentile."""
    return [round(float(np.nanquantile(values, share)), 2) for share in (0.5, 0.95)]


def figures(raw: Ways, ways: Ways) -> dict[str, object]:
    """Return what the module's docstring lists."""
    moved = np.linalg.norm(ways - raw, axis=2)[1:-1, WRISTS]
    speed = np.linalg.norm(raw[2:] - raw[:-2], axis=2)[:, WRISTS] / 2
    fast_from = np.nanquantile(speed, FAST)
    return {
        "jitter": _pair(np.linalg.norm(np.diff(ways[:, TRUNK], n=2, axis=0), axis=2)),
        "fast_from": round(float(fast_from), 1),
        "fast_moved": _pair(moved[speed >= fast_from]),
        "turn_lost": _pair(_turns_lost(raw, ways) or [np.nan]),
    }


def main(paths: list[Path]) -> None:
    """Print one line a file and method, then all as JSON."""
    result = {}
    for path in paths:
        poses = [FramePose(_unsmoothed(people)) for people in read_poses(path)]
        raw = _ways(smooth(poses, "none"))
        for method in METHODS:
            name = f"{path.parent.name} {method}"
            result[name] = figures(raw, _ways(smooth(poses, method)))
            print(name, result[name], flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
