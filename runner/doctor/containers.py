"""The Docker engine, Compose, the five images, and ComfyUI's container or server."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException

from runner.docker import compose, engine, images
from runner.doctor.line import Line, ask, trouble

_MOST_BYTES = 2**20
"""Of a server's word on itself that are read."""


def _split(sentence: str) -> tuple[str, str]:
    """Split the engine's "what is wrong; what to do." into the two."""
    value, _, mend = sentence.removesuffix(".").partition("; ")
    return value, mend


def engine_lines(needed: bool) -> Iterator[Line]:
    """Yield the lines of the engine, Compose and buildx. needed: the docker runner is chosen."""
    problem = engine.problem()
    code, version = ask("docker", "version", "--format", "{{.Server.Version}}")
    if code:
        yield Line(trouble(needed), "Docker engine", *_split(problem or "the Docker engine does not answer"))
        return
    if problem and "compose" not in problem.lower():
        yield Line(trouble(needed), "Docker engine", *_split(problem))
        return
    rootless = ", rootless: root in a container is you" if "rootless" in engine.security() else ""
    yield Line("ok", "Docker engine", f"{version}{rootless}")
    if problem:
        yield Line(trouble(needed), "Docker Compose", *_split(problem))
        return
    yield Line("ok", "Docker Compose", ask("docker", "compose", "version", "--short")[1])
    builder = engine.buildx()
    if builder:
        yield Line("ok", "Docker buildx", builder)
    else:
        mend = "sudo apt install docker-buildx-plugin (or docker-buildx)"
        yield Line(trouble(needed and bool(images.missing())), "Docker buildx", "not there: make build needs it", mend)


def image_lines(needed: bool) -> Iterator[Line]:
    """Yield a line for each stage's image: not there, of other code, or of this code."""
    for stage in images.STAGES:
        name, have = images.image(stage), images.built(stage)
        if have is None:
            yield Line(trouble(needed), "image", f"{name} is not built", "make build")
        elif have != images.code(stage):
            yield Line(trouble(needed), "image", f"{name} was made from other code than this", "make build")
        else:
            yield Line("ok", "image", f"{name}, of this code")


def container_line() -> Line:
    """Return how ComfyUI's container is, where `make up` started one; containers reach no other server."""
    address = os.environ.get("SERVER")
    if address:
        return Line("warn", "ComfyUI", f"{address} is not asked: a container would not reach it", "RUNNER=local")
    labels = [f"label=com.docker.compose.{key}" for key in (f"project={compose.PROJECT}", "service=comfyui")]
    answer = engine.docker(
        "ps", "--all", *(p for each in labels for p in ("--filter", each)), "--format", "{{.Status}}"
    )
    status = answer.stdout.strip().splitlines()
    if not status:
        return Line("ok", "ComfyUI", "no container is up: each command starts its own (make up leaves one running)")
    if "(healthy)" in status[0]:
        return Line("ok", "ComfyUI", f"its container is {status[0]}")
    return Line("warn", "ComfyUI", f"its container is {status[0]}", "docker compose logs comfyui; make down && make up")


def server_line() -> Line:
    """Return whether the server in $SERVER answers; without one, a command starts its own."""
    address = os.environ.get("SERVER")
    if not address:
        return Line("ok", "ComfyUI", "nothing needed: a command starts its own server (SERVER=HOST:PORT asks another)")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/system_stats", timeout=10) as answer:
            system = json.loads(answer.read(_MOST_BYTES))["system"]
        version = ascii(system.get("comfyui_version", "a version that it does not state"))[1:-1]
    except (OSError, HTTPException, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "reason", error)
        mend = f"start ComfyUI there, or leave SERVER away (curl http://{address}/system_stats shows what answers)"
        return Line("missing", "ComfyUI", f"{address} gives no answer that is ComfyUI's ({reason})", mend)
    return Line("ok", "ComfyUI", f"{version} answers at {address}")
