"""make build, make up, make down: python -m runner.docker build | up [--publish] | down"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from runner import runs
from runner.commands import run
from runner.docker import compose, engine, images, server
from runner.envs import working
from runner.process import RunnerError

_LOG_TAIL_LINES = 20
_ONCE = ("base", "input", "output", "temp", "user", "web")
"""What servers wrote straight into data/comfyui once."""


def _call(*arguments: str, publish: bool = False, variables: Mapping[str, str] | None = None) -> int:
    command = compose.command(*arguments, publish=publish)
    return subprocess.run(command, env=compose.environment(variables), check=False).returncode


def build(stages: list[str]) -> int:
    """Make the images of the named stages, or all five, and write .env; what has not changed costs nothing."""
    for stage in stages:
        if stage not in images.STAGES:
            raise RunnerError(f"there is no image for '{stage}'; there are {', '.join(images.STAGES)}.", 2)
    images.check_nodes()
    if engine.buildx() is None:
        raise RunnerError(
            "Docker has no buildx plugin, which builds images; install docker-buildx-plugin (or docker-buildx)."
        )
    with working("building the images (the first time downloads about 4 GB)"):
        _build(stages or list(images.STAGES))
    compose.write_env()
    for stage in stages or images.STAGES:
        found = engine.inspect("image", images.image(stage))
        print(f"{images.image(stage)}: {(found or {}).get('Size', 0) / 1e9:.2f} GB")
    return 0


def _build(stages: list[str]) -> None:
    log = runs.cache_dir() / "build.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            compose.command("build", *stages, progress="plain"),
            env=compose.environment(images.build_arguments()),
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        tail = "\n  ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:])
        raise RunnerError(f"the images could not be built; the end of the log, {log}:\n  {tail}")


def up(publish: bool) -> int:
    """Start the ComfyUI server and leave it running until `down`."""
    images.check("comfyui")
    compose.write_env()
    code = _call("up", "--detach", "--wait", "--no-build", "comfyui", publish=publish)
    if code:
        raise RunnerError("the ComfyUI container did not start; docker compose logs comfyui says why.")
    port = os.environ.get("COMFYUI_PORT") or "8188"
    print(f"comfyui: running as {server.ADDRESS}" + (f", and on http://127.0.0.1:{port}" if publish else ""))
    return 0


def down() -> int:
    """Stop the server, and remove what it wrote."""
    code = _call("down", "--volumes", "--remove-orphans", publish=True)  # the network to publish it on, too
    work = runs.data_dir() / "comfyui"
    for folder in work.iterdir() if work.is_dir() else ():
        if folder.name in (compose.work_folder().name, *_ONCE) or compose.left_by(folder.name):
            shutil.rmtree(folder, ignore_errors=True)  # the others are servers' that run: a command's, a project's
        if folder == compose.work_folder():
            folder.mkdir(exist_ok=True)  # for whoever starts one by hand: the engine would make it root's
    return code


def command(arguments: list[str]) -> int:
    """Do one of the three."""
    engine.check()
    match arguments:
        case ["build", *stages]:
            return build(stages)
        case ["up", *rest] if set(rest) <= {"--publish"}:
            return up(bool(rest))
        case ["down"]:
            return down()
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    run(command)
