"""What a sweep costs beside the same commands by hand, and what a second GPU is worth to it.

    make bench-sweep [ARGS="--cells 16 --rounds 2"]

The cells are reskins of a short piece of the demo clip with the `draft` workflow, which needs no model, each judged
once; the clip is extracted before. A sweep of them on this machine is measured beside the very same commands, one after
the other: `generate_reskin.py ... --until-pass 1 --server ...` with a server that is up and has painted before. A sweep
starts its own, one for each eight cells, and that counts against it. The two are done in turn, and of each the round
with the least counts. A few cells are painted as a user does who has no server, too: each command starts its own.

The second GPU is pretended: `gpus: 2` gives two slots where there is none. The painter sleeps in ComfyUI in the place
of a model (bench/nodes). All else is real: jobs, locks of GPUs, a server for each job, tracking, the gate. It takes the
CPU, which the two jobs share, so the sleep has to be as long as a model's work is beside it.

The last line is one JSON object, seconds on the clock if nothing else is said:
    overhead_s_per_cell        the sweep's time less that of the commands by hand, for each cell
    overhead_cpu_s_per_cell    the same in processor time of all processes, servers too
    engine_s_per_cell          of the sweep's time, what was outside the cells: Snakemake, jobs' start, the table
    saved_s_per_cell           what a cell takes by hand with a server of its own, less what it takes in the sweep
    cells, batch, rounds       of the sweep; cells a job
    sweep_s                    the sweep of all cells, of the round with the least
    by_hand_s_per_cell         a cell by hand with the server that is up; by_hand_cpu_s_per_cell: in processor time
    own_server_s_per_cell      and with a server of its own
    server_start_s             until a server answers
    again_s                    the same sweep once more, which has nothing to do
    speedup_two_gpus           the time of a sweep with one pretended GPU over that with two
    one_gpu_s, two_gpus_s      these times; batches of one cell, each of which slept_s_per_batch are slept
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.loop import workflow
from bench.reskin import own_server, server_processes
from handoff.errors import GateFailed
from runner.process import ROOT

FRAMES = [0, 14]
"""Of the demo clip; its box is known on frame 4."""
PROMPTS = ["cyberpunk drone, samurai", "neon surfboard, astronaut"]
BATCH = 8
OWN = 4
"""Cells that are painted by hand with a server of their own, in each round."""
VERDICTS = (0, 1)
UNPAINTED = 3
"""What a sweep ends with that was to extract only."""
PYTHON = Path(sys.base_prefix) / "bin" / "python3.11"


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and seconds of processor time, user's and system's, of all children that have ended."""

    wall_s: float
    cpu_s: float


class SweepHere:
    """A sweep with a data folder of its own, whose clip is extracted.

    said: what its file says. servers_have_nodes: whether its servers have the painter that sleeps.
    """

    def __init__(self, folder: Path, said: dict[str, Any], *, servers_have_nodes: bool = False) -> None:
        folder.mkdir()
        self.file, self.data = folder / "bench.yaml", folder / "data"
        self.say(said)
        self.python = PYTHON
        if servers_have_nodes:
            self.python = folder / "python3.11"
            self.python.write_text(f'#!/bin/sh\nexec "{PYTHON}" -s "{ROOT / "bench" / "jobs.py"}" "$0" "$@"\n')
            self.python.chmod(0o755)
        own = folder / "tmp"
        own.mkdir()
        # code is compiled once, as on a user's machine; the locks of GPUs, in TMPDIR, are no other sweep's
        self.environment = os.environ | {
            "TMPDIR": str(own),
            "DATA_DIR": str(self.data),
            "RUNNER": "local",
            "PYTHONPYCACHEPREFIX": str(folder.parent / "compiled"),
            "PYTHONDONTWRITEBYTECODE": "",
        }
        self.sweep("--", "--until", "extract", allowed=(UNPAINTED,))
        if not [*self.folder.glob("extracted/*.json")]:
            raise GateFailed(f"the clip was not extracted: {self.folder}")

    @property
    def folder(self) -> Path:
        """What the sweep writes, less the runs."""
        return self.data / "sweeps" / "bench"

    def say(self, said: dict[str, Any]) -> None:
        """Write the file, as JSON, which is YAML too."""
        self.file.write_text(json.dumps({"name": "bench", "clips": [{"demo": FRAMES, "run": "clip"}], **said}))

    def call(self, *command: object, allowed: Sequence[int] = VERDICTS) -> int:
        """Run a command of the product; return its exit code, or raise GateFailed where that is none of `allowed`."""
        words = [str(self.python), "-s", *map(str, command)]
        done = subprocess.run(words, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode not in allowed:
            raise GateFailed(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.returncode

    def sweep(self, *more: str, allowed: Sequence[int] = VERDICTS) -> None:
        """Run the sweep."""
        self.call("runner", "sweep", self.file, *more, allowed=allowed)

    def cells(self) -> list[dict[str, Any]]:
        """Return the cells of the plan that was written last."""
        newest = max(self.folder.glob("plans/????????????.json"), key=lambda path: path.stat().st_mtime_ns)
        return [cell for batch in json.loads(newest.read_text())["batches"] for cell in batch["cells"]]

    def outcomes(self) -> list[dict[str, Any]]:
        """Return what came of each cell of the sweep; raises GateFailed where one has no verdict."""
        found = [
            json.loads((self.folder / "cells" / cell["run"] / f"{cell['reskin']}.json").read_text())
            for cell in self.cells()
        ]
        for each in found:
            if each["code"] not in VERDICTS:
                raise GateFailed(f"{each['id']} has no verdict: {each['said']}")
        return found

    def forget(self) -> None:
        """Remove all that was painted, so that the extracted clip is there and nothing else."""
        for path in (self.data / "runs" / "clip" / "reskins", self.folder / "painted", self.folder / "cells"):
            shutil.rmtree(path, ignore_errors=True)

    def by_hand(self, cells: Sequence[dict[str, Any]], *more: str) -> list[int]:
        """Paint and judge cells by their commands, one after the other; return the exit codes."""
        return [self.call("generate_reskin.py", *cell["arguments"], *more) for cell in cells]


@contextlib.contextmanager
def timed(address: str | None = None) -> Iterator[list[Spent]]:
    """Yield a list that has what the block took when it is over. address: of a server, whose time counts too."""
    found: list[Spent] = []
    cpu, began = cpu_s(address), time.perf_counter()
    yield found
    wall = time.perf_counter() - began
    found.append(Spent(wall, cpu_s(address) - cpu))


def cpu_s(address: str | None) -> float:
    """Return the processor time of all children that have ended, and of a server that runs, in seconds."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = 0
    for process in server_processes(address) if address else ():
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))  # utime, stime, and those of its children
    return children.ru_utime + children.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Swept:
    """A sweep of all cells. engine_s: what it took outside them. again_s: the same once more, with nothing to do."""

    took: Spent
    engine_s: float
    again_s: float
    verdicts: list[int]


@dataclass(frozen=True)
class ByHand:
    """The commands with a server that is up; start_s: how long that took."""

    took: Spent
    start_s: float
    verdicts: list[int]


@dataclass(frozen=True)
class OneRound:
    """What was measured once; own_s_per_cell: by hand with a server of each cell's own."""

    sweep: Swept
    hand: ByHand
    own_s_per_cell: float


def in_a_sweep(sweep: SweepHere) -> Swept:
    """Sweep all cells, and once more."""
    sweep.forget()
    with timed() as took:
        sweep.sweep()
    outcomes = sweep.outcomes()
    with timed() as again:
        sweep.sweep()
    engine_s = took[0].wall_s - sum(each["seconds"] for each in outcomes)
    return Swept(took[0], engine_s, again[0].wall_s, [each["code"] for each in outcomes])


def by_hand(sweep: SweepHere, folder: Path) -> ByHand:
    """Paint and judge all cells by hand, with a server that has painted before."""
    sweep.forget()
    cells, began = sweep.cells(), time.perf_counter()
    with own_server(folder) as address:
        start_s = time.perf_counter() - began
        sweep.by_hand(cells[:1], "--server", address, "--seed", "1000", "--name", "warm")  # it imports and compiles
        with timed(address) as took:
            verdicts = sweep.by_hand(cells, "--server", address)
    return ByHand(took[0], start_s, verdicts)


def one_round(sweep: SweepHere, folder: Path, *, hand_first: bool) -> OneRound:
    """Measure all once; raises GateFailed where sweep and commands differ in a verdict."""
    if hand_first:
        hand, swept = by_hand(sweep, folder), in_a_sweep(sweep)
    else:
        swept, hand = in_a_sweep(sweep), by_hand(sweep, folder)
    if swept.verdicts != hand.verdicts:
        raise GateFailed(f"the verdicts of the sweep are {swept.verdicts}, those by hand {hand.verdicts}.")
    sweep.forget()
    few = sweep.cells()[:OWN]
    with timed() as own:
        sweep.by_hand(few)
    found = OneRound(swept, hand, own[0].wall_s / len(few))
    click.echo(f"{found}, load {os.getloadavg()[0]:.1f}", err=True)
    return found


def overhead(folder: Path, cells: int, rounds: int) -> dict[str, Any]:
    """Return the figures of a sweep beside the same commands by hand."""
    count = len(PROMPTS)
    if cells % count:
        raise click.BadParameter(f"{cells} cells are not a number of seeds for each of {count} prompts.")
    said = {"prompts": PROMPTS, "seeds": f"0-{cells // count - 1}", "workflow": "draft", "batch": BATCH}
    sweep = SweepHere(folder / "overhead", said)
    sweep.by_hand(sweep.cells()[:1])  # compiles
    found = [one_round(sweep, folder, hand_first=bool(number % 2)) for number in range(rounds)]
    swept, hand = [each.sweep for each in found], [each.hand for each in found]
    sweep_s, hand_s = (min(each.took.wall_s for each in one) for one in (swept, hand))
    sweep_cpu_s, hand_cpu_s = (min(each.took.cpu_s for each in one) for one in (swept, hand))
    own_s = min(each.own_s_per_cell for each in found)
    return {
        "overhead_s_per_cell": round((sweep_s - hand_s) / cells, 2),
        "overhead_cpu_s_per_cell": round((sweep_cpu_s - hand_cpu_s) / cells, 2),
        "engine_s_per_cell": round(min(each.engine_s for each in swept) / cells, 2),
        "saved_s_per_cell": round(own_s - sweep_s / cells, 2),
        "cells": cells,
        "batch": BATCH,
        "rounds": rounds,
        "sweep_s": round(sweep_s, 1),
        "by_hand_s_per_cell": round(hand_s / cells, 2),
        "by_hand_cpu_s_per_cell": round(hand_cpu_s / cells, 2),
        "own_server_s_per_cell": round(own_s, 2),
        "server_start_s": round(min(each.start_s for each in hand), 1),
        "again_s": round(min(each.again_s for each in swept), 1),
    }


def speedup(folder: Path, batches: int, seconds: float) -> dict[str, Any]:
    """Return the figures of one and of two pretended GPUs, on a painter that sleeps."""
    graph = workflow(folder, 1.0, seconds)
    said = {"prompts": ["cyberpunk drone"], "seeds": f"0-{batches - 1}", "workflow": str(graph), "batch": 1}
    sweep, took = SweepHere(folder / "speedup", said | {"gpus": 1}, servers_have_nodes=True), {}
    for gpus in (2, 1):
        sweep.say(said | {"gpus": gpus})
        sweep.forget()
        with timed() as spent:
            sweep.sweep()
        took[gpus] = spent[0].wall_s
        used = {each["gpu"] for each in sweep.outcomes()}
        click.echo(f"{gpus} GPUs: {spent[0]}, used {sorted(used)}, load {os.getloadavg()[0]:.1f}", err=True)
        if len(used) != gpus:
            raise GateFailed(f"of {gpus} pretended GPUs {sorted(used)} were used.")
    return {
        "speedup_two_gpus": round(took[1] / took[2], 3),
        "one_gpu_s": round(took[1], 1),
        "two_gpus_s": round(took[2], 1),
        "batches": batches,
        "slept_s_per_batch": seconds,
    }


@click.command()
@click.option("--cells", default=16, show_default=True, type=click.IntRange(2), help="Of the sweep.")
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1), help="How often it is done.")
@click.option("--batches", default=4, show_default=True, type=click.IntRange(2), help="Batches for the two GPUs.")
@click.option("--seconds", default=90.0, show_default=True, help="What a batch's painter sleeps.")
def main(cells: int, rounds: int, batches: int, seconds: float) -> None:
    """What a sweep costs beside the same commands by hand, and what a second GPU is worth to it."""
    os.environ["GPU"] = "off"  # those of the sweep are pretended on any machine, and nothing waits for a real one
    with tempfile.TemporaryDirectory() as name:
        figures = overhead(Path(name), cells, rounds) | speedup(Path(name), batches, seconds)
    click.echo(json.dumps(figures | {"cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
