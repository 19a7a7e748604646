"""What the templates make of a window's inputs on a real server: the very pictures and masks that VACE is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.masks import frame_name, read_png
from handoff.run import Run
from handoff.video import Frame, read_frames
from reskin.comfy.orchestrator import ComfyOrchestrator
from reskin.comfy.results import find_output, keep_pictures
from reskin.model_painter import VacePainter
from reskin.painting import Clip, read_windows
from reskin.regions import fit_into
from reskin.windows import plan_overlapping
from reskin.workflow import Graph, fill, find_node, load_workflow, size_slots, window_slots
from tests.helpers import read_gray
from tests.reskin.helpers import HEIGHT, WIDTH

pytestmark = pytest.mark.server
MakeRun = Callable[..., Run]
MODEL, FRAMES = (160, 128), 5
GRAY = 127


class Window:
    """The inputs of a window of five frames, and what the server makes of them."""

    def __init__(self, run: Run, comfy: ComfyOrchestrator, folder: Path, workflow: str) -> None:
        self.comfy, self.folder = comfy, folder
        clip = Clip(run.info, run.source, run.path("mask.mp4"), run.path("human_mask.mp4"), run.path("pose_skater"))
        graph, fit = fill(load_workflow(workflow).graph, size_slots(*MODEL)), fit_into(WIDTH, HEIGHT, *MODEL)
        painter = VacePainter(graph, [0], run.info, fit, 8, None)
        (cut,) = read_windows(clip, plan_overlapping(FRAMES, 17, 5))
        self.inputs = painter.prepare(cut, folder).inputs
        files = {title: comfy.upload(path, f"control_{path.name}") for title, path in self.inputs.items()}
        self.graph = fill(graph, window_slots(files, FRAMES, "preserver/control"))

    def link(self, title: str, class_type: str) -> list[object]:
        return [find_node(self.graph, title, class_type), 0]

    def show(self, graph: Graph, link: list[object]) -> list[Frame]:
        """Run as much of the graph as gives this picture; no model is needed for it."""
        output = find_output(graph)
        graph[find_node(graph, *output)]["inputs"]["images"] = link
        files = self.comfy.run(graph, output)
        list(keep_pictures(self.comfy.fetch, output, files, FRAMES, range(FRAMES), MODEL, self.folder))
        return [read_png(self.folder / frame_name(index)) for index in range(FRAMES)]

    def video(self, title: str) -> list[Frame]:
        return list(read_frames(self.inputs[title]))

    def mask(self, title: str) -> list[NDArray[np.bool_]]:
        return [picture >= 128 for picture in read_gray(self.inputs[title])]


def assert_alike(shown: Frame, expected: Frame, where: NDArray[np.bool_], words: str) -> None:
    assert where.any()
    # both are decoded from 4:2:0, by the server and by us
    assert np.abs(shown[where].astype(int) - expected[where]).mean() < 4, words


def test_one_pass_sees_gray_for_the_object_the_skeleton_for_the_skater_and_the_source_elsewhere(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    window = Window(make_run(FRAMES), comfy, tmp_path, "wan_vace")
    shown = window.show(window.graph, window.link("gray in the object's region", "ImageCompositeMasked"))
    for index, picture in enumerate(shown):
        thing = window.mask("object mask")[index]
        person = window.mask("skater mask")[index] & ~thing
        assert (picture[thing] == GRAY).all()
        assert_alike(picture, window.video("pose")[index], person, "the skeleton on black")
        assert_alike(picture, window.video("source")[index], ~(thing | person), "the source")


def test_what_one_pass_paints_is_the_two_regions_and_is_black_or_white(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    window = Window(make_run(FRAMES), comfy, tmp_path, "wan_vace")
    mask = {"class_type": "MaskToImage", "inputs": {"mask": window.link("what is painted", "MaskComposite")}}
    for index, picture in enumerate(window.show(window.graph | {"900": mask}, ["900", 0])):
        region = window.mask("object mask")[index] | window.mask("skater mask")[index]
        assert np.array_equal(picture, np.repeat(region[..., None], 3, axis=2) * np.uint8(255))


def test_the_first_of_two_passes_sees_the_old_object_and_the_skeleton_beside_it(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    window = Window(make_run(FRAMES), comfy, tmp_path, "wan_vace_locked")
    shown = window.show(window.graph, window.link("skeleton in the skater's region", "ImageCompositeMasked"))
    for index, picture in enumerate(shown):
        person = window.mask("skater mask")[index]
        assert_alike(picture, window.video("pose")[index], person, "the skeleton on black")
        assert_alike(picture, window.video("source")[index], ~person, "the source, its object with it")


def test_the_second_of_two_passes_sees_the_new_skater_by_the_exact_mask_and_gray_for_the_object(
    make_run: MakeRun, comfy: ComfyOrchestrator, tmp_path: Path
) -> None:
    window = Window(make_run(FRAMES), comfy, tmp_path, "wan_vace_locked")
    # the skeleton stands in for what the first pass paints
    skater = find_node(window.graph, "the new skater in the source", "ImageCompositeMasked")
    window.graph[skater]["inputs"]["source"] = window.link("pose frames", "GetVideoComponents")
    shown = window.show(window.graph, window.link("gray in the object's region", "ImageCompositeMasked"))
    for index, picture in enumerate(shown):
        thing = window.mask("object mask")[index]
        person = window.mask("skater, exact")[index] & ~thing
        assert (picture[thing] == GRAY).all()
        assert_alike(picture, window.video("pose")[index], person, "the new skater")
        assert_alike(picture, window.video("source")[index], ~(thing | person), "the source")
