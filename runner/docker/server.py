"""The ComfyUI server in its container: the one that `make up` started, or one for a single command."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from runner import runs
from runner.docker import compose, engine, images
from runner.docker.gpu import for_containers
from runner.process import RunnerError, die_with_parent

ADDRESS = "comfyui:8188"
START_TIMEOUT_S = 300.0
_POLL_S = 0.3
_STOP_S = 5


def _container(project: str) -> str | None:
    """Return the id of a project's server, None when it has none."""
    found = compose.quiet("ps", "--all", "--quiet", "comfyui", project=project)
    return found.stdout.split()[0] if found.returncode == 0 and found.stdout.split() else None


def health(project: str = compose.PROJECT) -> str:
    """Return "healthy", "starting", "unhealthy", "exited", ... of a project's server, "none" without one."""
    container = _container(project)
    found = engine.inspect("container", container) if container else None
    if found is None:
        return "none"
    state = found["State"]
    return str(state.get("Health", {}).get("Status") or state["Status"]) if state["Running"] else str(state["Status"])


def _gpu_of(project: str) -> str | None:
    """Return the GPU that a project's server was given; None where it has none."""
    container = _container(project)
    found = engine.inspect("container", container) if container else None
    requests = (found or {}).get("HostConfig", {}).get("DeviceRequests") or []
    return str((requests[0].get("DeviceIDs") or ["0"])[0]) if requests else None


@contextlib.contextmanager
def serve(log: Path) -> Iterator[tuple[str, str]]:
    """Yield (address, project) of a server: the one of `make up` where it is healthy, else one for this block only.

    One that is on another GPU than this command's is left alone.

    log: what the server printed, where this block started it. Raises RunnerError when it does not start.
    """
    if health() == "healthy":
        theirs, ours = _gpu_of(compose.PROJECT), for_containers()
        if theirs in (None, ours):
            print("comfyui: using the server that make up started", file=sys.stderr, flush=True)
            yield ADDRESS, compose.PROJECT
            return
        print(f"comfyui: the server that make up started is on GPU {theirs}, this is for {ours}", file=sys.stderr)
    images.check("comfyui")
    project = compose.own_project()
    work = runs.data_dir().absolute() / "comfyui" / compose.mark()
    compose.folders()
    work.mkdir(parents=True, exist_ok=True)
    print(f"comfyui: starting the server's container (log: {log})", file=sys.stderr, flush=True)
    variables = {"COMFYUI_WORK": str(work)}
    try:
        with runs.new_file(log) as output:
            client = subprocess.Popen(
                compose.command("up", "--no-log-prefix", "comfyui", project=project),
                env=compose.environment(variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the stage; this ends after it
                preexec_fn=die_with_parent,
            )
        _wait(client, project, log)
        yield ADDRESS, project
    finally:
        compose.quiet("down", "--volumes", "--timeout", str(_STOP_S), project=project, **variables)
        shutil.rmtree(work, ignore_errors=True)


def _wait(client: subprocess.Popen[bytes], project: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if client.poll() is not None:
            break
        if health(project) == "healthy":
            return
        time.sleep(_POLL_S)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise RunnerError(f"the ComfyUI container did not answer; the end of its log, {log}:\n{tail}")


def remove_left() -> None:
    """End the servers of commands that were killed, and remove what they had written."""
    form = '{{.Label "com.docker.compose.project"}}'
    answer = engine.docker("network", "ls", "--filter", f"name=^{compose.PROJECT}-", "--format", form)
    for project in set(answer.stdout.split()):
        mark = compose.left_by(project.removeprefix(f"{compose.PROJECT}-"))
        if mark:
            compose.quiet("down", "--volumes", "--timeout", "1", project=project)
            compose.remove_networks(project)
            shutil.rmtree(runs.data_dir() / "comfyui" / mark, ignore_errors=True)
