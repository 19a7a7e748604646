"""SHA-256 of files and of folders."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex; the file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tree(folder: Path) -> str:
    """Return one digest for all files of a flat folder.

    It is the SHA-256 of what `sha256sum` prints for the files in byte order of their names, so that
    `cd FOLDER && LC_ALL=C sh -c 'sha256sum *' | sha256sum` gives the same value.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name.encode()):
        digest.update(f"{sha256_file(path)}  {path.name}\n".encode())
    return digest.hexdigest()


def sha256_path(path: Path) -> str:
    """Return `sha256_tree` of a folder, `sha256_file` of anything else."""
    return sha256_tree(path) if path.is_dir() else sha256_file(path)
