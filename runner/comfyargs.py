"""The command line of a ComfyUI server that we start, and the file that tells it where the models are."""

from __future__ import annotations

import json
from pathlib import Path

MAX_UPLOAD_MB = 2048
"""One window's lossless video, of any size; ComfyUI's own limit is 100 MiB."""

_MODEL_FOLDERS = {
    "diffusion_models": "diffusion_models\nunet",
    "text_encoders": "text_encoders\nclip",
    **{name: name for name in ("checkpoints", "vae", "loras", "controlnet", "clip_vision", "embeddings")},
}
"""ComfyUI's kinds of models, and the folders below the models folder that hold them."""


def _models_file(folders: dict[str, Path]) -> Path:
    return folders["user"] / "models.yaml"


def write_models_file(folders: dict[str, Path], models: Path) -> None:
    """Tell the server that its model files lie below `models`, a folder laid out as ComfyUI/models."""
    entry = {"base_path": str(models.resolve()), **_MODEL_FOLDERS}
    _models_file(folders).write_text(json.dumps({"preserver": entry}), encoding="utf-8")  # JSON is YAML too


def server_arguments(port: int, folders: dict[str, Path], on_gpu: bool) -> list[str]:
    """Return the command line of main.py."""
    arguments = ["main.py", "--listen", "127.0.0.1", "--port", str(port)]
    for option in ("base", "input", "output", "temp", "user"):
        arguments += [f"--{option}-directory", str(folders[option])]
    arguments += ["--extra-model-paths-config", str(_models_file(folders)), "--max-upload-size", str(MAX_UPLOAD_MB)]
    # an empty web root: there is no web front end here, and its package (and its downloads) stay out
    arguments += ["--front-end-root", str(folders["web"]), "--database-url", "sqlite:///:memory:"]
    arguments += ["--disable-all-custom-nodes", "--disable-api-nodes", "--disable-auto-launch", "--disable-metadata"]
    # on the CPU no intermediate result is worth its memory; on a GPU the loaded models are
    return arguments if on_gpu else [*arguments, "--cpu", "--cache-none"]
