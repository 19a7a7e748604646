"""The whole report, in the order in which things are needed."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator

from runner import stages
from runner.docker import engine, gpu
from runner.doctor import cards, containers, disk, modelfiles
from runner.doctor.line import Line, ask


def lines(names: list[str]) -> Iterator[Line]:
    """Yield the report's lines. names: profiles of weights.toml, none for the default ones."""
    table = modelfiles.registry()
    profiles = modelfiles.chosen(names, table)
    runner = stages.chosen()
    docker = runner == "docker"
    yield Line("ok", "runner", f"{runner} (RUNNER={os.environ.get('RUNNER') or 'auto'})")
    yield python_line(docker)
    code, version = ask("git", "--version")
    if code:
        mend = "sudo apt install git"
        yield Line("warn", "git", "not there: ComfyUI's source comes from a package instead", mend)
    else:
        yield Line("ok", "git", version.removeprefix("git version "))
    yield from containers.engine_lines(docker)
    answers = engine.problem() is None
    wish = os.environ.get("GPU") or "auto"
    found, said = cards.gpus()
    used = wish != "off" and ((answers and gpu.runtime()) if docker else True)
    yield from cards.driver_lines(found, said, used and bool(found or said))
    yield from cards.memory_lines(found, {profile: modelfiles.largest_gb(profile, table) for profile in profiles})
    if answers:
        yield cards.runtime_line(found, docker and wish == "on")
        room = disk.engine_line(docker)
        if room:
            yield room
    model_lines = [modelfiles.line(profile, table) for profile in profiles]
    yield from disk.local_lines(sum(missing for _, missing in model_lines), not docker)
    yield from (line for line, _ in model_lines)
    yield from modelfiles.stage_lines(table)
    if answers:
        yield from containers.image_lines(docker)
    yield containers.container_line() if docker and answers else containers.server_line()


def python_line(docker: bool) -> Line:
    """Return this Python, and whether it can make environments. docker: only make demo makes one."""
    version = sys.version.split()[0]
    absent = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if absent:
        value, mend = f"{version} without {' and '.join(absent)}", "sudo apt install python3.11-venv"
        if docker:
            return Line("warn", "Python", f"{value}, which make demo needs", mend)
        return Line("missing", "Python", value, mend)
    return Line("ok", "Python", version)
