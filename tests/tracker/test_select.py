"""Drawing the box: what a drawn region becomes, and what is said where nothing can be drawn."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.box import Box
from handoff.errors import MissingError, UsageError
from tracker.select import box_of_roi, check_display, gui_support, select_box


def test_without_a_display_make_frame_is_named() -> None:
    with pytest.raises(MissingError, match=r"no.*DISPLAY.*make frame VIDEO=clip.mp4 FRAME=n"):
        check_display({}, gui="GTK3")


def test_the_headless_opencv_is_named_as_the_reason_on_a_machine_with_a_display() -> None:
    with pytest.raises(MissingError, match=r"headless build.*make frame"):
        check_display({"DISPLAY": ":0"}, gui="NONE")
    check_display({"DISPLAY": ":0"}, gui="QT5")
    check_display({"WAYLAND_DISPLAY": "wayland-0"}, gui="GTK3")


def test_the_stages_own_opencv_is_known_to_be_headless(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gui_support() == "NONE"
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(MissingError, match="make frame"):
        select_box(np.zeros((90, 160, 3), np.uint8))


def test_a_region_drawn_at_full_size_is_the_box() -> None:
    assert box_of_roi((120, 200, 140, 40), (640, 360), (640, 360)) == Box(120, 200, 260, 240)


def test_a_region_drawn_on_a_reduced_picture_is_enlarged_outward_and_stays_in_the_frame() -> None:
    assert box_of_roi((100, 50, 41, 30), (1280, 720), (1920, 1080)) == Box(150, 75, 212, 120)
    assert box_of_roi((1200, 700, 80, 20), (1280, 720), (1921, 1081)) == Box(1800, 1050, 1921, 1081)


@pytest.mark.parametrize("roi", [(0, 0, 0, 0), (10, 10, 0, 5)])
def test_nothing_drawn_is_said(roi: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError, match="no box was drawn"):
        box_of_roi(roi, (640, 360), (640, 360))


def test_the_picture_shown_is_bgr_and_fits_the_screen() -> None:
    seen: list[NDArray[np.uint8]] = []

    def choose(title: str, picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
        seen.append(picture)
        return 100, 100, 200, 100

    box = select_box(np.full((2160, 3840, 3), (250, 120, 10), np.uint8), choose)
    assert seen[0].shape == (720, 1280, 3)
    assert seen[0][0, 0].tolist() == [10, 120, 250]
    assert box == Box(300, 300, 900, 600)
