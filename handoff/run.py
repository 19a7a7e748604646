"""The run folder and its manifest, run.json: the whole state of one clip."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from handoff.atomic import remove_partials, write_text
from handoff.errors import InputError, UsageError, storage_errors
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
