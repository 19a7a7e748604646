"""The network in an official archive: a zip with one .onnx file in it, somewhere below its folders."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import click

from handoff.atomic import atomic_file
from handoff.errors import InputError
from handoff.hashing import sha256_file
from handoff.verify import DigestError

_LIMIT_BYTES = 4_000_000_000  # more than any network here; a zip may promise anything


def unpacked(archive: Path, onnx_sha256: str | None = None, elsewhere: Path | None = None) -> Path:
    """Return the .onnx file of an archive, unpacked beside it as NAME.onnx; a file that is no zip is returned as it is.

    elsewhere: a folder of the caller's to unpack into where the archive's own cannot be written, as in a container.
    onnx_sha256: what the .onnx file must be. Where it is known, a file that lies there already is used if it is that
    one; where it is not, it is unpacked each time, as only the archive can be trusted. Names inside the archive decide
    nothing but which file is meant: nothing is written anywhere else.
    Raises InputError for a damaged archive or one without exactly one .onnx file, DigestError for the wrong one,
    StorageError where it cannot be written.
    """
    if archive.suffix != ".zip":
        return archive
    target = archive.with_suffix(".onnx")
    if onnx_sha256 and target.is_file() and sha256_file(target) == onnx_sha256:
        return target
    if elsewhere and not os.access(target.parent, os.W_OK):
        target = elsewhere / target.name
        click.echo(f"posegen: {archive.parent} cannot be written, so {archive.name} is unpacked each time", err=True)
    try:
        with zipfile.ZipFile(archive) as zipped:
            _unpack(zipped, _network(zipped, archive), target, onnx_sha256)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{archive} cannot be unpacked ({error}); move it away and run make weights.") from error
    return target


def _network(zipped: zipfile.ZipFile, archive: Path) -> zipfile.ZipInfo:
    found = [each for each in zipped.infolist() if PurePosixPath(each.filename).suffix == ".onnx" and not each.is_dir()]
    if len(found) != 1:
        raise InputError(f"{archive} has {len(found)} .onnx files in it, not one; move it away and run make weights.")
    if found[0].file_size > _LIMIT_BYTES:
        raise InputError(f"{archive} holds a network of {found[0].file_size} bytes, more than any that is used here.")
    return found[0]


def _unpack(zipped: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, onnx_sha256: str | None) -> None:
    with atomic_file(target) as partial:
        with zipped.open(member) as source, partial.open("wb") as file:
            # ZipFile reads no more than the size that was checked, and checks the CRC at the end
            shutil.copyfileobj(source, file, 1 << 20)
        with partial.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if onnx_sha256 and actual != onnx_sha256:
            advice = "move the archive away and run make weights"
            raise DigestError(f"{member.filename} in {zipped.filename}", actual, onnx_sha256, advice)
