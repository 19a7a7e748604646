"""The detector: equal to rtmlib's on real frames, exact on a network of a known function, clear about wrong files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from handoff.detections.coco import CLASSES, PERSON, class_number
from handoff.errors import InputError, MissingError, UsageError
from handoff.files import sha256_path
from handoff.video import read_frames
from posegen.detect.yolox import YoloxDetector, grid, letterbox, suppress
from tests.posegen.helpers import SIDE, scene, write_detector


def opened(path: Path) -> YoloxDetector:
    return YoloxDetector(path, sha256_path(path), "cpu")


@pytest.fixture
def colours(tmp_path: Path) -> YoloxDetector:
    return opened(write_detector(tmp_path / "net.onnx"))


@pytest.mark.parametrize("clip", ["skateboarder.mp4", "juggle.mp4"])
def test_detections_on_real_frames_are_those_of_rtmlib(shared: Path, nano: Path, clip: str) -> None:
    rtmlib = pytest.importorskip("rtmlib")
    ours = opened(nano)
    theirs = rtmlib.YOLOX(str(nano), (416, 416), det_mode="multiclass", nms_thr=0.45, score_thr=0.1, device="cpu")
    seen = 0
    for index, frame in enumerate(read_frames(shared / "clips" / clip, stop=120)):
        if index % 24:
            continue
        found = sorted((each.label, *each.box.as_list()) for each in ours.detect([frame])[0])
        boxes, labels = theirs(np.ascontiguousarray(frame[..., ::-1]))
        height, width = frame.shape[:2]
        cut = np.clip(np.asarray(boxes).reshape(-1, 4), 0, [width, height, width, height])
        expected = sorted((int(label), *box) for label, box in zip(labels, cut, strict=True))
        assert len(found) == len(expected)
        np.testing.assert_allclose(found, expected, atol=0.01)
        seen += len(found)
    assert seen > 10


def test_a_thing_is_where_it_was_drawn_and_named_what_it_is(colours: YoloxDetector) -> None:
    frame = scene([("person", 50, 50), ("skateboard", 110, 90)])
    found = colours.detect([frame])[0]
    assert sorted(CLASSES[each.label] for each in found) == ["person", "skateboard"]
    for each in found:
        x, y = (50, 50) if each.label == PERSON else (110, 90)
        # a cell of 8 px of the input is 10 px of this frame
        assert abs((each.box.x1 + each.box.x2) / 2 - x) <= 10 and abs((each.box.y1 + each.box.y2) / 2 - y) <= 10
        assert each.box.x2 - each.box.x1 == pytest.approx(SIDE * 160 / 128)


def test_the_surest_comes_first_and_nothing_unsure_is_kept(colours: YoloxDetector) -> None:
    frame = scene([("person", 50, 50)]) // 2 + scene([("skateboard", 110, 60)]) // 2
    scores = [each.score for each in colours.detect([frame], score_thr=0.05)[0]]
    assert scores == sorted(scores, reverse=True) and min(scores) > 0.05
    assert colours.detect([frame], score_thr=0.999) == [[]]


def test_a_box_ends_at_the_frames_edge(colours: YoloxDetector) -> None:
    (found,) = colours.detect([scene([("person", 4, 60)])])
    assert found[0].box.x1 == 0 and found[0].box.x2 <= 30


def test_an_empty_picture_has_no_detections(colours: YoloxDetector) -> None:
    assert colours.detect([scene([]), np.zeros((120, 160, 3), np.uint8)]) == [[], []]


def test_frames_of_a_free_batch_axis_give_what_they_give_one_by_one(tmp_path: Path, colours: YoloxDetector) -> None:
    frames = [scene([("person", 30 + 12 * step, 50), ("kite", 100, 90)]) for step in range(5)]
    free = opened(write_detector(tmp_path / "free.onnx", "N"))
    pairs = opened(write_detector(tmp_path / "pairs.onnx", 2))
    alone = [colours.detect([frame])[0] for frame in frames]
    assert any(alone) and free.batch is None and pairs.batch == 2
    assert free.detect(frames) == colours.detect(frames) == pairs.detect(frames) == alone


def test_frames_of_any_shape_are_fitted_into_the_input_without_distortion() -> None:
    for height, width in ((720, 1280), (1280, 720), (1, 300), (64, 64)):
        picture, ratio = letterbox(np.full((height, width, 3), (10, 20, 30), np.uint8), 64, 64)
        assert picture.shape == (3, 64, 64)
        used = max(1, int(height * ratio)), max(1, int(width * ratio))
        assert max(used) == 64
        assert (picture[:, : used[0], : used[1]] == np.array([30, 20, 10])[:, None, None]).all()
        assert (picture[:, used[0] :] == 114).all() and (picture[:, :, used[1] :] == 114).all()


def test_the_grid_covers_the_input_three_times() -> None:
    corners, sizes = grid(64, 96)
    assert len(corners) == len(sizes) == 8 * 12 + 4 * 6 + 2 * 3
    assert (corners * sizes).max(axis=0).tolist() == [88, 56] and sizes[0] == 8 and sizes[-1] == 32


def test_of_overlapping_boxes_the_surer_one_stays() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [30, 30, 40, 40], [0, 0, 10, 30]], np.float32)
    assert suppress(boxes, np.array([0.5, 0.9, 0.4, 0.8], np.float32)) == [1, 3, 2]


@pytest.mark.parametrize(("cells", "classes"), [(300, 80), (336, 79)])
def test_a_network_with_other_outputs_is_refused_by_name(tmp_path: Path, cells: int, classes: int) -> None:
    path = write_detector(tmp_path / "other.onnx", cells=cells, classes=classes)
    detector = opened(path)
    with pytest.raises(InputError, match=r"other\.onnx is no YOLOX detector of the 80 COCO classes \(its output is"):
        detector.detect([scene([])])


def test_a_file_that_is_no_network_and_one_that_is_not_there_are_told_apart(tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("not a network")
    with pytest.raises(InputError, match=r"text\.onnx"):
        opened(text)
    with pytest.raises(MissingError, match=r"gone\.onnx"):
        YoloxDetector(tmp_path / "gone.onnx", "", "cpu")


def test_a_class_is_known_in_any_spelling_and_a_typo_lists_near_ones_and_all() -> None:
    assert CLASSES[class_number("Sports-Ball")] == CLASSES[class_number("sports ball")] == "sports ball"
    assert len(CLASSES) == 80 and CLASSES[0] == "person" and CLASSES[36] == "skateboard" and CLASSES[79] == "toothbrush"
    with pytest.raises(
        UsageError, match=r"no object 'skatebord'; perhaps you meant 'skateboard'.*It knows: person, "
    ) as e:
        class_number("skatebord")
    assert all(name in str(e.value) for name in CLASSES)
    with pytest.raises(UsageError, match="'sports ball'"):
        class_number("ball")
    with pytest.raises(UsageError, match="no object ''"):
        class_number("")
