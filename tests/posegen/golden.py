"""The golden pictures: python -m tests.posegen.golden draws them anew. Look at them before they are committed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from handoff.poses import Person
from handoff.video import Frame
from posegen.draw import draw_skeletons
from tests.posegen.people import standing

FOLDER = Path(__file__).parent / "golden"


def dancers() -> list[Person]:
    """One person who stands, and one who leans over to the left, turned by 70 degrees, and shows no left arm."""
    upright, leaning = standing(150, 190, 300), standing(430, 200, 280, angle=-70)
    leaning.scores[[7, 9, *range(91, 112)]] = 0.3
    return [upright, leaning]


def pictures() -> dict[str, Frame]:
    """Return what the golden pictures are to show, by file name, RGB."""
    one = [standing(512, 512, 900)]
    return {
        "vace_1024.png": draw_skeletons(one, 1024, 1024, "vace"),
        "openpose_1024.png": draw_skeletons(one, 1024, 1024, "openpose"),
        "vace_two_640x360.png": draw_skeletons(dancers(), 640, 360, "vace"),
        "openpose_two_640x360.png": draw_skeletons(dancers(), 640, 360, "openpose"),
    }


def read(name: str) -> Frame:
    """Return a golden picture, RGB."""
    return np.asarray(cv2.imread(str(FOLDER / name))[..., ::-1])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        cv2.imwrite(str(FOLDER / name), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
