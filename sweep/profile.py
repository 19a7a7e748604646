"""Where jobs run: a Snakemake profile of ours, by its name, or a folder of the user's own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sweep.errors import SweepError

OURS = Path(__file__).resolve().parent / "profiles"
GPUS = "SWEEP_GPUS"
"""How many GPUs this machine has; the runner says so."""
KUBERNETES = "kubernetes"
STORED = ("--config", "stored=true")
"""Tells sweep/Snakefile that Snakemake takes what jobs leave from a folder of each pod."""


@dataclass(frozen=True)
class Profile:
    """A profile: its folder, and what executes its jobs: "local", "slurm", "kubernetes" or another plugin's name."""

    folder: Path
    executor: str

    @classmethod
    def named(cls, name: str) -> Profile:
        """Return the profile of that name, or of that folder; SweepError where there is none, or it cannot be read."""
        folder = OURS / name if "/" not in name else Path(name).absolute()
        file = folder / "config.yaml"
        if not file.is_file():
            names = ", ".join(sorted(each.name for each in OURS.iterdir() if each.is_dir()))
            raise SweepError(f"there is no profile {name}; it is one of {names}, or a folder with a config.yaml.")
        try:
            settings = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise SweepError(f"{file} cannot be read: {error}") from error
        executor = settings.get("executor", "local") if isinstance(settings, dict) else "local"
        return cls(folder, str(executor))

    def options(self, plan: dict[str, Any]) -> list[str]:
        """Return what Snakemake is told: the profile, and on one machine how many jobs it may do at once."""
        named = ["--workflow-profile", "none", "--profile", str(self.folder)]
        if self.executor == KUBERNETES:  # its plugin takes no disk for shared: the sweep's folder is named as a store
            return [*named, "--default-storage-provider", "fs", "--default-storage-prefix", plan["folder"], *STORED]
        if self.executor != "local":
            return named
        there, wanted = int(os.environ.get(GPUS) or 0), plan["gpus"]
        jobs = min(there, wanted or there) if there else wanted or 1  # as runner/sweep/gpus.py has it
        return [*named, "--cores", str(jobs), "--resources", f"gpu={jobs}"]
