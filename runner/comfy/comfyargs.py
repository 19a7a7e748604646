"""The command line of a ComfyUI server that we start."""

from __future__ import annotations

from pathlib import Path

MAX_UPLOAD_MB = 2048
"""For one window's lossless video, of any size; ComfyUI's own limit is 100 MiB."""


def server_arguments(port: int, folders: dict[str, Path], on_gpu: bool, listen: str = "127.0.0.1") -> list[str]:
    """Return the command line of main.py.

    folders: "base", "input", "output", "temp", "user", "web", maybe "models". listen: the address; a container's server
    has a network of its own and listens on all of it.
    """
    arguments = ["main.py", "--listen", listen, "--port", str(port)]
    for option in ("base", "input", "output", "temp", "user", "models"):
        if option in folders:
            arguments += [f"--{option}-directory", str(folders[option])]
    arguments += ["--max-upload-size", str(MAX_UPLOAD_MB)]
    # an empty web root: there is no web front end here, and its package (and its downloads) stay out
    arguments += ["--front-end-root", str(folders["web"]), "--database-url", "sqlite:///:memory:"]
    arguments += ["--disable-all-custom-nodes", "--disable-api-nodes", "--disable-auto-launch", "--disable-metadata"]
    # ComfyUI's own cache stays on: it keeps the loaded models from window to window, and drops a window's pictures as
    # soon as the next one's come. --cache-none would read every model again for every window.
    return arguments if on_gpu else [*arguments, "--cpu"]


def nodes_arguments(folder: Path) -> list[str]:
    """Return what makes the server load the packages of nodes in a folder that comfyui/fetch_nodes.py filled.

    They are named one by one: with --disable-all-custom-nodes the server loads the named ones and nothing else, so what
    somebody puts into its own custom_nodes folder stays out. Nothing where the folder holds none.
    """
    names = sorted(each.name for each in folder.glob("*/") if each.is_dir())
    if not names:
        return []
    return ["--extra-model-paths-config", str(folder / "paths.yaml"), "--whitelist-custom-nodes", *names]
