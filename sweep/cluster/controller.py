"""SLURM's own commands, asked again while its controller does not answer.

Snakemake's SLURM plugin gives up on all its jobs, and then waits for ever, when a status query fails a few times in a
row. So the sweep puts a folder of commands of the same names first on Snakemake's PATH (`slurm.wrappers` makes it).
Each of them is this module: it runs the real command, and asks again until the controller answers or the patience
is over. The folder holds what these short processes know of each other:

    bin/            the commands
    config          what `scontrol show config` said when the sweep began
    submitted       a line "RUN JOB" for each job that sbatch was given
    silent          since when, in seconds since 1970, the controller has not answered; removed when it does
    gave_up         the controller's last words, once the patience is over
    closed          there when nothing is to be submitted any more
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("squeue", "sbatch", "scancel", "scontrol", "sinfo", "sacct")
"""What Snakemake's plugin starts, and what asks the controller or the accounting behind it."""

HUNG_S = 40.0
"""A command that has said nothing for so long is ended. One that finds nobody at the controller's address takes 9 s."""
CALL_S = 50.0
"""A query ends after so long: Snakemake's plugin turns away after 60 s, and leaves the process behind."""
LEAST_S = 12.0
"""With less time than this left a query is not begun again."""
PAUSE_S = 2.0

SILENT = re.compile(
    "|".join(
        (
            r"unable to contact slurm controller",
            r"could not establish a configuration source",  # of a cluster whose nodes have their slurm.conf from it
            r"unable to establish controller",
            r"slurm backup controller in standby mode",
            r"slurm temporarily unable to accept job",
            r"resource temporarily unavailable",
            r"socket timed out",
            r"zero bytes were transmitted or received",
            r"connection (refused|timed out|reset by peer)",
            r"transport endpoint is not connected",
            r"no route to host",
            r"network is (unreachable|down)",
            r"temporary failure in name resolution",
            r"munge encode failed|failed to access .*munge",
        )
    ),
    re.IGNORECASE,
)
"""What a command says when nobody answered: not that the answer was no."""

EVER_S = "86400"
"""For how long Snakemake is told that the controller remembers a job; what is forgotten `states` says."""

HELD = "launch failed requeued held"
"""Why a job waits that its node could not start: the prolog fails, say. SLURM drains such a node."""

_ASKED = "%i|%T"


@dataclass(frozen=True)
class Spoken:
    """What a command ended with; `silent` where nobody answered it."""

    code: int
    out: bytes
    err: bytes
    silent: bool = False

    @property
    def last_words(self) -> str:
        lines = self.err.decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else f"it ended with code {self.code} and said nothing"


def ask(command: Sequence[str], given: bytes = b"", limit_s: float = HUNG_S) -> Spoken:
    """Run a command once, for at most `limit_s` seconds. `given` is its standard input.

    What the user has set for squeue and scancel in the environment is not theirs: a filter, a question at the terminal.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SQUEUE_", "SCANCEL_"))}
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=limit_s, check=False, env=clean)
    except subprocess.TimeoutExpired:
        return Spoken(1, b"", f"{Path(command[0]).name} did not answer within {limit_s:.0f} s\n".encode(), silent=True)
    silent = done.returncode != 0 and SILENT.search(done.stderr.decode(errors="replace")) is not None
    return Spoken(done.returncode, done.stdout, done.stderr, silent)


def main(place: str, patience_s: float, program: str, arguments: list[str]) -> int:
    """Be `program` for Snakemake, and return its exit code.

    Args:
        place: the folder above.
        patience_s: for how long the controller may be silent.
        program: one of `PROGRAMS`.
        arguments: what the plugin gives it.
    """
    folder = Path(place)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)  # ended at once, without a traceback
    if program == "scontrol" and arguments[:2] == ["show", "config"]:
        sys.stdout.write((folder / "config").read_text())
        return 0
    real = behind(program, folder / "bin")
    if real is None:
        sys.stderr.write(f"{program}: command not found\n")
        return 127
    call = _Call(folder, patience_s, program, [real, *arguments])
    spoken = {"sbatch": call.submit, "squeue": call.states}.get(program, call.query)()
    sys.stdout.buffer.write(spoken.out)
    sys.stderr.buffer.write(spoken.err)
    return spoken.code


def behind(program: str, folder: Path) -> str | None:
    """Return the program that PATH has apart from the one in `folder`."""
    own = os.path.realpath(folder)
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(program, path=os.pathsep.join(each for each in places if os.path.realpath(each) != own))


class _Call:
    """One call of one of SLURM's commands by Snakemake's plugin."""

    def __init__(self, folder: Path, patience_s: float, program: str, command: list[str]) -> None:
        self.folder = folder
        self.patience_s = patience_s
        self.program = program
        self.command = command

    def query(self) -> Spoken:
        """Ask, and ask again, for as long as the plugin waits for a query."""
        ends = time.monotonic() + CALL_S
        while True:
            spoken = self._over() or ask(self.command, limit_s=min(HUNG_S, ends - time.monotonic()))
            if not spoken.silent:
                self._answered()
                return spoken
            if not self._hope(spoken) or time.monotonic() + PAUSE_S + LEAST_S > ends:
                return spoken
            time.sleep(PAUSE_S)

    def states(self) -> Spoken:
        """Answer the plugin's question for the states of its run's jobs, so that it waits for none for ever.

        A job that the controller has forgotten is not listed, and waited for. It is added as UNKNOWN: that the plugin
        takes for ended, and Snakemake looks whether its output is there. A job that its node could not start is held,
        and waits for somebody to release it. It is cancelled, so that Snakemake submits it again.
        """
        run = self._option("--name", "-n")
        if run is None or f"--format={_ASKED}" not in self.command:
            return self.query()
        submitted = [
            job for name, job in self._submitted() if name == run
        ]  # before the question: one given later is not
        self.command = [f"--format={_ASKED}|%r" if word == f"--format={_ASKED}" else word for word in self.command]
        spoken = self.query()
        if spoken.code != 0:
            return spoken
        rows = [line.strip().split("|", 2) for line in spoken.out.decode(errors="replace").splitlines()]
        held = [job for job, state, *reason in rows if state == "PENDING" and reason == [HELD]]
        scancel = behind("scancel", self._bin)
        if held and scancel:
            ask([scancel, *held])
        said = [f"{job}|{'CANCELLED' if job in held else state}\n" for job, state, *_ in rows]
        listed = {job.partition("_")[0] for job, *_ in rows}
        said += [f"{job}|UNKNOWN\n" for job in submitted if job not in listed]
        return Spoken(0, "".join(said).encode(), spoken.err)

    def submit(self) -> Spoken:
        """Give sbatch a job, and give it again, until the patience is over.

        The controller may have taken a job and said so too late. So before it is given again, it is looked for: by its
        run's name and by its comment, which names the rule and the cells. One that comes up later still would run
        beside its twin; the product's own lock has it wait, and then it finds its work done.
        """
        given = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
        while True:
            if (self.folder / "closed").exists():
                return Spoken(1, b"", b"sbatch: error: the sweep is ending, no job is submitted any more\n")
            spoken = self._over() or ask(self.command, given, limit_s=60.0)
            if not spoken.silent:
                self._answered()
                return self._noted(spoken)
            if not self._hope(spoken):
                return spoken
            time.sleep(PAUSE_S)
            taken = self._taken()
            if taken is not None:
                return self._noted(Spoken(0, f"{taken}\n".encode(), b""))

    def _over(self) -> Spoken | None:
        """Return what to say at once when the patience is over already."""
        try:
            words = (self.folder / "gave_up").read_text()
        except OSError:
            return None
        return Spoken(1, b"", f"{self.program}: error: {words}\n".encode(), silent=True)

    def _answered(self) -> None:
        (self.folder / "silent").unlink(missing_ok=True)

    def _hope(self, spoken: Spoken) -> bool:
        """Note that nobody answered, and return whether to go on asking."""
        note, now = self.folder / "silent", time.time()
        try:
            last, since = note.stat().st_mtime, float(note.read_text())
        except (OSError, ValueError):
            last = since = 0.0
        if now - last > HUNG_S + CALL_S:  # nobody asked for a while: what was before says nothing of now
            since = now
        _replace(note, repr(since))
        if now - since > self.patience_s:
            _replace(self.folder / "gave_up", spoken.last_words)
        return now - since <= self.patience_s

    def _option(self, *names: str) -> str | None:
        """Return the value that the command line gives an option, as `--name value` or `--name=value`."""
        for i, word in enumerate(self.command[1:], start=1):
            name, equals, value = word.partition("=")
            if name in names and equals:
                return value
            if word in names and i + 1 < len(self.command):
                return self.command[i + 1]
        return None

    def _submitted(self) -> Iterator[tuple[str, str]]:
        """Yield the run's name and the number of each job that sbatch was given here."""
        try:
            lines = (self.folder / "submitted").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            run, _, job = line.partition(" ")
            yield run, job

    def _noted(self, spoken: Spoken) -> Spoken:
        """Write down which job sbatch was given; not one of another cluster, of which squeue says nothing here."""
        job, run = spoken.out.decode(errors="replace").strip(), self._option("--job-name", "-J")
        if spoken.code == 0 and job.isdigit() and run:
            with (self.folder / "submitted").open("a") as file:
                file.write(f"{run} {job}\n")
        return spoken

    def _taken(self) -> str | None:
        """Return the number of the job that the controller took although sbatch did not hear so."""
        run, comment, real = self._option("--job-name", "-J"), self._option("--comment"), behind("squeue", self._bin)
        if not (run and comment and real):
            return None
        listed = ask([real, "--noheader", "--states=all", "--name", run, "--format=%A|%k"])
        known = {job for name, job in self._submitted() if name == run}
        for line in listed.out.decode(errors="replace").splitlines() if listed.code == 0 else ():
            job, _, said = line.strip().partition("|")
            if said == comment and job not in known:
                return job
        return None

    @property
    def _bin(self) -> Path:
        return self.folder / "bin"


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all: several of these processes may do so at once."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(text)
    os.replace(beside, path)
