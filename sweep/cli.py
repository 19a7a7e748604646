"""make sweep: python -m sweep FILE.yaml [--profile NAME|FOLDER] [-n] [--table] [-- SNAKEMAKE OPTIONS]"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.jobplan import ClipFile
    from sweep.specification import SweepClip

ROOT = Path(__file__).resolve().parent.parent


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(
        prog="make sweep",
        usage='make sweep SWEEP=my.yaml [PROFILE=local|slurm|kubernetes|FOLDER] [ARGS="OPTIONS"]',
        description="Every clip x prompt x seed of a file: extracted, painted, judged, and in one table.",
        allow_abbrev=False,
    )
    made.add_argument("file", type=Path, help="The sweep's file, such as sweep/example.yaml.")
    made.add_argument(
        "--profile", default="local", help="Where jobs run: local, slurm, kubernetes, or a folder of your own."
    )
    made.add_argument("-n", "--dry-run", action="store_true", help="Only say what would run, and how many paintings.")
    made.add_argument("--table", action="store_true", help="Only make the table, of what is there.")
    made.add_argument("snakemake", nargs="*", help="More options for Snakemake, after --.")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep; return 0 when every cell passes, 1 when a gate fails, 3 when a job failed."""
    given = parser().parse_args(arguments)
    try:
        return _sweep(given)
    except SweepError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; the same command goes on.", file=sys.stderr)
        return 130


def _sweep(given: argparse.Namespace) -> int:
    from sweep import supervisor  # --help needs none of it
    from sweep.folder import alone_in
    from sweep.jobplan import plan_of, write_plan
    from sweep.profile import Profile
    from sweep.specification import read

    sweep, profile = read(given.file), Profile.named(given.profile)
    data = Path(os.environ.get("DATA_DIR") or ROOT / "data").absolute()
    folder = data / "sweeps" / sweep.name
    plan = plan_of(sweep, [_clip_file(clip) for clip in sweep.clips], folder, data)
    if given.table:
        return supervisor.conclude(plan, ended=False)
    if given.dry_run:
        return supervisor.foretell(plan, profile, given.snakemake)
    with alone_in(folder):
        return supervisor.carry_out(plan, write_plan(plan), profile, given.snakemake)


def _clip_file(clip: SweepClip) -> ClipFile:
    """Return a clip's file; the demo clip is made first."""
    from sweep.jobplan import ClipFile
    from sweep.supervisor import PYTHON

    if clip.path is not None:
        return ClipFile(clip.path, clip.bbox, clip.frame)
    frames = [] if clip.demo == "all" else [str(each) for each in clip.demo or ()]
    command = [PYTHON, "-s", str(ROOT / "runner"), "demo-clip", *frames]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SweepError("the demo clip cannot be made; above is why.", done.returncode)
    made = json.loads(done.stdout.splitlines()[-1])
    return ClipFile(Path(made["clip"]), tuple(made["bbox"]), made["frame"])


if __name__ == "__main__":
    sys.exit(main())
