"""What the Docker engine on this machine says of itself and of our images."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from typing import Any

from runner.process import RunnerError

TIMEOUT_S = 60
ENGINE_NEEDED = (25,)
"""start_interval of a healthcheck (API 1.44)."""
COMPOSE_NEEDED = (2, 24)
"""`!reset` in an overriding file, and start_interval."""
_SOCKET = "/var/run/docker.sock"


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: "570.124.06" -> (570, 124, 6)."""
    found = []
    for part in version.strip().lstrip("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)


def docker(*arguments: str, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run `docker ARGUMENTS` and return what it printed; raise RunnerError when there is no docker or no answer."""
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    except FileNotFoundError:
        raise RunnerError("there is no docker command; install Docker Engine, or use RUNNER=local.") from None
    except subprocess.TimeoutExpired:
        raise RunnerError(f"docker {arguments[0]} gave no answer for {timeout_s:.0f} s; is the engine well?") from None


@functools.cache
def problem() -> str | None:
    """Say in one sentence why containers cannot be run here, or None when they can."""
    if shutil.which("docker") is None:
        return "there is no docker command; install Docker Engine, or use RUNNER=local."
    engine = docker("version", "--format", "{{.Server.Version}}")
    if engine.returncode != 0:
        said = engine.stderr.strip().splitlines()[-1] if engine.stderr.strip() else "no answer"
        if "permission denied" in said.lower():
            return (
                "the Docker engine does not let this user in (permission denied on its socket); join the group docker "
                "(sudo usermod -aG docker $USER, then log in again), or use RUNNER=local."
            )
        return (
            f"the Docker engine does not answer ({said}); start it (sudo systemctl start docker), or use RUNNER=local."
        )
    if numbers(engine.stdout) < ENGINE_NEEDED:
        needed = ".".join(str(each) for each in ENGINE_NEEDED)
        return f"Docker Engine is {engine.stdout.strip()}, {needed} is needed; update it, or use RUNNER=local."
    if "userns" in security():
        return (
            "the Docker engine maps users to others (userns-remap), so what a container writes would not be yours; "
            "take userns-remap out of its settings (/etc/docker/daemon.json), or use RUNNER=local."
        )
    compose = docker("compose", "version", "--short")
    if compose.returncode != 0:
        return (
            "Docker has no compose plugin; install docker-compose-plugin (or docker-compose-v2), or use RUNNER=local."
        )
    if numbers(compose.stdout) < COMPOSE_NEEDED:
        needed = ".".join(str(each) for each in COMPOSE_NEEDED)
        return f"Docker Compose is {compose.stdout.strip()}, {needed} is needed; update it, or use RUNNER=local."
    return None


@functools.cache
def security() -> frozenset[str]:
    """Return the names of the engine's security options: seccomp, rootless, userns, ...; none where it does not say."""
    answer = docker("info", "--format", "{{json .SecurityOptions}}")
    try:
        options = json.loads(answer.stdout or "null") or []
    except ValueError:
        options = []
    return frozenset(str(option).split(",")[0].removeprefix("name=") for option in options)


@functools.cache
def memory() -> int | None:
    """Return the memory of the machine that the engine runs on, in bytes; None where it does not say."""
    said = docker("info", "--format", "{{.MemTotal}}").stdout.strip()
    return int(said) if said.isdigit() and int(said) else None


def buildx() -> str | None:
    """Return the version of the plugin that builds images, None where there is none."""
    answer = docker("buildx", "version")
    words = answer.stdout.split()
    return (words[1] if len(words) > 1 else "of an unknown version") if answer.returncode == 0 else None


def socket_group() -> int | None:
    """Return the group that may talk to the engine, None where it is not on a socket of this machine's."""
    host = os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"
    try:
        return os.stat(host.removeprefix("unix://")).st_gid if host.startswith("unix://") else None
    except OSError:
        return None


def check() -> None:
    """Raise RunnerError when containers cannot be run here."""
    reason = problem()
    if reason:
        raise RunnerError(reason)


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """Return what the engine knows of an image or a container; None where there is none of that name."""
    answer = docker(kind, "inspect", name)
    if answer.returncode != 0:
        return None
    found = json.loads(answer.stdout)
    return found[0] if found else None
