"""A GPU for each job of a sweep: one of this machine's, by a lock, or the one that SLURM gave.

The lock is the job's own, on a file a GPU in a folder of this user. The kernel frees it when the job ends, however it
ends. No child has it: what a killed job started is ended by the kernel (a stage, ComfyUI) or by a process that waits
for that (a container), a moment after it and before another job has loaded a model. Other users have their own locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.docker.gpu import SLURMS, VISIBLE, given, visible
from runner.doctor.line import ask
from runner.holds import flocked, open_lock
from runner.process import RunnerError, without_gpu

SMI_TIMEOUT_S = 30.0
POLL_S = 0.5
SILENT_S = 15.0
"""How long a job waits for a GPU before it says so."""
_ORDER = "CUDA_DEVICE_ORDER"


@dataclass(frozen=True)
class GpuSlot:
    """Room for one job. index: its GPU's, as the job's record has it, or None. there: there is such a GPU."""

    index: str | None
    there: bool


def found() -> list[str]:
    """Return the GPUs that jobs may use: those of CUDA_VISIBLE_DEVICES where that is set, else the driver's indices.

    None with GPU=off, in a job to which SLURM gave none, and where nvidia-smi is absent, fails or hangs (30 s).
    """
    if without_gpu():
        return []
    named = visible()
    if named is None:
        return [] if _slurm_job() else list(_indices())
    return named


def _slurm_job() -> str | None:
    return os.environ.get("SLURM_JOB_ID") or None


@functools.cache
def _indices() -> tuple[str, ...]:
    """Return the indices that nvidia-smi names; it is asked once."""
    code, said = ask("nvidia-smi", "--query-gpu=index", "--format=csv,noheader", timeout_s=SMI_TIMEOUT_S)
    if code == 124:
        print(f"warning: nvidia-smi gave {said}, so no GPU is used; restart the machine", file=sys.stderr, flush=True)
    return tuple(row.strip() for row in said.splitlines() if row.strip().isdigit()) if code == 0 else ()


def slots(wanted: int | None) -> list[GpuSlot]:
    """Return the room for jobs on this machine: a slot for each GPU that is found, or for the first `wanted` of them.

    Without a GPU it is one slot, or `wanted` of them. Where that is not what was asked for, it is said once.
    """
    there = found()
    if not there:
        if wanted:
            _say(f"gpus: {wanted}, and there is no GPU to be used; {wanted} at a time without one")
        return [GpuSlot(str(each), there=False) for each in range(wanted)] if wanted else [GpuSlot(None, there=False)]
    if wanted and wanted > len(there):
        _say(f"gpus: {wanted}, and there are only {len(there)} to be used: {', '.join(there)}")
    return [GpuSlot(each, there=True) for each in there[:wanted]]


@functools.cache
def _say(line: str) -> None:
    if not _slurm_job():  # how many there are is SLURM's to say
        print(f"sweep: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def held(places: Sequence[GpuSlot]) -> Iterator[str | None]:
    """Hold one of the slots for the block, waiting for a free one; yield its GPU's index, for the record.

    This process and what it starts see that GPU alone (CUDA_VISIBLE_DEVICES), and containers get it. Where there is no
    GPU the environment stays as it is. What SLURM gave stays as it is too, whatever the slots; of several GPUs that it
    gave to one job, the block gets one. Raises RunnerError where the locks cannot be had.
    """
    job, named = _slurm_job(), visible()
    if job and (named is None or len(named) < 2):
        yield None if named == [] else given()
        return
    prefix = ""
    if job and named:  # SLURM may count from 0 in each job
        places, prefix = [GpuSlot(each, there=True) for each in named], f"slurm-{job}-"
    descriptor, slot = _take(places, prefix)
    try:
        with _changed(_variables(slot)):
            yield given() if slot.there else slot.index
    finally:
        os.close(descriptor)


def _variables(slot: GpuSlot) -> dict[str, str]:
    """Return what the environment says of the slot's GPU."""
    if not slot.there or slot.index is None:
        return {}
    named = visible()
    if named is None:  # CUDA puts the fastest first unless told otherwise, nvidia-smi and the engine do not
        return {VISIBLE: slot.index, _ORDER: "PCI_BUS_ID"}
    changed = {VISIBLE: slot.index}
    for variable in SLURMS:
        numbers = os.environ.get(variable, "").split(",")
        if len(numbers) == len(named):
            changed[variable] = numbers[named.index(slot.index)]
    return changed


@contextlib.contextmanager
def _changed(variables: Mapping[str, str]) -> Iterator[None]:
    """Change variables of this process's environment for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _take(places: Sequence[GpuSlot], prefix: str) -> tuple[int, GpuSlot]:
    """Lock the first slot that is free, waiting for one; return the lock's descriptor and the slot."""
    folder = _folder()
    told, began = False, time.monotonic()
    while True:
        for slot in places:
            descriptor = _locked(folder / f"{prefix}{_name(slot)}.lock")
            if descriptor is not None:
                return descriptor, slot
        if not told and time.monotonic() - began > SILENT_S:
            told = True
            which = f"one of the GPUs {', '.join(str(each.index) for each in places)}" if places[0].there else "a place"
            print(
                f"sweep: waiting for {which}, which other jobs of yours have (locks: {folder})",
                file=sys.stderr,
                flush=True,
            )
        time.sleep(POLL_S)


def _name(slot: GpuSlot) -> str:
    """Return a slot's name as a file's: what has no GPU takes none from those that have."""
    return re.sub("[^0-9A-Za-z-]", "_", slot.index or "0") if slot.there else f"none-{slot.index or '0'}"


def _folder() -> Path:
    """Return the folder of this user's locks, made where it is missing; RunnerError where others could write it."""
    folder = Path(tempfile.gettempdir()) / f"skate-physics-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise RunnerError(f"cannot make {folder} ({error.strerror}); set TMPDIR to a folder of yours.") from error
    if not stat.S_ISDIR(status.st_mode):
        wrong = "is no folder but a link" if stat.S_ISLNK(status.st_mode) else "is no folder"
    elif status.st_uid != os.getuid():
        wrong = f"belongs to user {status.st_uid}"
    elif status.st_mode & 0o077:
        wrong = f"is open to others (mode {stat.S_IMODE(status.st_mode):o})"
    else:
        return folder
    raise RunnerError(
        f"{folder} {wrong}, and the locks of your GPUs must lie where only you can write; remove it, or set TMPDIR to "
        "a folder of yours."
    )


def _locked(path: Path) -> int | None:
    """Lock a file; return its descriptor, which no child has, or None where another job has the lock."""
    try:
        descriptor = open_lock(path, fcntl.LOCK_EX)
    except OSError as error:
        raise RunnerError(
            f"cannot open {path} ({error.strerror}); remove it, or set TMPDIR to a folder of yours."
        ) from error
    try:
        has_locks = flocked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        still = has_locks and os.path.samestat(os.fstat(descriptor), path.lstat())
    except (BlockingIOError, FileNotFoundError):  # another job has it; or somebody cleared the folder just now
        still, has_locks = False, True
    if still:
        return descriptor
    os.close(descriptor)
    if not has_locks:
        raise RunnerError(
            f"the file system of {path.parent} has no locks, so no job can have a GPU for itself; set TMPDIR to a "
            "folder of this machine's own disk."
        )
    return None
