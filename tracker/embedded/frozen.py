"""The embedded tracker's state as bytes, from which it goes on exactly: the arrays and numbers that it holds, no code.

What a frame to come depends on are the fields of the tracker and of its three parts; OpenCV's optical flow keeps
nothing from one frame to the next.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import cv2
import numpy as np

from handoff.places import Box
from tracker.embedded.classical import EmbeddedTracker
from tracker.embedded.cues import Background, ColourModel
from tracker.embedded.motion import Motion

_PARTS = {"_colours": ColourModel, "_background": Background, "_motion": Motion}
_FLOW, _BOX = "_dis", "_last_box"
_QUICK = 1  # zlib's level: a third of the bytes in a tenth of the time


def freeze(tracker: EmbeddedTracker) -> bytes:
    """Return the state of a tracker that has begun."""
    fields = {name: value for name, value in vars(tracker).items() if name not in _PARTS}
    fields[_BOX] = fields[_BOX].as_list()
    for part in _PARTS:
        fields |= {f"{part}.{name}": value for name, value in vars(vars(tracker)[part]).items() if name != _FLOW}
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray(value) for name, value in fields.items()})
    return zlib.compress(file.getvalue(), _QUICK)


def thaw(state: bytes) -> EmbeddedTracker:
    """Return the tracker of a state."""
    tracker = EmbeddedTracker()
    fields: dict[str, Any] = {}
    with np.load(io.BytesIO(zlib.decompress(state)), allow_pickle=False) as arrays:
        for name, value in arrays.items():
            fields[name] = value if value.ndim else value.item()
    for part, kind in _PARTS.items():
        own = {name: fields.pop(name) for name in [*fields] if name.startswith(f"{part}.")}
        made: Any = object.__new__(kind)
        vars(made).update({name.removeprefix(f"{part}."): value for name, value in own.items()})
        if kind is Motion:
            vars(made)[_FLOW] = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        fields[part] = made
    fields[_BOX] = Box(*fields[_BOX].tolist())
    vars(tracker).update(fields)
    return tracker
