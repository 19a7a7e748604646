"""The run folder and its manifest, run.json: the whole state of one clip.

One stage's work on a run: skipped when nothing has changed, recorded in run.json when it is complete.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import threading
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from handoff.errors import InputError, UsageError, storage_errors
from handoff.files import remove_partials, sha256_path, write_text
from handoff.video import ClipInfo

SCHEMA = 1
MANIFEST = "run.json"
SOURCE = "source.mp4"
_LOCK = ".lock"


class Run:
    """One run folder.

    `manifest` is run.json as a dict: "schema", "name", "source" (see handoff.ingest), "stages".
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.dir = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read the manifest of an existing run; raise InputError when `folder` is no run of this schema."""
        path = folder / MANIFEST
        if not path.is_file():
            raise InputError(
                f"{folder} is not a run folder (it has no {MANIFEST}); make one with extract_physics.py -i CLIP."
            )
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            schema = manifest["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read as a run manifest ({error}); extract the clip again.") from error
        if schema != SCHEMA:
            raise InputError(f"{path} has schema {schema!r}, this version reads {SCHEMA}; extract the clip again.")
        return cls(folder, manifest)

    @property
    def info(self) -> ClipInfo:
        """Size, rate and frame count of source.mp4."""
        source = self.manifest["source"]
        return ClipInfo(source["width"], source["height"], Fraction(source["fps"]), source["frames"])

    @property
    def source(self) -> Path:
        """The clip as every stage sees it."""
        return self.dir / SOURCE

    def path(self, name: str) -> Path:
        """Return the path of something in the run folder."""
        return self.dir / name

    def relative(self, path: Path) -> str:
        """Name a path for the manifest: relative to the run folder where it lies in it, else absolute."""
        resolved, root = path.resolve(), self.dir.resolve()
        return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(resolved)

    def save(self) -> None:
        """Write run.json, atomically."""
        write_text(self.dir / MANIFEST, json.dumps(self.manifest, indent=1) + "\n")

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the run for this process; see `lock_run`."""
        return lock_run(self.dir)


@contextlib.contextmanager
def lock_run(folder: Path) -> Iterator[None]:
    """Hold a run folder, making it where needed, and clear away what a killed process left in it.

    The operating system lets go of the lock when the process ends, however it ends.
    Raises UsageError when another process holds it, StorageError when the folder cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another process is working on the run {folder}; wait until it ends, or use another --run."
            ) from error
        remove_partials(folder)
        yield


_CODE_SUFFIXES = {".py", ".json", ".toml"}
_MANIFEST = threading.Lock()
"""Stages that run at once in one process, see `run_stage`, write run.json one after the other."""


class Stage:
    """What `run_stage` hands to the stage: is there work, and what came of it."""

    def __init__(self, run: Run, name: str, previous: dict[str, Any] | None) -> None:
        self.run = run
        self.name = name
        self.unchanged = False
        self._previous = previous
        self._outputs: list[Path] = []
        self._notes: dict[str, Any] = {}

    def add_output(self, path: Path) -> None:
        """Name a finished file or folder that this stage wrote; its SHA-256 goes into run.json."""
        self._outputs.append(path)

    def note(self, key: str, value: Any) -> None:
        """Keep a figure or a finding (anything JSON can hold) in run.json."""
        self._notes[key] = value

    def forget(self) -> None:
        """Take the last run's record out of run.json, before its outputs are removed or written over in place."""
        if self._previous is not None:
            del self.run.manifest["stages"][self.name]
            self.run.save()

    @property
    def notes(self) -> dict[str, Any]:
        """The notes of this run of the stage, or of the one that is still valid."""
        return dict(self._previous["notes"]) if self.unchanged and self._previous else dict(self._notes)


def tool_versions(*packages: str) -> dict[str, str]:
    """Return the installed version of each package, for run.json."""
    return {package: importlib.metadata.version(package) for package in packages}


def _code_digest(packages: Iterable[str]) -> str:
    """Digest the source files of the packages, so that a new version of a stage does its work again."""
    digest = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            root = Path(folder)
            for path in sorted(each for each in root.rglob("*") if each.suffix in _CODE_SUFFIXES):
                digest.update(f"{package}/{path.relative_to(root).as_posix()}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def describe_output(run: Run, path: Path) -> dict[str, Any]:
    """Return the manifest's record of an output: path, bytes, SHA-256, and for a folder the number of files."""
    record: dict[str, Any] = {"path": run.relative(path)}
    if path.is_dir():
        files = [each for each in path.iterdir() if each.is_file()]
        record |= {"files": len(files), "bytes": sum(each.stat().st_size for each in files)}
    else:
        record["bytes"] = path.stat().st_size
    return record | {"sha256": sha256_path(path)}


def _still_there(run: Run, outputs: list[dict[str, Any]]) -> bool:
    for record in outputs:
        path = run.dir / record["path"]
        if not path.exists() or sha256_path(path) != record["sha256"]:
            return False
    return True


def _check_source(run: Run, digests: dict[str, str]) -> None:
    recorded = run.manifest.get("stages", {}).get("ingest", {}).get("outputs", [])
    for record in recorded:
        actual = digests.get(record["path"])
        if record["path"] == SOURCE and actual is not None and actual != record["sha256"]:
            raise InputError(
                f"{run.source} is not the clip this run was made from: SHA-256 {actual}, "
                f"run.json says {record['sha256']}; extract the clip again with --force, or use another --run."
            )


@contextlib.contextmanager
def run_stage(
    run: Run,
    name: str,
    *,
    params: dict[str, Any],
    inputs: list[Path],
    tools: dict[str, str],
    code: tuple[str, ...] = (),
    force: bool = False,
    held: bool = False,
) -> Iterator[Stage]:
    """Do a stage's work on a run, under the run's lock.

    name: "tracker", or "reskin/NAME" where there may be several. params: everything that changes the result, as JSON.
    inputs: files and folders that are read. tools: versions of what does the work. code: packages whose source files
    count as part of the stage; its own (the part of `name` before "/") and handoff always do. held: the caller holds
    the lock, because several stages of other names run in threads of its own; each has a `Run` of its own.

    The stage sets nothing up when `unchanged` is true: inputs (by SHA-256), parameters, tools and code are those of the
    last run, and every output is still there with its SHA-256. On a clean exit the outputs are recorded; on an
    exception run.json is left as it was (or without this stage, see `Stage.forget`).
    """
    with contextlib.nullcontext() if held else run.lock():
        run.manifest = Run.open(run.dir).manifest
        digests = {run.relative(path): sha256_path(path) for path in inputs}
        _check_source(run, digests)
        packages = sorted({"handoff", name.split("/")[0], *code})
        key_text = json.dumps([name, params, digests, tools, _code_digest(packages)], sort_keys=True)
        key = hashlib.sha256(key_text.encode()).hexdigest()
        previous = run.manifest["stages"].get(name)
        stage = Stage(run, name, previous)
        if previous and previous["key"] == key and not force and _still_there(run, previous["outputs"]):
            stage.unchanged = True
            click.echo(f"{name}: nothing has changed, nothing to do (--force does it again)")
            yield stage
            return
        started = time.monotonic()
        yield stage
        record = {
            "key": key,
            "params": params,
            "tools": tools,
            "inputs": digests,
            "seconds": round(time.monotonic() - started, 2),
            "outputs": [describe_output(run, path) for path in stage._outputs],
            "notes": stage._notes,
        }
        with _MANIFEST:
            run.manifest = Run.open(run.dir).manifest  # another stage may have ended meanwhile
            run.manifest["stages"][name] = record
            run.save()
