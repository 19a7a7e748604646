"""What the model is given for a window: 4n+1 frames at its own size, regions in black and white, what is known."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.masks import write_png
from handoff.run import Run
from handoff.video import Frame, read_frames
from reskin.model_painter import VacePainter, on_white
from reskin.painting import Clip, WindowFrames, read_windows
from reskin.regions import fit_into
from reskin.windows import KeptWindows, plan_overlapping
from reskin.workflow import fill, load_workflow, size_slots
from tests.helpers import read_gray
from tests.reskin.helpers import HEIGHT, WIDTH, disc_mask, square_mask

MakeRun = Callable[..., Run]
MODEL = (128, 96)


@pytest.fixture
def painter(make_run: MakeRun) -> VacePainter:
    info, fit = make_run(7, "clip").info, fit_into(WIDTH, HEIGHT, *MODEL)
    graph = fill(load_workflow("wan_vace_locked").graph, size_slots(*MODEL))
    return VacePainter(graph, [0], info, fit, 8, None)


def window(run: Run, known: int = 0) -> WindowFrames:
    clip = Clip(run.info, run.source, run.path("mask.mp4"), run.path("human_mask.mp4"), run.path("pose_skater"))
    (cut,) = read_windows(clip, plan_overlapping(run.info.frames, 17, 5))
    finished = [np.full((HEIGHT, WIDTH, 3), 200, np.uint8)] * known
    return WindowFrames(cut.window, cut.frames, cut.objects, cut.skaters, cut.skeletons, finished)


def given(painter: VacePainter, cut: WindowFrames) -> dict[str, list[NDArray[np.uint8]]]:
    with tempfile.TemporaryDirectory() as folder:
        files = painter.prepare(cut, Path(folder)).inputs
        return {
            title: list(read_gray(path) if "mask" in title or "exact" in title else read_frames(path))
            for title, path in files.items()
        }


def white(picture: Frame) -> NDArray[np.bool_]:
    assert set(np.unique(picture)) <= {0, 255}, "a mask has no gray in it"
    return picture == 255


def test_every_input_is_padded_to_4n_plus_1_with_its_last_frame(painter: VacePainter, make_run: MakeRun) -> None:
    inputs = given(painter, window(make_run(7)))
    assert set(inputs) == {"source", "pose", "object mask", "skater mask", "skater, exact"}
    for pictures in inputs.values():
        assert [picture.shape[:2] for picture in pictures] == [(96, 128)] * 9
        assert all(np.abs(pictures[6].astype(int) - picture).max() <= 2 for picture in pictures[7:])


def test_the_regions_hold_the_exact_masks_and_keep_the_skater_off_the_object(
    painter: VacePainter, make_run: MakeRun
) -> None:
    inputs = given(painter, window(make_run(7)))
    for index in range(7):
        thing = painter.fit.mask_to_model(square_mask(index), part=0.5)
        person = painter.fit.mask_to_model(disc_mask(index) & ~square_mask(index), part=0.5)
        objects, skaters = white(inputs["object mask"][index]), white(inputs["skater mask"][index])
        assert not (thing & ~objects).any() and objects.sum() > 1.3 * thing.sum()
        assert not (person & ~skaters).any() and skaters.sum() > 1.1 * person.sum()
        # up to the edge's own px, which both touch
        inner = painter.fit.mask_to_model(~square_mask(index), part=0.0)
        assert not (skaters & ~inner).any()
        assert np.array_equal(white(inputs["skater, exact"][index]), person)


def test_known_frames_come_in_as_the_source_and_are_not_painted_again(painter: VacePainter, make_run: MakeRun) -> None:
    run = make_run(7)
    inputs, plain = given(painter, window(run, known=5)), given(painter, window(run))
    for index in range(7):
        expected = 200 if index < 5 else plain["source"][index].astype(int)
        assert np.abs(inputs["source"][index].astype(int) - expected).max() <= 3
        for title in ("object mask", "skater mask", "skater, exact"):
            assert white(inputs[title][index]).any() == (index >= 5), (title, index)


def test_more_growth_paints_more(painter: VacePainter, make_run: MakeRun) -> None:
    cut = window(make_run(7))
    areas = []
    for painter.grow_px in (0, 8, 20):
        areas.append(sum(white(picture).sum() for picture in given(painter, cut)["object mask"]))
    assert areas[0] < areas[1] < areas[2]


def test_a_windows_key_is_of_its_content_and_of_nothing_else(
    painter: VacePainter, make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run(7)

    def key(cut: WindowFrames) -> str:
        return painter.prepare(cut, tmp_path).key

    first = key(window(run))
    assert key(window(run, known=5)) != first
    painter.graph = fill(load_workflow("wan_vace_locked").graph, size_slots(*MODEL))
    assert key(window(run)) == first
    painter.seeds = [1]
    assert key(window(run)) != first


def test_a_reference_is_shown_whole_on_white(painter: VacePainter, make_run: MakeRun, tmp_path: Path) -> None:
    picture = np.full((90, 30, 3), (10, 200, 30), np.uint8)
    shown = on_white(picture, *MODEL)
    assert shown.shape == (96, 128, 3)
    assert (shown[:, 48:80] == (10, 200, 30)).all()
    assert (shown[:, :48] == 255).all() and (shown[:, 80:] == 255).all()
    painter.reference = tmp_path / "drone.png"
    write_png(painter.reference, picture)
    assert "reference image" in painter.prepare(window(make_run(7)), tmp_path).inputs


def test_an_older_window_goes_when_a_newer_one_of_its_number_comes(tmp_path: Path) -> None:
    kept = KeptWindows(tmp_path)
    for key in ("a" * 64, "b" * 64):
        with kept.make(3, key) as folder:
            (folder / "frame_00000.png").write_bytes(b"png")
    with kept.make(4, "a" * 64):
        pass
    names = sorted(path.name[:5] for path in kept.folder.iterdir())
    assert names == ["0003-", "0004-"]
    assert kept.place(3, "b" * 64).is_dir() and not kept.place(3, "a" * 64).exists()
    with pytest.raises(RuntimeError), kept.make(5, "c" * 64) as folder:
        (folder / "frame_00000.png").write_bytes(b"png")
        raise RuntimeError
    assert not kept.place(5, "c" * 64).exists()
    kept.clear()
    assert not kept.folder.exists()
