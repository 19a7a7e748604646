"""People made up for the tests of the pose stage, and tiny networks of known functions where the real ones belong."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from handoff.detections.coco import CLASSES
from handoff.files import sha256_file
from handoff.places import Box
from handoff.poses import N_KEYPOINTS, Person
from handoff.video import Frame
from posegen.keypoints import COCO_OF_BODY
from posegen.rtmw_backend import MEAN, STD
from tests.helpers import textured, write_clip


def person(points: dict[int, tuple[float, float]], score: float = 0.9) -> Person:
    """A person of whom exactly these COCO-WholeBody keypoints (px) are seen."""
    keypoints = np.zeros((N_KEYPOINTS, 2), np.float32)
    scores = np.zeros(N_KEYPOINTS, np.float32)
    for index, place in points.items():
        keypoints[index] = place
        scores[index] = score
    return Person(Box(0, 0, 10, 10), keypoints, scores)


def line_of(indices: Iterable[int], x: float, y: float) -> dict[int, tuple[float, float]]:
    """Places for keypoints, 10 px apart along a line."""
    return {index: (x + 10 * step, y) for step, index in enumerate(indices)}


BODY = {
    **{0: (0, -0.40), 1: (0.025, -0.42), 2: (-0.025, -0.42), 3: (0.05, -0.41), 4: (-0.05, -0.41)},  # the head
    **{5: (0.11, -0.30), 6: (-0.11, -0.30), 7: (0.20, -0.16), 8: (-0.20, -0.16), 9: (0.27, -0.04), 10: (-0.17, -0.01)},
    **{11: (0.07, 0.02), 12: (-0.07, 0.02), 13: (0.08, 0.25), 14: (-0.10, 0.24), 15: (0.08, 0.46), 16: (-0.11, 0.46)},
    **{17: (0.12, 0.50), 18: (0.14, 0.49), 19: (0.06, 0.49), 20: (-0.15, 0.50), 21: (-0.17, 0.49), 22: (-0.09, 0.49)},
}
"""Somebody who stands and faces the camera, 1 high, (0, 0) in the middle: his left is the picture's right."""


def standing(x: float, y: float, height: float, angle: float = 0) -> Person:
    """Somebody with all 133 keypoints, `height` px high with the middle at x, y, turned clockwise by degrees."""
    places = np.zeros((N_KEYPOINTS, 2))
    for index, place in BODY.items():
        places[index] = place
    around = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    places[23:91] = np.column_stack([0.045 * np.cos(around), -0.40 + 0.06 * np.sin(around)])
    for first, wrist, side in ((91, 9, 1), (112, 10, -1)):
        places[first] = places[wrist]
        for finger in range(5):
            direction = np.array([side * np.sin(finger * 0.35), np.cos(finger * 0.35)])
            for bone in range(4):
                places[first + 1 + 4 * finger + bone] = places[wrist] + (0.03 + 0.012 * bone) * direction
    turn = np.deg2rad(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    keypoints = (places @ rotation.T * height + (x, y)).astype(np.float32)
    return Person(
        Box(x - height / 2, y - height / 2, x + height / 2, y + height / 2),
        keypoints,
        np.full(N_KEYPOINTS, 0.9, np.float32),
    )


def read_back(record: dict[str, list[float]]) -> np.ndarray:
    """What one OpenPose person says, as (133, 3) x, y, score in COCO-WholeBody's order; the feet are not in it."""
    triples = np.zeros((N_KEYPOINTS, 3), np.float32)
    body = np.array(record["pose_keypoints_2d"], np.float32).reshape(18, 3)
    for place, coco in enumerate(COCO_OF_BODY):
        if coco >= 0:  # all but the neck
            triples[coco] = body[place]
    triples[23:91] = np.array(record["face_keypoints_2d"], np.float32).reshape(70, 3)[:68]
    triples[91:112] = np.array(record["hand_left_keypoints_2d"], np.float32).reshape(21, 3)
    triples[112:133] = np.array(record["hand_right_keypoints_2d"], np.float32).reshape(21, 3)
    return triples


GAIN = 60.0
FALL = 0.1

Floats = NDArray[np.float32]


def write_network(
    path: Path,
    *,
    batch: int | str = "batch",
    height: int = 384,
    width: int = 288,
    keypoints: int = N_KEYPOINTS,
    split: int = 2,
    outputs: Sequence[str] = ("simcc_x", "simcc_y"),
    nan: Sequence[int] = (),
    gain: float = GAIN,
    input_type: int = TensorProto.FLOAT,
    stuck: bool = False,
) -> Path:
    """Write the network to `path`. nan: keypoints whose scores are not numbers. stuck: it takes one crop only."""
    constants: dict[str, NDArray[np.generic]] = {
        "shape": np.array([1 if stuck else -1, 3, height, width]),
        "black": ((0 - np.array(MEAN)) / np.array(STD)).astype(np.float32)[:, None],
        "channels": _channels(keypoints) * np.float32(gain),
    }
    nodes = [
        helper.make_node("Cast", ["input"], ["any"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["any", "shape"], ["pixels"]),
    ]
    for name, axis, size in (("simcc_x", 2, width), ("simcc_y", 3, height)):
        constants |= {f"{name}_between": _between(size, split), f"{name}_fall": _fall(keypoints, size * split, nan)}
        nodes += [
            helper.make_node("ReduceMean", ["pixels"], [f"{name}_means"], axes=[axis], keepdims=0),
            helper.make_node("Sub", [f"{name}_means", "black"], [f"{name}_light"]),
            helper.make_node("MatMul", ["channels", f"{name}_light"], [f"{name}_each"]),
            helper.make_node("MatMul", [f"{name}_each", f"{name}_between"], [f"{name}_scores"]),
            helper.make_node("Mul", [f"{name}_scores", f"{name}_fall"], [name]),
        ]
    sizes = {"simcc_x": width * split, "simcc_y": height * split}
    graph = helper.make_graph(
        nodes,
        "rtmw",
        [helper.make_tensor_value_info("input", input_type, [batch, 3, height, width])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, keypoints, sizes[name]]) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def _channels(keypoints: int) -> Floats:
    """(keypoints, 3): each keypoint's own channel, and a little of the others."""
    others = np.random.default_rng(0).uniform(0, 0.05, (keypoints, 3))
    return (np.eye(3)[np.arange(keypoints) % 3] + others).astype(np.float32)


def _between(size: int, split: int) -> Floats:
    """(size, split * size): pixel j at place split * j, and straight lines from one to the next."""
    places = np.arange(size * split) / split
    return np.maximum(0, 1 - np.abs(places[None] - np.arange(size)[:, None])).astype(np.float32)


def _fall(keypoints: int, size: int, nan: Sequence[int]) -> Floats:
    """(keypoints, size): 1 at a place of each keypoint's own, FALL less at a whole crop's distance."""
    own = np.random.default_rng(size).uniform(0, size, keypoints)
    fall = 1 - FALL * np.abs(np.arange(size)[None] - own[:, None]) / size
    fall[list(nan)] = np.nan
    return fall.astype(np.float32)


def install_rtmw(models: Path, registry: Path, monkeypatch: pytest.MonkeyPatch, **how: object) -> Path:
    """Put a tiny RTMW-l, as an official archive, where the registry says, and return the network by itself."""
    network = write_network(models.parent / "end2end.onnx", **how)  # type: ignore[arg-type]
    models.joinpath("pose").mkdir(parents=True)
    archive = models / "pose" / "rtmw-l.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.write(network, "20230831/rtmpose_onnx/rtmw/end2end.onnx")
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (archive, network)]
    registry.write_text(f"""
        schema = 1
        default = ["pose"]
        [profiles]
        pose = "the skeleton"
        [weights.rtmw-l-384x288]
        file = "pose/rtmw-l.zip"
        url = "https://example.invalid/rtmw-l.zip"
        sha256 = "{digests[0]}"
        onnx_sha256 = "{digests[1]}"
        licence = "Apache-2.0"
        licence_url = "https://example.invalid/LICENSE"
        profiles = ["pose"]
    """)
    monkeypatch.setenv("WEIGHTS_TOML", str(registry))
    monkeypatch.setenv("MODELS_DIR", str(models))
    return network


INPUT, SIDE, CELLS = 128, 32, 16 * 16 + 8 * 8 + 4 * 4
COLOURS = {"person": (250, 10, 10), "skateboard": (10, 250, 10), "kite": (10, 10, 250)}
_MORE = 1 / 255  # of a colour than of the others: a score of nearly one for a patch of 3x3 cells


def _weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what makes 85 channels of a cell's mean B, G, R: (85, 3) and a constant (85,)."""
    mix, constant = np.zeros((85, 3), np.float32), np.zeros(85, np.float32)
    constant[:2] = 0.5  # the middle of the cell
    constant[2:4] = np.log(SIDE / 8)
    constant[4] = 1  # objectness
    for name, blue_green_red in (("person", (0, 0, 1)), ("skateboard", (0, 1, 0)), ("kite", (1, 0, 0))):
        channel = 5 + CLASSES.index(name)
        mix[channel] = [_MORE if own else -_MORE for own in blue_green_red]
        constant[channel] = -0.05
    return mix, constant


def write_detector(path: Path, batch: int | str = 1, cells: int = CELLS, classes: int = 80) -> Path:
    """Write the detector. batch: its batch axis, a number or a name. cells, classes: others make it no YOLOX."""
    mix, constant = _weights()
    bounds = np.full((85, 1, 1), -10, np.float32)
    bounds[4:] = 0
    values = {"mix": mix[..., None, None], "constant": constant, "low": bounds, "to_rows": np.array([0, 85, 256])}
    values |= {"places": np.where(np.arange(85) < 5, 1, 0).astype(np.float32).reshape(85, 1, 1)}
    values |= {"ramp": np.linspace(0, 1e-3, 256, dtype=np.float32).reshape(1, 16, 16)}  # no two cells are equal
    values |= {"pads": np.array([0, 0, 0, 0, cells - 256, classes - 80])}
    nodes = [
        helper.make_node("AveragePool", ["images"], ["mean"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Conv", ["mean", "mix", "constant"], ["raw"]),
        helper.make_node("Max", ["raw", "low"], ["bounded"]),
        helper.make_node("AveragePool", ["bounded"], ["around"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["around", "ramp"], ["ranked"]),
        helper.make_node("MaxPool", ["ranked"], ["most"], kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
        helper.make_node("Equal", ["ranked", "most"], ["is_most"]),
        helper.make_node("Cast", ["is_most"], ["peak"], to=TensorProto.FLOAT),
        helper.make_node("Max", ["peak", "places"], ["share"]),
        helper.make_node("Mul", ["around", "share"], ["kept"]),
        helper.make_node("Reshape", ["kept", "to_rows"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("Pad", ["rows", "pads"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, INPUT, INPUT])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, cells, 5 + classes])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def write_models(folder: Path) -> dict[str, str]:
    """Write the detector where the product looks for YOLOX-nano; return the environment that makes it look there."""
    (folder / "detect").mkdir(parents=True)
    model = write_detector(folder / "detect" / "yolox_nano.onnx")
    entry = (
        '[weights.{}]\nfile = "{}"\nurl = "https://example.org/{}"\nsha256 = "{}"\nlicence = "Apache-2.0"\n'
        'licence_url = "https://example.org"\nprofiles = ["detect"]\n'
    )
    registry = folder / "weights.toml"
    registry.write_text(
        'schema = 1\ndefault = ["detect"]\n[profiles]\ndetect = "a detector of colours"\n'
        + entry.format("yolox-nano", "detect/yolox_nano.onnx", "yolox_nano.onnx", sha256_file(model))
        + entry.format("rtmw-l-384x288", "pose/rtmw.zip", "rtmw.zip", "0" * 64)
    )
    return {"MODELS_DIR": str(folder), "WEIGHTS_TOML": str(registry)}


def scene(things: list[tuple[str, int, int]], width: int = 160, height: int = 120, side: int = 40) -> Frame:
    """A gray picture with coloured squares of `side` px around (x, y)."""
    gray = textured(height, width, 3).mean(axis=2, keepdims=True).astype(np.uint8)
    frame = np.repeat(gray, 3, axis=2)
    for name, x, y in things:
        half = side // 2
        top, bottom = max(0, y - half), max(0, y + half)
        frame[top:bottom, max(0, x - half) : max(0, x + half)] = COLOURS[name]
    return frame


def install_networks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a tiny RTMW-l and the detector of colours below `folder`, with a registry of both; return the registry."""
    models, registry = folder / "models", folder / "weights.toml"
    install_rtmw(models, registry, monkeypatch)
    (models / "detect").mkdir()
    digest = sha256_file(write_detector(models / "detect" / "yolox_nano.onnx"))
    with registry.open("a") as file:
        file.write(
            '\n[weights.yolox-nano]\nfile = "detect/yolox_nano.onnx"\nurl = "https://example.invalid/yolox.onnx"\n'
            f'sha256 = "{digest}"\nlicence = "Apache-2.0"\nlicence_url = "https://example.invalid"\n'
            'profiles = ["pose"]\n'
        )
    return registry


def two_people(path: Path, thing: str | None, frames: int = 12, *, skater: bool = True) -> Path:
    """Write a clip: a skater from the third frame on, with something under his feet, and a passer-by in every frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = []
    for index in range(frames):
        people = [("person", 130, 40)] + [("person", 30 + 2 * index, 40)] * (skater and index > 1)
        things = [(thing, 30 + 2 * index, 85)] if thing else []
        pictures.append(scene([*people, *things]))
    return write_clip(path, iter(pictures))
