"""The skeleton of a generated clip, found as the run's own was, for the evaluator to compare the two."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from runner import runs
from runner.process import RunnerError
from runner.stages import start_stage

GENERATED_POSE = "--generated-pose"
MISSING, INTERRUPTED = 3, (130, 143)


def second_pose(
    original: Path, generated: Path, force: bool, device: list[str], check: Callable[[], int]
) -> tuple[int, list[str]]:
    """Find the skeleton in a generated clip that lies in its run; return an exit code to stop with, and options.

    It is found as the run's own was (the pose stage's --again-as), in a run folder that is thrown away; pose.json stays
    beside the clip. Not again where the last evaluation had this clip, this skeleton and the run's own as it is.
    Without it the gate still has its verdict, so a failure, an environment or image that cannot be made too, is only
    said. device: the option, where it was given. check: refuses what the evaluator would, with its exit code, before
    anything is done.
    """
    run = runs.run_of(original)
    if run is None or run.resolve() not in generated.resolve().parents or not generated.is_file():
        return 0, []
    folder, pose, own = generated.resolve().parent, generated.with_name("pose.json"), run / "pose.json"
    options, known = [GENERATED_POSE, str(pose)], _known(folder)
    names = {path: path.resolve().relative_to(run.resolve()).as_posix() for path in (generated, pose, own)}
    same = (path.is_file() and known.get(name) == runs.sha256(path) for path, name in names.items())
    if not force and all(same):
        return 0, options
    code = check()
    if code:
        return code, []
    try:
        with _scratch(folder) as scratch:
            arguments = ["--run", str(scratch), "-i", str(generated), "--again-as", str(run), *device]
            code = start_stage("posegen", arguments, writes=[run])
            if code == 0:
                os.replace(scratch / "pose.json", pose)
                print(f"{pose.name}: {pose}", flush=True)
    except (RunnerError, OSError) as error:
        print(f"warning: {error}", file=sys.stderr)
        code = MISSING
    if code in INTERRUPTED:
        return code, []
    if code:
        print("warning: the skater's figures will be missing: no skeleton of the generated clip", file=sys.stderr)
        return 0, []
    return 0, options


def _known(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of what the last evaluation of a reskin read, by path; nothing where there was none."""
    try:
        stages = json.loads((folder / runs.MANIFEST).read_text(encoding="utf-8"))["stages"]
        return dict(stages["evaluator"]["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield a new folder below a reskin's that is removed at the end.

    It is locked while this process lives, as everything partial is (handoff/files.py): a killed command's is cleared
    away by the next one.
    """
    scratch = folder / f".pose.{secrets.token_hex(6)}.partial"
    scratch.mkdir()
    descriptor = os.open(scratch, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nobody removes it either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        os.close(descriptor)
