"""RTMW's keypoints: where they must be by construction, and equal to rtmlib's own, one crop at a time or many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from rtmlib import RTMPose

from handoff.errors import InputError
from handoff.places import Box
from handoff.video import Frame, read_frames
from posegen.rtmw_backend import Crop, PoseNetwork, crop
from tests.posegen.helpers import write_network

WIDTH, HEIGHT = 288, 384
PX = 0.01
Points = NDArray[np.float64]


def rtmlibs(path: Path, frame: Frame, box: Box) -> tuple[Points, Points]:
    """What rtmlib's own class says of the same box in the same frame: keypoints (133, 2) and scores (133,)."""
    model = RTMPose(str(path), model_input_size=(WIDTH, HEIGHT), device="cpu")
    keypoints, scores = model(frame, [box.as_list()])
    return keypoints[0], scores[0]


def ours(network: PoseNetwork, frame: Frame, box: Box) -> Crop:
    return crop(frame, box, network.width, network.height)


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("rtmw") / "rtmw.onnx")


def textures(count: int, seed: int = 0) -> list[Frame]:
    """Frames of 640 x 480 px in which no two columns or rows are alike."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (480, 640, 3), dtype=np.uint8) for _ in range(count)]


BOXES = [Box(200.3, 100.7, 330.1, 400.2), Box(10, 20, 600, 200), Box(300, 200, 310, 215), Box(0, 0, 640, 480)]


def test_a_keypoint_lies_on_the_pixel_that_lights_it(free: Path) -> None:
    # a crop of 288 x 384 px without scaling, so that pixels stay pixels
    box = Box(320 - WIDTH / 2.5, 240 - HEIGHT / 2.5, 320 + WIDTH / 2.5, 240 + HEIGHT / 2.5)
    frame = np.zeros((480, 640, 3), np.uint8)
    lights = [(300, 150), (350, 260), (260, 401)]
    for channel, (x, y) in enumerate(lights):
        frame[y, x, channel] = 255
    network = PoseNetwork(free, "cpu")
    keypoints, scores = network.find([ours(network, frame, box)])
    for index in range(133):
        np.testing.assert_allclose(keypoints[0, index], lights[index % 3], atol=PX)
    assert scores.min() > 0.3 and scores.max() < 1


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_keypoints_are_rtmlibs_own(free: Path, box: Box) -> None:
    network = PoseNetwork(free, "cpu")
    for frame in textures(3):
        keypoints, scores = network.find([ours(network, frame, box)])
        theirs, values = rtmlibs(free, frame, box)
        np.testing.assert_allclose(keypoints[0], theirs, atol=PX)
        np.testing.assert_allclose(scores[0], np.clip(values, 0, 1), atol=1e-5)


def test_many_crops_at_once_give_what_each_gives_alone(free: Path) -> None:
    network = PoseNetwork(free, "cpu")
    assert network.batch is None
    crops = [ours(network, frame, box) for frame, box in zip(textures(4), BOXES, strict=True)]
    together, scores = network.find(crops)
    for index, each in enumerate(crops):
        alone, value = network.find([each])
        np.testing.assert_allclose(together[index], alone[0], atol=PX)
        np.testing.assert_allclose(scores[index], value[0], atol=1e-5)


def test_a_batch_axis_that_is_free_by_its_name_alone_is_found_out(free: Path, tmp_path: Path) -> None:
    network = PoseNetwork(write_network(tmp_path / "stuck.onnx", stuck=True), "cpu")
    assert network.batch == 1
    crops = [ours(network, frame, BOXES[0]) for frame in textures(3)]
    np.testing.assert_allclose(network.find(crops)[0], PoseNetwork(free, "cpu").find(crops)[0], atol=PX)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_axis_is_filled_up_and_cut_off(free: Path, tmp_path: Path, batch: int) -> None:
    network = PoseNetwork(write_network(tmp_path / "fixed.onnx", batch=batch), "cpu")
    assert network.batch == batch
    crops = [ours(network, frame, BOXES[0]) for frame in textures(5)]
    np.testing.assert_allclose(network.find(crops)[0], PoseNetwork(free, "cpu").find(crops)[0], atol=PX)


def test_another_input_size_is_read_from_the_file(tmp_path: Path) -> None:
    network = PoseNetwork(write_network(tmp_path / "m.onnx", height=256, width=192), "cpu")
    assert (network.width, network.height) == (192, 256)
    (frame,) = textures(1)
    keypoints, _ = network.find([ours(network, frame, BOXES[0])])
    theirs, _ = RTMPose(str(tmp_path / "m.onnx"), model_input_size=(192, 256), device="cpu")(
        frame, [BOXES[0].as_list()]
    )
    np.testing.assert_allclose(keypoints, theirs, atol=PX)


@pytest.mark.parametrize(
    "box",
    [
        *(Box(-60, 100, 80, 420), Box(560, -30, 700, 300), Box(200, 400, 330, 520), Box(-50, -50, 700, 530)),
        *(Box(0, 0, 3, 480), Box(639, 479, 640, 480)),
    ],
    ids=str,
)
def test_a_person_at_the_frames_edge_is_cropped_as_rtmlib_does(free: Path, box: Box) -> None:
    network = PoseNetwork(free, "cpu")
    (frame,) = textures(1, seed=3)
    keypoints, _ = network.find([ours(network, frame, box)])
    np.testing.assert_allclose(keypoints[0], rtmlibs(free, frame, box)[0], atol=PX)


@pytest.mark.parametrize("name", ["skateboarder", "juggle"])
def test_keypoints_are_rtmlibs_own_on_real_frames(free: Path, shared: Path, name: str) -> None:
    network = PoseNetwork(free, "cpu")
    frames = [frame for index, frame in enumerate(read_frames(shared / "clips" / f"{name}.mp4")) if index % 20 == 0]
    height, width = frames[0].shape[:2]
    # a box that goes through the picture as a skater does, and beyond both of its edges
    boxes = [
        Box(x - 0.1 * width, 0.2 * height, x + 0.1 * width, 0.9 * height) for x in np.linspace(0, width, len(frames))
    ]
    crops = [ours(network, frame, box) for frame, box in zip(frames, boxes, strict=True)]
    together, _ = network.find(crops)
    assert len(frames) >= 8
    for keypoints, frame, box in zip(together, frames, boxes, strict=True):
        np.testing.assert_allclose(keypoints, rtmlibs(free, frame, box)[0], atol=PX)


def test_crops_are_rtmlibs_own_to_the_last_bit(free: Path) -> None:
    model = RTMPose(str(free), model_input_size=(WIDTH, HEIGHT), device="cpu")
    for frame, box in zip(textures(4), BOXES, strict=True):
        picture, centre, size = model.preprocess(frame, box.as_list())
        each = crop(frame, box, WIDTH, HEIGHT)
        np.testing.assert_array_equal(each.pixels, np.float32(picture.transpose(2, 0, 1)))
        np.testing.assert_array_equal([each.centre, each.size], [centre, size])


def test_scores_that_are_not_numbers_hide_their_keypoints_alone(free: Path, tmp_path: Path) -> None:
    broken = PoseNetwork(write_network(tmp_path / "nan.onnx", nan=[0, 7, 132]), "cpu")
    whole = PoseNetwork(free, "cpu")
    crops = [ours(whole, frame, BOXES[0]) for frame in textures(2)]
    keypoints, scores = broken.find(crops)
    expected, _ = whole.find(crops)
    assert np.isfinite(keypoints).all() and np.isfinite(scores).all()
    assert (scores[:, [0, 7, 132]] == 0).all() and (np.delete(scores, [0, 7, 132], axis=1) > 0).all()
    others = np.delete(np.arange(133), [0, 7, 132])
    np.testing.assert_allclose(keypoints[:, others], expected[:, others], atol=PX)


def test_a_picture_that_lights_nothing_has_no_scores(free: Path) -> None:
    network = PoseNetwork(free, "cpu")
    _, scores = network.find([ours(network, np.zeros((480, 640, 3), np.uint8), BOXES[0])])
    assert scores.max() < 0.001


def test_scores_stay_within_one_however_sure_the_network_is(tmp_path: Path) -> None:
    network = PoseNetwork(write_network(tmp_path / "sure.onnx", gain=1e4), "cpu")
    _, scores = network.find([ours(network, textures(1)[0], BOXES[0])])
    assert (scores == 1).all()


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"keypoints": 17}, r"outputs are \[2, 17, 576\] and \[2, 17, 768\]|\[1, 17, 576\] and \[1, 17, 768\]"),
        ({"split": 1}, r"not \[1, 133, 576\] and \[1, 133, 768\]"),
        ({"outputs": ("simcc_x",)}, r"it has 1 outputs \(simcc_x \[any, 133, 576\] float\), not two"),
        ({"outputs": ("simcc_y", "simcc_x")}, r"outputs are \[1, 133, 768\] and \[1, 133, 576\]"),
        ({"input_type": TensorProto.UINT8}, r"its input is input \[any, 3, 384, 288\] uint8"),
    ],
)
def test_a_network_with_other_inputs_or_outputs_is_refused_when_it_is_loaded(
    tmp_path: Path, how: dict[str, object], why: str
) -> None:
    path = write_network(tmp_path / "other.onnx", **how)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"other.onnx is not an RTMW network of 133 keypoints: .*({why})"):
        PoseNetwork(path, "cpu")


def test_a_detector_is_no_pose_network(shared: Path) -> None:
    with pytest.raises(InputError, match=r"yolox_nano\.onnx is not an RTMW network of 133 keypoints: it has 1 outputs"):
        PoseNetwork(shared / "weights" / "yolox_nano.onnx", "cpu")
