"""weights.toml: every model file's URL, SHA-256, bytes, licence, and the profiles that need it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from handoff.errors import InputError, MissingError, UsageError

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA = 1
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TEXTS = ("file", "url", "sha256", "licence", "licence_url")
_OPTIONAL = {"bytes", "also", "onnx_sha256"}
_KEYS = {*_TEXTS, "profiles", *_OPTIONAL}


@dataclass(frozen=True)
class Weight:
    """One model file.

    file: its place below the models folder, with "/". sha256: 64 lower-case hex digits. size_bytes: None where not
    known. licence: SPDX identifier. profiles: the uses that need it. also: SHA-256 of other copies that are as good
    when they are put there by hand (a download must have `sha256`). onnx_sha256: of the one .onnx file in the archive
    that this weight is; None where it is no archive, or not known.
    """

    name: str
    file: str
    url: str
    sha256: str
    size_bytes: int | None
    licence: str
    licence_url: str
    profiles: tuple[str, ...]
    also: tuple[str, ...] = ()
    onnx_sha256: str | None = None


@dataclass(frozen=True)
class Registry:
    """All of weights.toml. profiles: name and what it is for. default: the profiles used when none is named."""

    weights: tuple[Weight, ...]
    profiles: dict[str, str]
    default: tuple[str, ...]

    def weight(self, name: str) -> Weight:
        """Return the weight of that name; raise UsageError, with all names, when there is none."""
        for weight in self.weights:
            if weight.name == name:
                return weight
        names = ", ".join(weight.name for weight in self.weights)
        raise UsageError(f"there is no weight '{name}' in weights.toml; there are {names}.")

    def of(self, profiles: Sequence[str]) -> list[Weight]:
        """Return the weights of the named profiles, each once; raise UsageError, with all profiles, on a typo."""
        for profile in profiles:
            if profile not in self.profiles:
                raise UsageError(f"there is no profile '{profile}'; there are {', '.join(self.profiles)}.")
        return [weight for weight in self.weights if set(weight.profiles) & set(profiles)]


def load_registry(path: Path | None = None) -> Registry:
    """Read weights.toml: `path`, else $WEIGHTS_TOML (a mirror's, say), else the project's own.

    Raises InputError, saying which entry and why, when it cannot be used as it is.
    """
    path = path or Path(os.environ.get("WEIGHTS_TOML") or ROOT / "weights.toml")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as TOML ({error}).") from error
    try:
        return _registry(table)
    except _Wrong as error:
        raise InputError(f"{path}: {error}.") from error


class _Wrong(Exception):
    """What is wrong with the table, without the file's name."""


def _registry(table: dict[str, Any]) -> Registry:
    if table.get("schema") != SCHEMA:
        raise _Wrong(f"schema is {table.get('schema')!r}, this version reads {SCHEMA}")
    profiles, entries, default = table.get("profiles"), table.get("weights"), table.get("default")
    if not isinstance(profiles, dict) or not isinstance(entries, dict) or not isinstance(default, list):
        raise _Wrong("it needs default = [...], [profiles] and [weights.NAME]")
    weights = tuple(_weight(name, entry) for name, entry in entries.items())
    for used in [*default, *(profile for weight in weights for profile in weight.profiles)]:
        if used not in profiles:
            raise _Wrong(f"profile '{used}' is used and not described in [profiles]")
    # a file may be dropped straight into the models folder: its bare name must be enough to know it
    names = [PurePosixPath(weight.file).name for weight in weights]
    for name in names:
        if names.count(name) > 1:
            raise _Wrong(f"two weights have the file name '{name}'")
    return Registry(weights, profiles, tuple(default))


def _weight(name: str, entry: Any) -> Weight:
    keys = set(entry) if isinstance(entry, dict) else set()
    missing, unknown = _KEYS - _OPTIONAL - keys, keys - _KEYS
    if missing or unknown:
        raise _Wrong(f"[weights.{name}] lacks {sorted(missing)}, and has {sorted(unknown)} that nobody reads")
    size, profiles, file = entry.get("bytes"), entry["profiles"], PurePosixPath(str(entry["file"]))
    if not all(isinstance(entry[key], str) and entry[key] for key in _TEXTS):
        raise _Wrong(f"[weights.{name}]: {', '.join(_TEXTS)} are texts")
    also, inner = entry.get("also", []), entry.get("onnx_sha256")
    if not isinstance(also, list):
        raise _Wrong(f"[weights.{name}]: also is {also!r}, not a list of SHA-256 digests")
    for key, digest in [("sha256", entry["sha256"]), *(("also", each) for each in also), ("onnx_sha256", inner)]:
        if digest is not None and not re.fullmatch(r"[0-9a-f]{64}", str(digest)):
            raise _Wrong(f"[weights.{name}]: {key} is {digest!r}, not 64 lower-case hex digits")
    if file.is_absolute() or ".." in file.parts or not file.name:
        raise _Wrong(f"[weights.{name}]: file is {str(file)!r}, not a place below the models folder")
    if size is not None and (type(size) is not int or size <= 0):
        raise _Wrong(f"[weights.{name}]: bytes is {size!r}, not a number above 0")
    if not isinstance(profiles, list) or not profiles or not all(isinstance(each, str) for each in profiles):
        raise _Wrong(f"[weights.{name}]: profiles is {profiles!r}, not a list of names")
    try:
        check_url(entry["url"])
    except MissingError as error:
        raise _Wrong(f"[weights.{name}]: {error}") from error
    texts = {key: entry[key] for key in _TEXTS}
    texts["file"] = file.as_posix()
    return Weight(name=name, size_bytes=size, profiles=tuple(profiles), also=tuple(also), onnx_sha256=inner, **texts)


def is_loopback(url: str) -> bool:
    """Say whether a URL names this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def check_url(url: str, redirected_from: str | None = None) -> None:
    """Raise MissingError unless `url` is https; http passes within this machine only (a mirror, the tests)."""
    parts = urlsplit(url)
    local = is_loopback(url) and (redirected_from is None or is_loopback(redirected_from))
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local)):
        return
    where = f"{redirected_from} redirects to {parts.scheme}://{parts.netloc}" if redirected_from else url
    raise MissingError(f"{where}, which is not https: it is not asked for anything.")
