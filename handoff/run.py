"""The folders that stages record their work in: a run, the whole state of one clip, and each reskin of it.

In reading order: the two folders with their manifests (`Run`, `Reskin`), their locks, and one stage's work in such a
folder (`run_stage`): skipped when nothing has changed, recorded in run.json when it is complete.

One folder, one writer. Extraction (ingest, detect, posegen, tracker) holds the run folder alone. A reskin and its
evaluation hold the reskin's folder alone and the run folder shared, so that many reskins of one clip are painted and
judged at the same time.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import click

from handoff.clip.rates import parse_rate
from handoff.errors import BusyError, InputError, StorageError, storage_errors
from handoff.files import files_in, fsync, is_open_at, open_lock, remove_partials, sha256_path, write_text
from handoff.jsonfile import (
    RATE,
    SHA256,
    Check,
    anything,
    below,
    check_json,
    listing,
    mapping,
    number,
    one_of,
    read_json,
    record,
    text,
    whole,
)
from handoff.links import MANIFEST as MANIFEST
from handoff.links import RESKINS as RESKINS
from handoff.links import check_way, confine, confine_run_of, make_folder, run_folders_of
from handoff.video import ClipInfo

SCHEMA = 2
"""In a manifest of schema 1, which is read too, a run's own run.json has its reskins' records, as "reskin/NAME"."""
SOURCE = "source.mp4"
EXTRACTED = (
    *("detections.json", "prompts.json", "pose.json", "pose_json", "pose_keypoint.json", "pose_skater", "pose.mp4"),
    *("person_mask.mp4", "mask.mp4", "mask_skateboard", "human_mask.mp4", "mask_human", "doubt.png"),
)
"""What extraction makes of source.mp4, and what is of that clip and of no other."""
OUTPUT = "output.mp4"
"""A reskin's clip. What stands beside it and is of it, and of no other: `_OF_THE_CLIP`."""
_OF_THE_CLIP = ("report", "pose.json", "detections.json", "output.json", "takes.png")
_INGEST = "ingest"
_RUN, _RESKIN = "run", "reskin"
_OF_A_RESKIN = _, _JUDGED = "reskin", "evaluator"
"""The stages whose work on a reskin is recorded with it."""
_LOCK = ".lock"
_CODE_SUFFIXES = {".py", ".json", ".toml"}
_HELP = "commands.json"  # what commands say of themselves changes no result


class StageFolder(ABC):
    """A folder with a manifest, which says what stages did in it, and a lock, which one process holds at a time.

    `manifest` is run.json as a dict: "schema", "kind" ("run" or "reskin"), "name", and "stages", by name.
    """

    kind: ClassVar[str]

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.dir = folder
        self.manifest = manifest
        self._held: int | None = None  # the open lock file, while this process holds the folder

    @property
    @abstractmethod
    def run(self) -> Run:
        """The run that this folder is, or belongs to. Paths in the manifest are relative to its folder."""

    @abstractmethod
    def label(self, stage: str) -> str:
        """Name a stage's work in this folder, for log lines: "tracker", "reskin/drone"."""

    @abstractmethod
    def reload(self) -> None:
        """Read the manifest again, as it is now."""

    @abstractmethod
    def _hold(self) -> contextlib.AbstractContextManager[int]:
        """Take the locks that writing in this folder needs; the folder's own open lock file is what is entered."""

    def recorded(self, stage: str, shape: Check) -> dict[str, Any] | None:
        """Return what run.json says of a stage, None where it says nothing; JsonError unless it has that shape."""
        found: dict[str, Any] | None = self.manifest["stages"].get(stage)
        if found is not None:
            again = _ADVICE[self.kind]
            check_json(found, str(self.dir / MANIFEST), shape, advice=again, place=f"stages.{stage}")
        return found

    def relative(self, path: Path) -> str:
        """Name a path for the manifest: relative to the run's folder where it lies in it, else absolute.

        Links on the way are followed, at its end not: a link in mask.mp4's place is held to mask.mp4's record.
        """
        placed, root = path.parent.resolve() / path.name, self.run.dir.resolve()
        return placed.relative_to(root).as_posix() if placed.is_relative_to(root) else str(placed)

    def save(self) -> None:
        """Write run.json, atomically; StorageError when that cannot be done. Only while holding the lock."""
        if self._held is not None and not is_open_at(self._held, self.dir / _LOCK):
            raise StorageError(f"{self.dir} was moved or removed while it was in use; run the same command again.")
        self.manifest = {"schema": SCHEMA, "kind": self.kind} | {
            key: value for key, value in self.manifest.items() if key not in ("schema", "kind")
        }
        write_text(self.dir / MANIFEST, json.dumps(self.manifest, indent=1) + "\n")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process, and clear away what a killed one left; within the block it is held already.

        The folder is made where it is missing, and removed again where nothing was written. The operating system lets
        go of the lock when the process ends, however it ends. Raises UsageError when another process is at work,
        StorageError when the folder cannot be written or its file system has no locks.
        """
        if self._held is not None:
            yield
            return
        with self._hold() as self._held:
            try:
                yield
            finally:
                self._held = None


class Run(StageFolder):
    """One run folder, the whole state of one clip; `manifest` also has "source" (see handoff.ingest)."""

    kind = _RUN

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        confine(folder)
        super().__init__(folder, manifest)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read the manifest of an existing run; raise InputError when `folder` is none that this version reads."""
        confine(folder)
        path = folder / MANIFEST
        if not os.path.lexists(path):
            raise InputError(
                f"{folder} is not a run folder (it has no {MANIFEST}); make one with extract_physics.py -i CLIP."
            )
        manifest = _read_manifest(path, _RUN, _RESKIN)
        if manifest.get("kind") == _RESKIN:
            raise InputError(f"{folder} is a reskin, not a run; name its run, {folder.parent.parent}.")
        return cls(folder, manifest)

    @classmethod
    def containing(cls, path: Path) -> Run | None:
        """Return the run that a file lies in by its place, or None; InputError for one that cannot be read."""
        confine_run_of(path)
        for folder in run_folders_of(path):
            manifest = _read_manifest(folder / MANIFEST, _RUN, _RESKIN)
            if manifest.get("kind") != _RESKIN:
                return cls(folder.resolve(), manifest)
        return None

    @property
    def run(self) -> Run:
        return self

    @property
    def info(self) -> ClipInfo:
        """Size, rate and frame count of source.mp4."""
        source = self.manifest["source"]
        return ClipInfo(source["width"], source["height"], parse_rate(source["fps"]), source["frames"])

    @property
    def source(self) -> Path:
        """The clip as every stage sees it."""
        return self.dir / SOURCE

    def path(self, name: str) -> Path:
        """Return the path of something in the run folder."""
        return self.dir / name

    def reskin(self, name: str) -> Reskin:
        """Return the reskin of that name, which need not be there yet; InputError where its manifest cannot be read."""
        return Reskin(self, name)

    def label(self, stage: str) -> str:
        return stage

    def reload(self) -> None:
        self.manifest = Run.open(self.dir).manifest

    def save(self) -> None:
        """Write run.json, atomically; the records of reskins in one of schema 1 move to the reskins' own first."""
        stages = self.manifest["stages"]
        old = [stage for stage in stages if "/" in stage]
        for name in {stage.partition("/")[2] for stage in old}:
            reskin = self.reskin(name)
            if reskin.dir.is_dir() and not (reskin.dir / MANIFEST).exists():
                reskin.save()
        for stage in old:
            del stages[stage]
        super().save()

    def check_inputs(self, digests: Mapping[str, str]) -> None:
        """Raise InputError for files of another clip than run.json's; only under a lock, or where nothing is recorded.

        digests: SHA-256 of files, by the name that `relative` gives them. source.mp4 has to be as it was ingested. What
        extraction makes (EXTRACTED) has to be as a stage recorded it that read this very source.mp4: a stage that was
        stopped, or a run that was begun anew of another clip, leaves files that nobody vouches for.
        """
        stages = self.manifest.get("stages", {})
        source = {each["path"]: each["sha256"] for each in stages.get(_INGEST, {}).get("outputs", [])}.get(SOURCE)
        actual = digests.get(SOURCE)
        if actual is not None and source is not None and actual != source:
            raise InputError(
                f"{self.source} is not the clip this run was made from: SHA-256 {actual}, {MANIFEST} says {source}; "
                "extract the clip again with --force, or use another --run."
            )
        of_this_clip = [each for each in stages.values() if source and each.get("inputs", {}).get(SOURCE) == source]
        made = {each["path"]: each["sha256"] for record in of_this_clip for each in record["outputs"]}
        for name in sorted(digests.keys() & {*EXTRACTED}):
            if made.get(name) != digests[name]:
                why = f"{MANIFEST} says {made[name]}" if name in made else f"and no stage in {MANIFEST} made it"
                raise InputError(
                    f"{self.dir / name} was not made of this run's {SOURCE}: it has SHA-256 {digests[name]}, {why}; "
                    "extract the clip again, or give a file of your own under another name."
                )

    def take_back(self) -> None:
        """Take away what was made of source.mp4, before another clip takes its place; only under the lock.

        First the records of all stages but the ingest, which stay true until then, then the files, then what is said
        of each reskin: its records and reports. The clips that were painted stay. So no mask stands beside a clip that
        it is not of, wherever this ends. StorageError where something cannot be removed.
        """
        check_way(self.path(RESKINS))
        stages = self.manifest["stages"]
        if stages.keys() - {_INGEST}:
            self.manifest["stages"] = {name: record for name, record in stages.items() if name == _INGEST}
            self.save()
        with storage_errors(self.dir):
            for name in EXTRACTED:
                _remove_path(self.dir / name)
            fsync(self.dir)
        for folder in sorted(self.path(RESKINS).glob("*")):
            if folder.is_dir() and not folder.is_symlink():
                self.reskin(folder.name).take_back()

    @contextlib.contextmanager
    def _hold(self) -> Iterator[int]:
        with _alone(self.dir, f"working on the run {self.dir} or a reskin of it", "--run") as held:
            confine(self.dir)  # by now it is there
            remove_partials(self.dir)
            yield held


class Reskin(StageFolder):
    """One reskin of a run, reskins/NAME, with the records of how it was painted ("reskin") and judged ("evaluator")."""

    kind = _RESKIN

    def __init__(self, run: Run, name: str) -> None:
        super().__init__(run.dir / RESKINS / name, {})
        self.name = name
        self._run = run
        self.manifest = self._read()

    @property
    def run(self) -> Run:
        return self._run

    def label(self, stage: str) -> str:
        return f"{stage}/{self.name}"

    def reload(self) -> None:
        self._run.reload()
        self.manifest = self._read()

    def take_back(self) -> None:
        """Take away all that is said of the clip in this folder, before another takes its place; only under the lock.

        First its records (how it was painted, its verdict), then report/ whole, the reports that were written elsewhere
        in this folder, and the files beside the clip that are of it. So a verdict never stands beside a clip that it is
        not of, wherever this ends. StorageError where something cannot be removed: then the clip has to stay.
        """
        taken = {stage: self.manifest["stages"].pop(stage, None) for stage in _OF_A_RESKIN}
        if any(taken.values()):
            self.save()
        reports = [self._run.dir / each["path"] for each in (taken[_JUDGED] or {}).get("outputs", [])]
        with storage_errors(self.dir):
            for path in (*(self.dir / name for name in _OF_THE_CLIP), *reports):
                if path.parent.resolve().is_relative_to(self.dir.resolve()) and path != self.dir / OUTPUT:
                    _remove_path(path)
            fsync(self.dir)

    def _read(self) -> dict[str, Any]:
        path = self.dir / MANIFEST
        check_way(path)
        if path.is_file():
            return _read_manifest(path, _RESKIN)
        old = self._run.manifest["stages"]
        stages = {stage: old[f"{stage}/{self.name}"] for stage in _OF_A_RESKIN if f"{stage}/{self.name}" in old}
        return {"name": self.name, "stages": stages}

    @contextlib.contextmanager
    def _hold(self) -> Iterator[int]:
        with _shared(self._run.dir), _alone(self.dir, f"painting or judging the reskin {self.dir}", "--name") as held:
            remove_partials(self.dir)
            yield held


def _stage(path_of_an_output: Check) -> Check:
    output = record({"path": path_of_an_output, "sha256": SHA256}, {"bytes": whole(0), "files": whole(0)})
    about = {
        "key": text(),
        "params": mapping(anything),
        "tools": mapping(text()),
        "inputs": mapping(text()),
        "seconds": number(0),
        "notes": mapping(anything),
    }
    return record({"outputs": listing(output)}, about)


_NO_WAY_UP = r"(?!(.*/)?\.\.(/|$))[^\0]+"
_ANYWHERE = _stage(text(_NO_WAY_UP, "a path without '..'", most=4096))
_INSIDE = _stage(text(f"(?!/){_NO_WAY_UP}", "the path of something in the run's folder", most=4096))
_NAME = r"[A-Za-z0-9_-]+(/(?!\.{1,2}$)[^/\0]+)?"
"""A stage's, and in a manifest of schema 1 a reskin's after it."""


def _stages(value: Any, place: str) -> None:
    mapping(_ANYWHERE, _NAME, "a stage's name")(value, place)
    for name, stage in value.items():
        if name.partition("/")[0] != "evaluator":  # its report may lie elsewhere
            _INSIDE(stage, below(place, name))


_SOURCE = record(
    {
        "path": text(),
        "sha256": SHA256,
        "width": whole(1, 65_535),
        "height": whole(1, 65_535),
        "fps": RATE,
        "frames": whole(1, 100_000_000),
    }
)
_SHAPES = {
    _RUN: record({"source": _SOURCE, "stages": _stages}, {"name": text()}),
    _RESKIN: record({"stages": _stages}, {"name": text()}),
}
_ADVICE = {_RUN: "extract the clip again", _RESKIN: "delete it, then paint and judge this reskin again"}


def _read_manifest(path: Path, *kinds: str) -> dict[str, Any]:
    """Return a manifest of one of these kinds, of this schema or an older one (the first knew no kinds: a run's).

    Raises InputError, with what to do, for anything else.
    """
    advice = _ADVICE[kinds[0]]
    head = record({"schema": whole(1)}, {"kind": one_of(*kinds)})
    manifest: dict[str, Any] = read_json(path, head, advice=advice)
    if manifest["schema"] > SCHEMA:
        raise InputError(
            f"{path} has schema {manifest['schema']} and was written by a newer version, this one reads up to {SCHEMA};"
            f" use that version, or {advice}."
        )
    check_json(manifest, str(path), _SHAPES[manifest.get("kind", kinds[0])], advice=advice)
    return manifest


@contextlib.contextmanager
def _alone(folder: Path, doing: str, option: str) -> Iterator[int]:
    """Hold a folder exclusively, making it where it is missing; see `StageFolder.lock`. Yields its open lock file."""
    made = not folder.exists()
    with storage_errors(folder):
        try:
            descriptor = _take(folder, fcntl.LOCK_EX)
        except BlockingIOError as error:
            raise BusyError(f"another process is {doing}; wait until it ends, or use another {option}.") from error
    try:
        yield descriptor
    finally:
        if made:
            _remove_unused(folder)
        os.close(descriptor)


@contextlib.contextmanager
def _shared(folder: Path) -> Iterator[None]:
    """Keep extraction out of a run folder; others may do so at the same time."""
    with storage_errors(folder):
        try:
            descriptor = _take(folder, fcntl.LOCK_SH)
        except BlockingIOError as error:
            raise BusyError(
                f"another process is extracting the run {folder}; wait until it ends, or use another --run."
            ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _take(folder: Path, how: int) -> int:
    """Return the open lock file of a folder, locked; raise BlockingIOError where another process holds it."""
    path = folder / _LOCK
    check_way(path)
    while True:
        make_folder(folder)
        try:
            descriptor = open_lock(path, how)
        except FileNotFoundError:
            if folder.is_dir():
                raise
            continue  # who made it removed it meanwhile
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            if is_open_at(descriptor, path):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError as error:
            os.close(descriptor)
            raise StorageError(
                f"{folder} cannot be locked ({error.strerror}), so others could write it at the same time; mount its "
                "file system with locks (flock), or use another folder."
            ) from error
        os.close(descriptor)


def _remove_path(path: Path) -> None:
    """Remove a file, a folder with all in it, or a link, which is not followed; nothing where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _remove_unused(folder: Path) -> None:
    """Remove a folder that holds nothing but its lock, while that is held."""
    with contextlib.suppress(OSError):
        if [each.name for each in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()


class Stage:
    """What `run_stage` hands to the stage: is there work, and what came of it.

    work: names the finished work, by all that it depends on and all that came of it; empty until it is finished.
    inputs: SHA-256 of what is read, by path.
    """

    def __init__(self, folder: StageFolder, name: str, previous: dict[str, Any] | None, inputs: dict[str, str]) -> None:
        self.folder = folder
        self.name = name
        self.inputs = inputs
        self.unchanged = False
        self.work = ""
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
            del self.folder.manifest["stages"][self.name]
            self.folder.save()

    @property
    def notes(self) -> dict[str, Any]:
        """The notes of this run of the stage, or of the one that is still valid."""
        return dict(self._previous.get("notes", {})) if self.unchanged and self._previous else dict(self._notes)


@contextlib.contextmanager
def run_stage(
    folder: StageFolder,
    name: str,
    *,
    params: dict[str, Any],
    inputs: list[Path],
    tools: dict[str, str],
    code: tuple[str, ...] = (),
    outside: Path | None = None,
    force: bool = False,
    believed: Callable[[str], bool] | None = None,
) -> Iterator[Stage]:
    """Do a stage's work in a run's or a reskin's folder, under its lock, and record it in that folder's run.json.

    name: of the stage, such as "tracker". params: everything that changes the result, as JSON. inputs: files and
    folders that are read. tools: versions of what does the work. code: packages whose source files count as part of
    the stage; its own, of that name, and handoff always do. outside: a folder, not the run's, in which outputs may lie.
    believed: is asked for `Stage.work` where run.json says that it is done; where it returns False, it is done again.

    The stage sets nothing up when `unchanged` is true: inputs (by SHA-256), parameters, tools and code are those of the
    last run, and every output is still there with its SHA-256. On a clean exit the outputs are recorded; on an
    exception run.json is left as it was (or without this stage, see `Stage.forget`).
    Raises what `StageFolder.lock` does, and InputError where source.mp4 or what was made of it is another clip's.
    """
    with folder.lock():
        opened = folder.run.manifest.get("source", {}).get("sha256")
        folder.reload()
        if folder.run.manifest.get("source", {}).get("sha256") != opened:
            raise BusyError(
                f"another process began the run {folder.run.dir} anew of another clip; run the same command again, or "
                "use another --run."
            )
        digests = {folder.relative(path): sha256_path(path) for path in inputs}
        folder.run.check_inputs(digests)
        packages = sorted({"handoff", name, *code})
        key_text = json.dumps([name, params, digests, tools, code_digest(packages)], sort_keys=True)
        key = hashlib.sha256(key_text.encode()).hexdigest()
        previous = folder.manifest["stages"].get(name)
        stage = Stage(folder, name, previous, digests)
        done = previous and previous.get("key") == key and not force
        done = done and _still_there(folder, previous["outputs"], outside)
        if previous and done and (believed is None or believed(_name_work(key, previous["outputs"]))):
            stage.unchanged, stage.work = True, _name_work(key, previous["outputs"])
            click.echo(f"{folder.label(name)}: nothing has changed, nothing to do (--force does it again)")
            yield stage
            return
        started = time.monotonic()
        yield stage
        outputs = [describe_output(folder, path) for path in stage._outputs]
        folder.manifest["stages"][name] = {
            "key": key,
            "params": params,
            "tools": tools,
            "inputs": digests,
            "seconds": round(time.monotonic() - started, 2),
            "outputs": outputs,
            "notes": stage._notes,
        }
        folder.save()
        stage.work = _name_work(key, outputs)


def _name_work(key: str, outputs: list[dict[str, Any]]) -> str:
    return json.dumps([key, sorted([each["path"], each["sha256"]] for each in outputs)])


def outputs_of(work: str) -> dict[str, str]:
    """Return the SHA-256 of each output of a finished work (`Stage.work`), by the path that run.json has for it."""
    return dict(json.loads(work)[1])


def code_digest(packages: Iterable[str]) -> str:
    """Digest the source files of the packages, so that a new version of a stage does its work again."""
    digest = hashlib.sha256()
    for package in packages:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            root = Path(folder)
            for path in sorted(
                each for each in root.rglob("*") if each.suffix in _CODE_SUFFIXES and each.name != _HELP
            ):
                digest.update(f"{package}/{path.relative_to(root).as_posix()}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _still_there(folder: StageFolder, outputs: list[dict[str, Any]], outside: Path | None) -> bool:
    for output in outputs:
        path = folder.run.dir / output["path"]
        named = outside is not None and path.is_relative_to(outside.resolve())
        if Path(output["path"]).is_absolute() and not named:
            return False  # nobody asked for it, so it is not even looked at
        if not (path.is_file() or path.is_dir()) or sha256_path(path) != output["sha256"]:
            return False
    return True


def describe_output(folder: StageFolder, path: Path) -> dict[str, Any]:
    """Return the manifest's record of an output: path, bytes, SHA-256, and for a folder the number of files."""
    described: dict[str, Any] = {"path": folder.relative(path)}
    if path.is_dir():
        files = files_in(path)
        described |= {"files": len(files), "bytes": sum(each.stat().st_size for each in files)}
    else:
        described["bytes"] = path.stat().st_size
    return described | {"sha256": sha256_path(path)}


def tool_versions(*packages: str) -> dict[str, str]:
    """Return the installed version of each package, for run.json."""
    return {package: importlib.metadata.version(package) for package in packages}
