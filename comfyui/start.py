"""Start the ComfyUI server inside its image. Standard library only.

The environment says how: COMFYUI_PORT (8188), COMFYUI_LOWVRAM=1, COMFYUI_RESERVE_VRAM=GB, COMFYUI_CPU=1, or
COMFYUI_GPU=required, which ends with 3 rather than go on without one. Everything the server writes goes below /work,
models are read from /data/models.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from runner.comfy.comfyargs import nodes_arguments, server_arguments

SOURCE = Path("/opt/ComfyUI")
WORK = Path("/work")
MODELS = Path("/data/models")
NODES = Path("/opt/nodes")
MISSING = 3
FOLDERS = ("base", "input", "output", "temp", "user", "web")


def has_gpu() -> bool:
    """Say whether an NVIDIA driver with at least one device answers in this container."""
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"GPU" in answer.stdout


def command() -> list[str]:
    """Return main.py and its arguments, from the environment."""
    folders = {name: WORK / name for name in FOLDERS}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    (folders["base"] / "custom_nodes").mkdir(exist_ok=True)  # stays empty; with other nodes the server looks here too
    folders["models"] = MODELS
    on_gpu = os.environ.get("COMFYUI_CPU") != "1" and has_gpu()
    if not on_gpu and os.environ.get("COMFYUI_GPU") == "required":
        print("error: GPU=on, but no NVIDIA driver answers in ComfyUI's container; see nvidia-smi.", file=sys.stderr)
        sys.exit(MISSING)
    port = int(os.environ.get("COMFYUI_PORT") or 8188)
    extra = []
    if on_gpu and os.environ.get("COMFYUI_LOWVRAM") == "1":
        extra.append("--lowvram")
    if on_gpu and os.environ.get("COMFYUI_RESERVE_VRAM"):
        extra += ["--reserve-vram", os.environ["COMFYUI_RESERVE_VRAM"]]
    return [*server_arguments(port, folders, on_gpu, listen="0.0.0.0"), *extra, *nodes_arguments(NODES)]


if __name__ == "__main__":
    os.chdir(SOURCE)
    os.execv(sys.executable, [sys.executable, "-s", *command()])
