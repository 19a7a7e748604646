"""What a sweep does for Snakemake's executor: on this machine, and on SLURM, whose jobs live on without us."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sweep.cluster import slurm
from sweep.folder import end_jobs, held_jobs

POLL_S = 1.0


def say(*lines: str) -> None:
    """Print lines; that nobody reads them any more ends nothing."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError:
        with contextlib.suppress(OSError), open(os.devnull, "w", encoding="utf-8") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())


class Executor:
    """Jobs on this machine. What kills Snakemake leaves them at work; each holds its own lock."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.folder = Path(plan["folder"])

    def wait_for_left(self, look: Callable[[], None]) -> None:
        """Wait for jobs that an earlier sweep left at work: their locks are held. Ctrl-C ends them, if they are here.

        look: called all the while.
        """
        told = 0
        try:
            while left := held_jobs(self.folder):
                if told != len(left):
                    told = len(left)
                    jobs = f"{told} job{'' if told == 1 else 's'}"
                    say(f"an earlier sweep left {jobs} at work ({left[0].stem}, ...): waiting")
                look()
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            self.end()
            raise

    @contextlib.contextmanager
    def ready(self) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Yield more options for Snakemake, and its environment."""
        yield [], dict(os.environ)

    def check(self) -> None:
        """Raise SweepError where Snakemake would wait for ever."""

    def close(self) -> None:
        """Have no new job begin: Snakemake is about to be ended."""

    def end(self) -> None:
        """End the jobs that an interrupted Snakemake left."""
        end_jobs(self.folder)


class SlurmExecutor(Executor):
    """Jobs on SLURM, known by their names. patience_s: for how long its controller may be silent."""

    def __init__(self, plan: dict[str, Any], patience_s: float) -> None:
        super().__init__(plan)
        self._prefix = slurm.job_prefix(plan["name"], self.folder)
        self._commands = self.folder / ".slurm"
        self._patience_s = patience_s

    def wait_for_left(self, look: Callable[[], None]) -> None:
        """Wait for the jobs of an earlier sweep that SLURM still has; after Ctrl-C they are cancelled."""
        try:
            slurm.wait_for(slurm.live_jobs(self._prefix, self._patience_s), say, self._patience_s, look)
        except KeyboardInterrupt:
            self.end()
            raise
        super().wait_for_left(look)

    @contextlib.contextmanager
    def ready(self) -> Iterator[tuple[list[str], dict[str, str]]]:
        """Yield more options for Snakemake, and its environment, in which SLURM's commands are patient ones."""
        path = f"{slurm.wrappers(self._commands, self._patience_s)}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        yield slurm.options(self._prefix, self._patience_s), os.environ | {"PATH": path}

    def check(self) -> None:
        """Raise ControllerSilent where the controller has been silent for too long."""
        words = slurm.gave_up(self._commands)
        if words is not None:
            raise slurm.ControllerSilent(self._patience_s, words)

    def close(self) -> None:
        """Have no new job submitted."""
        slurm.close(self._commands)

    def end(self) -> None:
        """Cancel all jobs of the sweep, and wait until there is none."""
        slurm.cancel_all(self._prefix, say, self._patience_s)


def executor_for(name: str, plan: dict[str, Any], patience_s: float) -> Executor:
    """Return the executor of that name."""
    return SlurmExecutor(plan, patience_s) if name == "slurm" else Executor(plan)
