"""make sweep: python -m sweep FILE.yaml [--profile NAME|FOLDER] [-n] [--table] [-- SNAKEMAKE OPTIONS]"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.cluster.slurm import PATIENCE_S
from sweep.errors import SweepError

if TYPE_CHECKING:
    from sweep.jobplan import ClipFile
    from sweep.request.specification import SweepClip

ROOT = Path(__file__).resolve().parent.parent
FAILED_AS, FAILED = "SKATE_FAILED_AS", 101
"""Environment, and what runner/sweep/launch.py sets it to: the code in place of 1, as handoff/command.py has it."""
INTERRUPTED, NO_ROOM, FAULT = 130, 3, 70


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(
        prog="make sweep",
        usage='make sweep SWEEP=my.yaml [PROFILE=local|slurm|kubernetes|FOLDER] [ARGS="OPTIONS [-- SNAKEMAKE\'S]"]',
        description="Every clip x prompt x seed of a file: extracted, painted, judged, and in one table.",
        allow_abbrev=False,
    )
    made.add_argument("file", type=Path, help="The sweep's file, such as sweep/example.yaml.")
    made.add_argument(
        "--profile",
        default="local",
        help="Where jobs run: local, slurm, kubernetes, or a folder of your own, with a slash.",
    )
    made.add_argument("-n", "--dry-run", action="store_true", help="Only say what would run, and how many paintings.")
    made.add_argument("--table", action="store_true", help="Only make the table, of what is there.")
    made.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_S,
        help=f"Seconds that SLURM's controller may be silent. [default: {PATIENCE_S:.0f}]",
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the sweep; return 0 when every cell passes, 1 when a gate fails, 3 when a job failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    own = words[: words.index("--")] if "--" in words else words  # argparse would not take what follows an option
    given = parser().parse_args(own)
    code = _ended(given, words[len(own) + 1 :])
    return FAILED if code == 1 and os.environ.get(FAILED_AS) == str(FAILED) else code


def _ended(given: argparse.Namespace, more: list[str]) -> int:
    """Return the exit code: no error, whatever it is, ends with 1, which is a verdict."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _sweep(given, more)
    except SweepError as error:
        _complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _complain("error: interrupted; the same command goes on.")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _complain(f"error: {error.strerror}: {error.filename or 'a file'} cannot be written; free some room.")
            return NO_ROOM
        traceback.print_exc()
        _complain(f"error: {type(error).__name__}, which nobody foresaw (above is where); report it.")
        return FAULT


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _complain(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


def _sweep(given: argparse.Namespace, more: list[str]) -> int:
    from sweep import supervisor  # --help needs none of it
    from sweep.folder import alone_in
    from sweep.jobplan import plan_of, write_plan
    from sweep.profile import Profile
    from sweep.request.specification import read

    sweep, profile = read(given.file), Profile.named(given.profile)
    data = Path(os.environ.get("DATA_DIR") or ROOT / "data").absolute()
    folder = data / "sweeps" / sweep.name
    plan = plan_of(sweep, [_clip_file(clip) for clip in sweep.clips], folder, data)
    if given.table:
        return supervisor.conclude(plan, ended=False)
    if given.dry_run:
        return supervisor.foretell(plan, profile, more)
    with alone_in(folder):
        return supervisor.carry_out(plan, write_plan(plan), profile, more, given.patience)


def _clip_file(clip: SweepClip) -> ClipFile:
    """Return a clip's file; the demo clip is made first."""
    from sweep.jobplan import ClipFile
    from sweep.supervisor import PYTHON

    if clip.path is not None:
        return ClipFile(clip.path, clip.bbox, clip.frame)
    frames = [] if clip.demo == "all" else [str(each) for each in clip.demo or ()]
    command = [PYTHON, "-s", str(ROOT / "runner"), "demo-clip", *frames]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise SweepError(f"{PYTHON} cannot be started ({error.strerror}); set PYTHON to a Python 3.11.", 3) from error
    if done.returncode:
        raise SweepError("the demo clip cannot be made; above is why.", done.returncode)
    made = json.loads(done.stdout.splitlines()[-1])
    return ClipFile(Path(made["clip"]), tuple(made["bbox"]), made["frame"])


if __name__ == "__main__":
    sys.exit(main())
