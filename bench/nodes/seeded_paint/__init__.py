"""Two nodes for a ComfyUI server of the benchmarks and tests: a painter without a model, as good or bad as it is told.

It paints the object in other colours, or badly: left as it is, which no gate lets pass, or in a colour, which a tracker
may lose against trousers of that colour. Which of the two is decided by the seed and the window's own pictures
together, with the chance that it is given, times cfg: so windows with one seed fail each by itself, as with a model,
and the same window with the same seed always ends alike. It sleeps as long as it is told, in the place of a model that
works, so that several servers on few cores can be seen to work at once.
"""

import hashlib
import time

import torch
from comfy.model_management import throw_exception_if_processing_interrupted

_MOMENT_S = 0.05


class SeededText:
    """Holds a prompt."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("STRING",), "hold", "bench"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"text": ("STRING", {"multiline": True})}}

    def hold(self, text):
        return (text,)


class SeededPaint:
    """Paints the object where the mask is white, well or badly by chance.

    good, bad: the colour that it then has, 0xRRGGBB; where that is -1, its inverse colours, and its own.
    """

    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "paint", "bench"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "source": ("IMAGE",),
                "mask": ("IMAGE",),
                "prompt": ("STRING", {"forceInput": True}),
                "negative": ("STRING", {"forceInput": True}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**64 - 1}),
                "chance": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.001}),
                "seconds": ("FLOAT", {"default": 0.0, "min": 0.0, "max": 600.0, "step": 0.01}),
            },
            "optional": {
                "good": ("INT", {"default": -1, "min": -1, "max": 0xFFFFFF}),
                "bad": ("INT", {"default": -1, "min": -1, "max": 0xFFFFFF}),
                "cfg": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 30.0, "step": 0.1}),
            },
        }

    def paint(self, source, mask, prompt, negative, seed, chance, seconds, good=-1, bad=-1, cfg=1.0):
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            throw_exception_if_processing_interrupted()
            time.sleep(min(left, _MOMENT_S))
        digest = hashlib.sha256(f"{seed}\n".encode() + source.numpy().tobytes()).digest()
        if int.from_bytes(digest[:8], "big") < chance * cfg * 2**64:
            paint = 1.0 - source[..., [1, 2, 0]] if good < 0 else _coloured(source, good)
        else:
            paint = source if bad < 0 else _coloured(source, bad)
        return (paint.where(mask[..., :1] > 0.5, source),)


def _coloured(source, colour):
    """The source's shading in one colour, 0xRRGGBB."""
    levels = torch.tensor([colour >> 16, colour >> 8 & 255, colour & 255], dtype=source.dtype) / 255
    return 0.25 * source.mean(-1, keepdim=True) + 0.75 * levels


NODE_CLASS_MAPPINGS = {"SeededText": SeededText, "SeededPaint": SeededPaint}
