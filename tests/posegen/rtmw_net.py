"""A tiny network with RTMW's real signature, made of a known function.

Keypoint k follows colour channel k % 3: it lies where the picture is brightest in that channel, by column means and by
row means. Between two pixels the score is the mean of theirs, and each keypoint's scores fall off from a place of its
own, so that keypoints differ on real pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from posegen.rtmw_backend import MEAN, STD

N_KEYPOINTS = 133
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
