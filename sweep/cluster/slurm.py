"""The sweep's jobs on SLURM: which of them live, how they are ended, and what Snakemake is given to stay patient."""

from __future__ import annotations

import hashlib
import math
import os
import pwd
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.cluster.controller import CALL_S, EVER_S, PAUSE_S, PROGRAMS, Spoken, ask
from sweep.errors import SweepError

PATIENCE_S = 300.0
"""For how long the controller may be silent before the sweep says so and ends."""

LONGEST = 50
"""The plugin takes that many letters, digits, underscores and hyphens before the name of its run."""
_RUN = re.compile(r"_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE"}
_ENDED |= {"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"}
_AT_ONCE = 500
"""How many jobs one scancel is given."""
_LOOK_S = 10.0


class ControllerSilent(SweepError):
    """SLURM's controller has not answered for as long as we wait for it."""

    def __init__(self, patience_s: float, last_words: str) -> None:
        super().__init__(
            f"SLURM's controller has not answered for {patience_s:.0f} s ({last_words}). Jobs that run go on. "
            "When it answers again, start the same sweep again: it waits for them and goes on.",
            exit_code=3,
        )


@dataclass(frozen=True)
class LiveJob:
    """A job that waits, runs, or is just ending."""

    id: str
    """Its number; of an array's job NUMBER_INDEX."""
    state: str
    """PENDING, RUNNING, COMPLETING and so on, as squeue says it."""
    name: str
    """The sweep's prefix, and after it the name that Snakemake gave its run."""
    comment: str
    """rule_RULE_wildcards_WILDCARDS."""

    @property
    def target(self) -> str | None:
        """What the job makes: its wildcards, joined by "_"; None where its rule has none."""
        return self.comment.partition("_wildcards_")[2] or None


def job_prefix(name: str, folder: Path) -> str:
    """Return what the names of all jobs of the sweep in `folder` begin with: skate_NAME_, and 8 digits of the folder.

    Of letters, digits, "_" and "-" only, and at most 50 of them, which is all that the plugin takes.
    """
    digits = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    safe = re.sub(r"[^A-Za-z0-9_-]", "-", f"skate_{name}")
    return f"{safe[: LONGEST - len(digits) - 1]}_{digits}"


def options(prefix: str, patience_s: float = PATIENCE_S) -> list[str]:
    """Return what Snakemake's command line needs beside the profile: by what it knows its jobs, how often it asks.

    The status command is always squeue: the wrapped one also answers for jobs that the controller has forgotten, and
    sacct fails where there is no accounting.
    """
    attempts = math.ceil(patience_s / CALL_S) + 5
    return [
        *("--slurm-jobname-prefix", prefix),
        *("--slurm-status-command", "squeue"),
        *("--slurm-status-attempts", str(attempts)),
    ]


def live_jobs(prefix: str, patience_s: float = PATIENCE_S) -> list[LiveJob]:
    """Return this user's live jobs of the sweep with this prefix, in squeue's order; each job of an array by itself.

    Raises:
        ControllerSilent: it has not answered for `patience_s` seconds.
        SweepError: squeue is not there, or says another thing.
    """
    user = pwd.getpwuid(os.getuid()).pw_name
    command = ["squeue", "--noheader", "--array", "--states=all", "--user", user, "--format=%i|%T|%j|%k"]
    jobs = []
    for line in _asked(command, patience_s).out.decode(errors="replace").splitlines():
        job, state, name, comment = (line.strip().split("|", 3) + [""] * 3)[:4]
        if name.startswith(prefix) and _RUN.fullmatch(name[len(prefix) :]) and state not in _ENDED:
            jobs.append(LiveJob(job, state, name, comment))
    return jobs


def cancel(jobs: Sequence[LiveJob], patience_s: float = PATIENCE_S) -> None:
    """Tell SLURM to end these jobs, and do not wait for it; one that has ended already is no fault.

    Raises:
        ControllerSilent: it has not answered for `patience_s` seconds.
    """
    ids = [job.id for job in jobs]
    for first in range(0, len(ids), _AT_ONCE):
        _asked(["scancel", "--quiet", *ids[first : first + _AT_ONCE]], patience_s, answer_no=True)


def cancel_all(prefix: str, say: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
    """End all jobs of the sweep, also those that come up meanwhile, and return when there is none left.

    After Ctrl-C Snakemake ends the jobs that it knows, but not one that it is submitting, nor any when the signal
    comes while it asks for their state. So this is called whenever it has ended before its work was done.

    Raises:
        ControllerSilent: it has not answered for `patience_s` seconds.
    """
    told: set[str] = set()
    while jobs := live_jobs(prefix, patience_s):
        if new := [job for job in jobs if job.id not in told]:
            say(f"cancelling {len(new)} of the sweep's jobs on SLURM: {_listed(new)}")
            cancel(new, patience_s)
            told.update(job.id for job in new)
        time.sleep(1.0)


def wait_for(
    jobs: Iterable[LiveJob],
    say: Callable[[str], None],
    patience_s: float = PATIENCE_S,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Wait until each of these jobs has ended, whatever it ended with; `say` is told whenever there are fewer.

    look: called every few seconds, and at the end.

    Raises:
        ControllerSilent: it has not answered for `patience_s` seconds.
    """
    left = {job.id: job for job in jobs}
    prefixes = {_RUN.sub("", job.name) for job in left.values()}
    said = None
    while left:
        live = {job.id: job for prefix in prefixes for job in live_jobs(prefix, patience_s)}
        left = {job: live[job] for job in left if job in live}
        if left and said != len(left):
            said = len(left)
            say(f"waiting for {said} of the sweep's jobs that SLURM still has: {_listed(left.values())}")
        look()
        if left:
            time.sleep(_LOOK_S)


def controller_answers() -> bool:
    """Return whether SLURM's controller answers now; takes up to 40 s where it does not."""
    return ask(["squeue", "--noheader", "--states=PENDING", "--name=nobody", "--format=%i"]).code == 0


def wrappers(folder: Path, patience_s: float = PATIENCE_S) -> Path:
    """Make the commands that Snakemake is to use in place of SLURM's, and return their folder, to be first on its PATH.

    They ask again while the controller is silent (sweep/cluster/controller.py); what they know is forgotten first. Only
    for Snakemake: this module asks the real ones.

    Args:
        folder: for the commands and what they know; on the file system that the nodes see.
        patience_s: for how long the controller may be silent, all attempts together.

    Raises:
        ControllerSilent: it does not say how it is configured, which they answer by heart afterwards.
        SweepError: SLURM's commands are not there.
    """
    config = _asked(["scontrol", "show", "config"], patience_s).out.decode(errors="replace")
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "bin").mkdir(parents=True)
    (folder / "config").write_text(re.sub(r"(?m)^(MinJobAge\s*=).*$", rf"\1 {EVER_S} sec", config))
    house = Path(__file__).resolve().parents[2]
    for program in PROGRAMS:
        if shutil.which(program) is None:  # the plugin looks whether it is there
            continue
        code = (
            f"import sys; sys.path.insert(0, {str(house)!r}); from sweep.cluster.controller import main; "
            f"sys.exit(main({str(folder)!r}, {float(patience_s)!r}, {program!r}, sys.argv[1:]))"
        )
        file = folder / "bin" / program
        file.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-I", "-S", "-c", code])} "$@"\n')
        file.chmod(0o755)
    return folder / "bin"


def gave_up(folder: Path) -> str | None:
    """Return the controller's last words when the commands in `folder` have lost patience with it, else None.

    Snakemake then soon forgets its jobs and would wait for ever: whoever started it asks this each second or so, ends
    Snakemake with SIGKILL (it could not cancel anything), and raises `ControllerSilent`.
    """
    try:
        return (folder / "gave_up").read_text()
    except OSError:
        return None


def close(folder: Path) -> None:
    """Have the commands in `folder` submit nothing any more; to be called before Snakemake is told to end."""
    (folder / "closed").touch()


def _asked(command: list[str], patience_s: float, answer_no: bool = False) -> Spoken:
    """Return what a command of SLURM says, once the controller answers; with `answer_no` also when that is no."""
    if shutil.which(command[0]) is None:
        raise SweepError(
            f"{command[0]} is not on PATH. A sweep on SLURM starts where jobs can be submitted: on a login node.", 3
        )
    began = time.monotonic()
    while (spoken := ask(command)).silent:
        if time.monotonic() - began + PAUSE_S > patience_s:
            raise ControllerSilent(patience_s, spoken.last_words)
        time.sleep(PAUSE_S)
    if spoken.code != 0 and not answer_no:
        raise SweepError(f"SLURM's {command[0]} failed with exit code {spoken.code}: {spoken.last_words}", 3)
    return spoken


def _listed(jobs: Iterable[LiveJob]) -> str:
    """Return the first few jobs as words."""
    words = [f"{job.id} ({job.target or 'no cells'}, {job.state.lower()})" for job in jobs]
    return ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
