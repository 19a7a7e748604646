"""generate_reskin.py: the new object and the new skater, on a ComfyUI server that is started when needed."""

from __future__ import annotations

import os
import sys

from runner import runs
from runner.arguments import has, named_run, stage_parser
from runner.process import RunnerError
from runner.stages import chosen, comfyui, start_stage

PATIENCE = "--patience"
"""Option of the reskin stage: seconds to wait for a server that went away."""
WORK_TO_DO = 4
"""Exit code of `python -m reskin --check` when the result is not there yet."""


def reskin(arguments: list[str]) -> int:
    """generate_reskin.py: paint the new object and the new skater, on a ComfyUI server that is started when needed."""
    parser = stage_parser("generate_reskin.py", "Paint a new object and a new skater into the clip.", "reskin")
    parser.add_argument("--mask", default="mask.mp4", metavar="FILE", help="the object's mask (default mask.mp4)")
    parser.add_argument("--pose", default="pose.json", metavar="FILE", help="the skeleton (default pose.json)")
    parser.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a running ComfyUI; may be repeated, then jobs are shared out; default: one is started and stopped",
    )
    options, rest = parser.parse_known_args(arguments)
    named = named_run(options.run)
    mask, pose = runs.find(options.mask, named), runs.find(options.pose, named)
    folder = named or runs.run_of(mask)
    if folder is None:
        raise RunnerError(
            f"{mask} is not in a run folder (no run.json beside it), so its clip is not known; "
            "make the mask with extract_physics.py, or name the run with --run.",
            2,
        )
    stage = ["--run", str(folder), "--mask", str(mask), "--pose", str(pose), *rest]
    if options.server and chosen() == "docker":
        _leave_the_container(options.server[0])
    code = 0 if options.force else start_stage("reskin", [*stage, "--check"], writes=[folder])
    if code != WORK_TO_DO and not options.force:
        return code
    forced = [*stage, *(["--force"] if options.force else [])]
    if options.server:
        return start_stage("reskin", [*forced, *_servers(options.server)], writes=[folder])
    if not has(PATIENCE, rest):
        forced += [PATIENCE, "5"]  # nobody starts that server again
    with comfyui(folder / "comfyui.log") as (address, project):
        return start_stage("reskin", [*forced, *_servers([address])], writes=[folder], project=project)


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
