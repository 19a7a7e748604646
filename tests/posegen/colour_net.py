"""A detector of YOLOX's own signature made from a known function: red is a person, green a skateboard, blue a kite.

It looks at cells of 8x8 px of a 128x128 input: a cell's class score is how much of that colour is in it and in the
eight around it, where no cell near by has more; its box is always SIDE px around its middle. So pictures of coloured
squares have real detections, wherever the squares move.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from handoff.files import sha256_file
from handoff.video import Frame
from posegen.detect.yolox import CLASSES
from tests.helpers import textured

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
