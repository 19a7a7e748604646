"""A real SLURM of one node with two pretended GPUs, and a small workflow that Snakemake does on it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runner.process import ROOT
from sweep.cluster import slurm

WORKFLOW = """
rule all:
    input: [f"out/{id}.txt" for id in config["ids"].split("+")]
rule work:
    output: "out/{id}.txt"
    resources: gpu=1
    shell: '''
        who="{wildcards.id} ${{SLURM_JOB_ID-none}} ${{CUDA_VISIBLE_DEVICES-none}} ${{SLURM_STEP_GPUS-none}}"
        echo begin $who >> events; sleep {config[seconds]}; echo end $who >> events; echo {wildcards.id} > {output}
    '''
"""


@dataclass(frozen=True)
class Event:
    """What a job of the workflow said: what it does, on which GPU it was put by SLURM."""

    what: str
    id: str
    job: str
    cuda: str
    step_gpus: str


@dataclass(frozen=True)
class Cluster:
    """The SLURM that lives in a folder; `environment` is what its commands need."""

    folder: Path
    environment: dict[str, str]

    def kill_controller(self) -> None:
        """Kill slurmctld as a power cut does, once what it knows of its jobs is on the disk: it writes every 5 s."""
        if self("squeue", "-h", "--states=RUNNING"):
            time.sleep(6)  # one that forgets a launch launches again, which its node refuses: the job is held
        os.kill(self._controller(), signal.SIGKILL)
        until(lambda: not Path(f"/proc/{self._controller()}").exists(), "the controller dies")

    def start_controller(self) -> None:
        subprocess.run(["slurmctld"], env=os.environ | self.environment, check=True)
        until(lambda: self.node() and not self.node().startswith("unk"), "the node is there")

    def node(self) -> str:
        """Return the state of the node."""
        return self("sinfo", "-h", "-o", "%T").strip()

    def clear(self) -> None:
        """End all jobs and have the node ready; after an outage SLURM takes two minutes to, and drains it."""
        if not self.controller_lives():
            self.start_controller()
        self("scancel", "--user", "root")
        until(lambda: not self("squeue", "-h"), "all jobs end", 240)
        if self.node() != "idle":
            self("scontrol", "update", f"nodename={self('sinfo', '-h', '-o', '%n').strip()}", "state=resume")
        until(lambda: self.node() == "idle", "the node is idle")

    def controller_lives(self) -> bool:
        return Path(f"/proc/{self._controller()}").exists()

    def _controller(self) -> int:
        return int((self.folder / "slurmctld.pid").read_text())

    def __call__(self, *command: str) -> str:
        """Return what one of SLURM's commands prints."""
        return subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True).stdout

    def jobs(self, prefix: str) -> dict[str, tuple[str, str]]:
        """Return the state and the comment of each job that the controller knows by this prefix of its name."""
        lines = self("squeue", "-h", "--states=all", "-o", "%A|%T|%j|%k").splitlines()
        rows = [line.split("|", 3) for line in lines]
        return {job: (state, comment) for job, state, name, comment in rows if name.startswith(prefix)}


class Workflow:
    """The small workflow in a folder of its own, as a sweep has Snakemake do it."""

    def __init__(self, folder: Path, python: Path, ids: str, seconds: float = 3, patience_s: float = 120) -> None:
        self.folder = folder
        self.state = folder / "slurm"
        self.python = python
        self.settings = [f"ids={ids}", f"seconds={seconds}"]
        self.ids = ids.split("+")
        self.patience_s = patience_s
        self.prefix = slurm.job_prefix("toy", folder)
        (folder / "Snakefile").write_text(WORKFLOW)

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        """Start Snakemake with the sweep's profile; its output is added to snakemake.log."""
        commands = slurm.wrappers(self.state, self.patience_s)
        command = [
            *(self.python, "-m", "snakemake", "--directory", self.folder, "--snakefile", self.folder / "Snakefile"),
            *(
                "--profile",
                ROOT / "sweep" / "profiles" / "slurm",
                "--workflow-profile",
                "none",
                "--nolock",
                "--nocolor",
            ),
            *slurm.options(self.prefix, self.patience_s),
            *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
            *("--default-resources", "mem_mb=500", "runtime=10", "--config", *self.settings, *more),
        ]
        with (self.folder / "snakemake.log").open("ab") as log:
            return subprocess.Popen(
                list(map(str, command)),
                env=os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self) -> str:
        file = self.folder / "snakemake.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def events(self, what: str) -> list[Event]:
        """Return what the jobs said of `what`, begin or end, in its order."""
        file = self.folder / "events"
        lines = file.read_text().splitlines() if file.exists() else []
        return [event for event in (Event(*line.split()) for line in lines) if event.what == what]

    def done(self) -> list[str]:
        return [each for each in self.ids if (self.folder / "out" / f"{each}.txt").is_file()]


def until(holds: Callable[[], object], what: str, limit_s: float = 120.0) -> None:
    """Wait until something holds; it is a failure when that takes longer than `limit_s`."""
    ends = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < ends, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.2)
