"""Which networks there are: RTMW and YOLOX by the names that a user writes, their entries in weights.toml, their files.

First the names, then what is there, then the verified file. An official RTMW is a zip with one .onnx file in it,
somewhere below its folders: `unpacked` gets at it. No network is loaded here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import click

from handoff.errors import InputError, MissingError, UsageError
from handoff.files import DigestError, atomic_file, sha256_file
from handoff.weights import Registry, find_with_digest, load_registry
from handoff.weights.store import present

MODELS = {"rtmw-l": "rtmw-l-384x288", "rtmw-x": "rtmw-x-384x288", "rtmw-m": "rtmw-m-256x192"}
"""Model and its entry in weights.toml."""

DEFAULT_MODEL = "rtmw-l"

DETECTORS = {size: f"yolox-{size}" for size in ("nano", "tiny", "s", "m", "l", "x")}
"""A size's name, as a user writes it, and its weight in weights.toml."""

DEFAULT_DETECTOR = "nano"


@dataclass(frozen=True)
class ModelFile:
    """A verified file. path: the archive or .onnx file. sha256: its digest. onnx_sha256: of the .onnx file inside."""

    model: str
    path: Path
    sha256: str
    onnx_sha256: str | None


def find_model(model: str) -> ModelFile:
    """Return the file of a model, verified; UsageError for an unknown model, MissingError where the file is not."""
    registry = load_registry()
    name = _entry(model, registry)
    path, sha256 = find_with_digest(name, registry)
    return ModelFile(model, path, sha256, registry.weight(name).onnx_sha256)


def has_weights(model: str) -> bool:
    """Say whether there is a file for a model (whether it is the right one is not asked)."""
    registry = load_registry()
    return present(registry.weight(_entry(model, registry))) is not None


def has_detector(size: str) -> bool:
    """Say whether there is a file for a detector's weights (whether it is the right one is not asked)."""
    return any(each.name == DETECTORS[size] and present(each) is not None for each in load_registry().weights)


def _entry(model: str, registry: Registry) -> str:
    if model not in MODELS:
        raise UsageError(f"there is no pose model '{model}'; there are: {', '.join(MODELS)}.")
    name = MODELS[model]
    if name not in {weight.name for weight in registry.weights}:
        raise MissingError(
            f"weights.toml has no file for {model}, because no SHA-256 of it is known from independent sources; "
            f"use --pose-model {DEFAULT_MODEL}, or add an entry [weights.{name}] with the digest of a file you trust."
        )
    return name


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
