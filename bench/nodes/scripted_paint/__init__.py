"""A node for a ComfyUI server of the tests: a painter without a model that does in each window what its script says.

A clip for it has a square in its left upper corner whose brightness says which window a frame is in (`LEVEL` a window).
What it paints it prints, so the server's log, which outlives the server, has every painting that was really begun and
every one that came to its end: "scripted paint: window 1 seed 7 begun". What the server answers from its cache is not
in there.
"""

import json
import time

from comfy.model_management import throw_exception_if_processing_interrupted

MARK_PX, LEVEL = 8, 24
_MOMENT_S = 0.05


class ScriptedPaint:
    """Paints the object where the mask is white, in other colours, but for frames that the script leaves as they are.

    script: JSON, {"WINDOW:SEED": frames that are left, the last ones of the window}. A window that is not in there is
    painted as a whole; one that has "WINDOW:*" has that with every seed.
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
                "script": ("STRING", {"default": "{}", "multiline": True}),
                "seconds": ("FLOAT", {"default": 0.0, "min": 0.0, "max": 600.0, "step": 0.01}),
            }
        }

    def paint(self, source, mask, prompt, negative, seed, script, seconds):
        window = round(float(source[0, :MARK_PX, :MARK_PX].mean()) * 255 / LEVEL)
        print(f"scripted paint: window {window} seed {seed} begun", flush=True)
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            throw_exception_if_processing_interrupted()
            time.sleep(min(left, _MOMENT_S))
        written = json.loads(script)
        bad = written.get(f"{window}:{seed}", written.get(f"{window}:*", 0))
        painted = (1.0 - source[..., [1, 2, 0]]).where(mask[..., :1] > 0.5, source)
        if bad:
            painted[-bad:] = source[-bad:]
        print(f"scripted paint: window {window} seed {seed} done", flush=True)
        return (painted,)


NODE_CLASS_MAPPINGS = {"ScriptedPaint": ScriptedPaint}
