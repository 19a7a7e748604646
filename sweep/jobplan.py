"""What a sweep's file means as jobs: extractions, cells, and batches of cells; written down for whoever does them.

    plans/KEY.json of a sweep's folder:
    schema        1
    name, folder, data    of the sweep; its folder, and the data folder that has runs/
    until_pass    takes of a window at most
    gpus          how many jobs at once on one machine; null: as many as it has GPUs
    extractions   id; run, the run's name; clip; arguments of extract_physics.py
    batches       id; extraction, whose id; cells: run, reskin (the folder's name), prompt, seed, arguments of
                  generate_reskin.py, key

A job's id has a hash of all that it does, so what is changed in the file is another job, and what is not is not done
again. A clip counts by its path, size and time, and so does any other file that an extraction is given; a reskin's
files, workflows and pictures, count by what is in them. A cell's `key` hangs on its arguments and its extraction.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.errors import SweepError, unwritable
from sweep.folder import write_text
from sweep.request.options import options
from sweep.request.specification import Sweep, SweepClip

SCHEMA = 1
LARGEST = 2**28
"""Bytes of a plan's file at most; each job reads it, and runner/sweep/batch.py takes no larger one."""
MANY_JOBS = 40_000
"""Of more jobs than that Snakemake needs more than a minute to see which come first."""


@dataclass(frozen=True)
class ClipFile:
    """A clip that is there: its file, and the object's box, where that is given, and the frame that it is on."""

    path: Path
    bbox: tuple[int, int, int, int] | None
    frame: int | None


def plan_of(sweep: Sweep, footage: list[ClipFile], folder: Path, data: Path) -> dict[str, Any]:
    """Return the plan of a sweep. footage: one for each of its clips. folder: the sweep's. data: the data folder."""
    extractions, batches = [], []
    looks, asked = _looks(sweep), [(prompt, seed) for prompt in sweep.prompts for seed in sweep.seeds]
    for clip, shot in zip(sweep.clips, footage, strict=True):
        arguments = _extract(clip, shot)
        stamps = [_stamp(shot.path), *map(_stamp, _files(options(clip.extract)))]
        extraction = f"{clip.run}-{_hash([arguments, *stamps], 8)}"
        extractions.append({"id": extraction, "run": clip.run, "clip": str(shot.path), "arguments": arguments})
        cells = [_cell(sweep, looks, clip, extraction, *each) for each in asked]
        for number, first in enumerate(range(0, len(cells), sweep.batch)):
            chosen = cells[first : first + sweep.batch]
            name = f"{clip.run}-{number:03d}-{_hash([each['key'] for each in chosen], 8)}"
            batches.append({"id": name, "extraction": extraction, "cells": chosen})
    return {
        "schema": SCHEMA,
        "name": sweep.name,
        "folder": str(folder),
        "data": str(data),
        "until_pass": sweep.until_pass,
        "gpus": sweep.gpus,
        "extractions": extractions,
        "batches": batches,
    }


def text_of(plan: dict[str, Any]) -> str:
    """Return a plan's file; SweepError (2) where it is too large for the jobs."""
    text = json.dumps(plan, indent=1) + "\n"
    if len(text) > LARGEST:  # it is ASCII
        many = sum(len(batch["cells"]) for batch in plan["batches"])
        told = f"the plan of {many} cells has {len(text) / 2**20:.0f} MiB, and {LARGEST // 2**20} are the most"
        raise SweepError(f"{told}; make several sweeps of it, with fewer clips each.")
    return text


def write_plan(plan: dict[str, Any]) -> Path:
    """Write a plan into its sweep's folder, under a name that no other plan has; return the file."""
    text = text_of(plan)
    path = Path(plan["folder"]) / "plans" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except OSError as error:
            raise unwritable(path, error) from error
    return path


def larger_batch(plan: dict[str, Any]) -> int | None:
    """Return the batch with which a plan of very many jobs has few enough of them; None where it has already.

    A job has cells of one clip only, so where there are very many clips it is all cells of a clip.
    """
    counts: Counter[str] = Counter()
    for batch in plan["batches"]:
        counts[batch["extraction"]] += len(batch["cells"])
    most, now = max(counts.values(), default=1), max((len(each["cells"]) for each in plan["batches"]), default=1)
    if len(counts) + len(plan["batches"]) <= MANY_JOBS or now >= most:
        return None
    jobs_a_clip = max(1, MANY_JOBS // len(counts) - 1)
    return max(now + 1, -(-most // jobs_a_clip))


def _extract(clip: SweepClip, shot: ClipFile) -> list[str]:
    arguments = ["-i", str(shot.path), "--run", clip.run]
    if shot.bbox is not None:
        arguments += ["--bbox", ",".join(map(str, shot.bbox))]
    if shot.frame is not None:
        arguments += ["--frame", str(shot.frame)]
    if clip.object is not None:
        arguments += ["--object", clip.object]
    for frame, box in clip.correct:
        arguments += ["--correct", f"{frame}:{','.join(map(str, box))}"]
    if clip.cuts is not None:
        arguments += ["--cuts", clip.cuts if isinstance(clip.cuts, str) else ",".join(map(str, clip.cuts))]
    return arguments + options(clip.extract)


@dataclass(frozen=True)
class _Looks:
    """What all cells have that makes another picture: words of the command line, and digests of the files in them."""

    words: tuple[str, ...]
    files: tuple[str, ...]


def _looks(sweep: Sweep) -> _Looks:
    words = (*(("--workflow", sweep.workflow) if sweep.workflow else ()), *options(sweep.settings))
    return _Looks(words, tuple(map(_digest, _files(words))))


def _cell(sweep: Sweep, looks: _Looks, clip: SweepClip, extraction: str, prompt: str, seed: int) -> dict[str, Any]:
    """Return a cell. Its folder's name hangs on all that makes another picture, not on how it is tried and judged."""
    name = f"{_slug(prompt)}-seed{seed}-{_hash([prompt, seed, looks.words, looks.files], 8)}"
    asked = ["--run", clip.run, "--prompt", prompt, "--seed", str(seed), "--name", name]
    arguments = [*asked, "--until-pass", str(sweep.until_pass), *looks.words, *options(sweep.gate)]
    key = _hash([arguments, extraction], 64)
    return {"run": clip.run, "reskin": name, "prompt": prompt, "seed": seed, "key": key, "arguments": arguments}


def _slug(prompt: str) -> str:
    """Return a prompt as a part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48].strip("-") or "prompt"


def _hash(what: Any, digits: int) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:digits]


def _files(words: Iterable[str]) -> list[Path]:
    """Return the files that words of a command line name: absolute paths, also those of a --vary reference=A,B."""
    found: list[str] = []
    for word in words:
        name, equals, rest = word.partition("=")
        found += next(csv.reader([rest]), []) if equals and name == "reference" else [word]
    return [Path(each) for each in found if os.path.isabs(each) and os.path.isfile(each)]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SweepError(f"{path} cannot be read ({error.strerror}); check the path.", 2) from error


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise SweepError(f"{path} cannot be read ({error.strerror}); check the path.", 2) from error
    return [stat.st_size, stat.st_mtime_ns]
