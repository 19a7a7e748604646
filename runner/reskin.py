"""generate_reskin.py: the new object and the new skater, on a ComfyUI server that is started when needed."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from runner import runs
from runner.commands import FORCE, RUN, CommandLine, named, passed_on
from runner.process import RunnerError
from runner.stages import chosen, comfyui, start_stage

MASK, POSE = "mask.mp4", "pose.json"
OWN = {"--mask": MASK, "--pose": POSE, "--server": None}
"""Options of the stage that are looked at here first, with what they are where they are not given."""
PATIENCE = "--patience"
"""Option of the reskin stage: seconds to wait for a server that went away."""
WORK_TO_DO = 4
"""Exit code of `python -m reskin --check` when the result is not there yet."""


def command_line() -> CommandLine:
    """Return the options: the reskin stage's, what to paint first; the server and the two files are found here."""
    stage = passed_on("reskin")
    first = [named(stage, name) for name in ("--prompt", "--prompts-file")]
    own = {name: replace(named(stage, name), goes={}, default=default) for name, default in OWN.items()}
    own["--server"] = replace(
        own["--server"],
        help="A running ComfyUI; may be repeated, then jobs are shared out. Else one is started and stopped.",
    )
    rest = [own.get(each.name, each) for each in stage if each not in first]
    return CommandLine(
        "generate_reskin.py", "Paint a new object and a new skater into the clip.", [*first, RUN, *rest, FORCE]
    )


def reskin(arguments: list[str]) -> int:
    """generate_reskin.py: paint the new object and the new skater, on a ComfyUI server that is started when needed."""
    given = command_line().parse(arguments)
    named_run, servers, forced = runs.named_run(given.value("--run")), given.values("--server"), given.has("--force")
    mask = runs.find(given.value("--mask") or MASK, named_run)
    pose = runs.find(given.value("--pose") or POSE, named_run)
    folder = named_run or runs.run_of(mask)
    if folder is None:
        raise RunnerError(
            f"{mask} is not in a run folder (no run.json beside it), so its clip is not known; "
            "make the mask with extract_physics.py, or name the run with --run.",
            2,
        )
    stage = ["--run", str(folder), "--mask", str(mask), "--pose", str(pose), *given.of("reskin")]
    if servers and chosen() == "docker":
        _leave_the_container(servers[0])
    code = 0 if forced else start_stage("reskin", [*stage, "--check"], writes=[folder])
    if code != WORK_TO_DO and not forced:
        return code
    stage += ["--force"] if forced else []
    if servers:
        return start_stage("reskin", [*stage, *_servers(servers)], writes=[folder])
    if not given.has(PATIENCE):
        stage += [PATIENCE, "5"]  # nobody starts that server again
    with comfyui(folder / "comfyui.log") as (address, project):
        return start_stage("reskin", [*stage, *_servers([address])], writes=[folder], project=project)


def _leave_the_container(address: str) -> None:
    """Have this command's stage run without a container, unless docker was asked for by name (RunnerError)."""
    if os.environ.get("RUNNER") == "docker":
        raise RunnerError(
            f"--server {address} cannot be reached from the reskin container, which sees ComfyUI's container "
            "only; leave it out, or use RUNNER=local.",
            2,
        )
    print(
        f"runner: local, because the reskin container would not reach --server {address}", file=sys.stderr, flush=True
    )
    os.environ["RUNNER"] = "local"


def _servers(addresses: list[str]) -> list[str]:
    return [part for address in addresses for part in ("--server", address)]
