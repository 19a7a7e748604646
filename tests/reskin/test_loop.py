"""The one painting loop: every frame once, windows joined, only the regions changed, whoever paints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from handoff.clip.colours import Colours
from handoff.errors import InputError
from handoff.run import Run
from handoff.video import Frame, VideoWriter, probe, read_frames
from reskin.painting import Changes, Clip, Joining, Layers, WindowFrames, compose, paint_clip, read_windows
from reskin.windows import Window, later_weight, plan_overlapping
from tests.reskin.helpers import FPS, HEIGHT, WIDTH, OneGray, disc_mask, gray, square_mask, write_masks

MakeRun = Callable[..., Run]


def clip_of(run: Run) -> Clip:
    return Clip(run.info, run.source, run.path("mask.mp4"), run.path("human_mask.mp4"), run.path("pose_skater"))


def paint(
    run: Run, painter: OneGray, windows: list[Window], joining: Joining, tmp_path: Path
) -> tuple[Changes, list[NDArray[np.uint8]]]:
    """Paint, and return the counts with the pictures as they went into the encoder."""
    written: list[NDArray[np.uint8]] = []
    encode = VideoWriter.write

    def write(self: VideoWriter, frame: Frame) -> None:
        written.append(frame.copy())
        encode(self, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoWriter, "write", write)
        changes = paint_clip(clip_of(run), painter, windows, tmp_path / "out.mp4", joining, lambda window: None)
    return changes, written


def test_the_output_has_the_clips_size_rate_and_frames(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(33)
    done: list[Window] = []
    windows = plan_overlapping(33, 17, 5)
    paint_clip(clip_of(run), OneGray([0] * 3, [9] * 3), windows, tmp_path / "out.mp4", Joining(), done.append)
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.fps, info.frames) == (WIDTH, HEIGHT, FPS, 33)
    assert done == windows


def test_cross_faded_frames_go_evenly_from_one_window_to_the_next(make_run: MakeRun, tmp_path: Path) -> None:
    run, painter = make_run(33), OneGray([10, 110, 250], [200, 80, 20])
    changes, written = paint(run, painter, plan_overlapping(33, 17, 5), Joining(), tmp_path)
    assert changes.outside_px == 0
    own = {0: (10, 200), 1: (110, 80), 2: (250, 20)}
    for index, picture in enumerate(written):
        later = next((k for k, start in ((2, 24), (1, 12)) if start <= index < start + 5), None)
        if later is None:
            expected = own[0 if index < 12 else 1 if index < 24 else 2]
        else:
            weight = later_weight(index - 12 * later, 5)
            expected = tuple(
                round((1 - weight) * a + weight * b) for a, b in zip(own[later - 1], own[later], strict=True)
            )
        thing, person = square_mask(index), disc_mask(index) & ~square_mask(index)
        assert np.abs(picture[thing].astype(int) - expected[0]).max(initial=0) <= 1, index
        assert np.abs(picture[person].astype(int) - expected[1]).max(initial=0) <= 1, index


def test_windows_that_agree_join_without_a_trace(make_run: MakeRun, tmp_path: Path) -> None:
    run, frames = make_run(33), list(read_frames(make_run(33, "same").source))
    _, written = paint(run, OneGray([77] * 3, [99] * 3), plan_overlapping(33, 17, 5), Joining(), tmp_path)
    for index, (source, picture) in enumerate(zip(frames, written, strict=True)):
        thing, person = square_mask(index), disc_mask(index)
        assert np.array_equal(picture, compose(source, Layers(gray(77), gray(99)), thing, person)), index


def test_anchored_windows_keep_what_was_painted_and_are_given_it(make_run: MakeRun, tmp_path: Path) -> None:
    run, painter = make_run(33), OneGray([10, 110, 250], [200, 80, 20])
    _, written = paint(run, painter, plan_overlapping(33, 17, 5), Joining(anchored=True), tmp_path)
    for index, picture in enumerate(written):
        owner = 0 if index < 17 else 1 if index < 29 else 2
        assert (picture[square_mask(index)] == (10, 110, 250)[owner]).all(), index
    assert [len(cut.known) for cut in painter.cuts] == [0, 5, 5]
    for cut in painter.cuts[1:]:
        for offset, known in enumerate(cut.known):
            assert np.array_equal(known, written[cut.window.start + offset]), "what is known is what is written"


def test_without_the_lock_the_last_pass_is_shown_whole_and_counted(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(5)
    painter = OneGray([123], [45])
    changes, written = paint(run, painter, plan_overlapping(5, 17, 5), Joining(locked=False), tmp_path)
    assert all((picture == 123).all() for picture in written)
    assert changes.outside_px > 0.9 * 5 * WIDTH * HEIGHT - changes.object_px - changes.skater_px


def test_a_window_with_nothing_to_paint_is_the_source_and_no_work(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(29)
    write_masks(run.path("mask.mp4"), 29, lambda index: square_mask(index) & (index < 5))
    write_masks(run.path("human_mask.mp4"), 29, lambda index: disc_mask(index) & (index < 5))
    painter = OneGray([7] * 2, [7] * 2)
    changes, written = paint(run, painter, plan_overlapping(29, 17, 5), Joining(), tmp_path)
    assert [cut.window.index for cut in painter.cuts] == [0]
    assert changes.object_changed_px > 0
    for source, picture in list(zip(read_frames(run.source), written, strict=True))[5:]:
        assert np.array_equal(source, picture)


class OneFrameShort(OneGray):
    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        yield from list(super().generate(cut))[:-1]


def test_a_painter_that_gives_too_few_frames_leaves_no_output(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        paint(make_run(5), OneFrameShort([0], [0]), plan_overlapping(5, 17, 5), Joining(), tmp_path)
    assert not (tmp_path / "out.mp4").exists()


def test_overlapping_windows_read_each_frame_at_its_place(make_run: MakeRun) -> None:
    run = make_run(33)
    sources = list(read_frames(run.source))
    for cut in read_windows(clip_of(run), plan_overlapping(33, 17, 5)):
        for offset, index in enumerate(range(cut.window.start, cut.window.stop)):
            assert np.array_equal(cut.frames[offset], sources[index])
            assert np.array_equal(cut.objects[offset], square_mask(index))
            assert not (cut.objects[offset] & cut.skaters[offset]).any()
            assert cut.skeletons[offset][40, 70, 0] == 255


def test_a_skeleton_that_ends_early_is_named(make_run: MakeRun) -> None:
    run = make_run(9)
    (run.path("pose_skater") / "frame_00008.png").unlink()
    with pytest.raises(InputError, match="ends between frames 0 and 8"):
        list(read_windows(clip_of(run), plan_overlapping(9, 17, 5)))


@pytest.mark.parametrize("tags", [(1, 1, 1), (6, 6, 6), (9, 9, 14), (1, 12, 13)])
def test_the_output_is_in_the_sources_own_colours_and_says_so(
    make_run: MakeRun, tmp_path: Path, tags: tuple[int, int, int]
) -> None:
    run = make_run(9)
    frames = list(read_frames(run.source))
    with VideoWriter(run.source, FPS, WIDTH, HEIGHT, crf=4, colours=Colours(*tags)) as writer:
        for frame in frames:
            writer.write(frame)
    paint_clip(clip_of(run), OneGray([0], [9]), plan_overlapping(9, 17, 5), tmp_path / "out.mp4", Joining(), [].append)
    with av.open(str(tmp_path / "out.mp4")) as container:
        said = {(each.colorspace, each.color_primaries, each.color_trc) for each in container.decode(video=0)}
    assert said == {tags}
    for index, (before, after) in enumerate(
        zip(read_frames(run.source), read_frames(tmp_path / "out.mp4"), strict=True)
    ):
        kept = ~(square_mask(index) | disc_mask(index))
        assert np.abs((before.astype(float) - after)[kept].mean(0)).max() < 1  # the wrong matrix shifts it by 6
