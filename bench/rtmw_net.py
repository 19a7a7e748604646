"""A network of RTMW's signature and about its cost, with random weights: time and memory do not depend on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, N_KEYPOINTS = 384, 288, 133
_CHANNELS = (64, 128, 256, 512)  # at strides 4, 8, 16 and 32; a 3 x 3 convolution costs the same at each
_CONV_GMACS = 9 * _CHANNELS[0] ** 2 * (HEIGHT // 4) * (WIDTH // 4) / 1e9

Floats = NDArray[np.float32]


def write_network(path: Path, gmacs: float) -> Path:
    """Write a network of about `gmacs` thousand million multiplications a crop: 3 x 3 convolutions with SiLU."""
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, value: Floats) -> str:
        weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    def conv(source: str, inputs: int, outputs: int, size: int, stride: int) -> str:
        name = f"conv{len(nodes)}"
        kernel = random.normal(0, np.sqrt(2 / (inputs * size**2)), (outputs, inputs, size, size))
        nodes.append(
            helper.make_node(
                "Conv", [source, constant(f"{name}_w", kernel)], [name], strides=[stride] * 2, pads=[size // 2] * 4
            )
        )
        nodes.append(helper.make_node("Sigmoid", [name], [f"{name}_s"]))
        nodes.append(helper.make_node("Mul", [name, f"{name}_s"], [f"{name}_a"]))
        return f"{name}_a"

    each = max(1, round(gmacs / _CONV_GMACS / len(_CHANNELS)))
    light = conv(conv("input", 3, 32, 3, 2), 32, _CHANNELS[0], 3, 2)
    for stage, channels in enumerate(_CHANNELS):
        if stage:
            light = conv(light, _CHANNELS[stage - 1], channels, 3, 2)
        for _ in range(each):
            light = conv(light, channels, channels, 3, 1)
    light = conv(light, _CHANNELS[-1], N_KEYPOINTS, 1, 1)
    places = (HEIGHT // 32) * (WIDTH // 32)
    weights.append(numpy_helper.from_array(np.array([0, N_KEYPOINTS, places]), "flat"))
    nodes.append(helper.make_node("Reshape", [light, "flat"], ["places"]))
    for name, size in (("simcc_x", 2 * WIDTH), ("simcc_y", 2 * HEIGHT)):
        matrix = constant(f"{name}_w", random.normal(0, 1, (places, size)))
        nodes.append(helper.make_node("MatMul", ["places", matrix], [name]))
    outputs = [("simcc_x", 2 * WIDTH), ("simcc_y", 2 * HEIGHT)]
    graph = helper.make_graph(
        nodes,
        "rtmw",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", N_KEYPOINTS, size])
            for name, size in outputs
        ],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), str(path))
    return path
