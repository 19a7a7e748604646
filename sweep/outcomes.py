"""What came of a cell and of an extraction: the small files that jobs write below a sweep's folder.

    cells/RUN/RESKIN.json    of a cell        extracted/ID.json, failed/ID.json    of an extraction

A folder may come from anybody, so nothing in it is believed before it was looked at: what is no plain file, is too
large, or is not of the form, is no outcome, and that is said once. A cell is done when its outcome is a verdict on what
the plan asks for, and the report that the job read it from still stands.
"""

from __future__ import annotations

import functools
import json
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

SCHEMA = 1
LARGEST = 2**20
"""Bytes of an outcome at most."""
PASS, FAIL = 0, 1
VERDICTS = (PASS, FAIL)
"""The codes that are verdicts of the gate; with any other the job failed."""
REPORT = ("report", "iou.json")
EXTRACTED = ("source.mp4", "mask.mp4", "human_mask.mp4", "pose.json")
"""What reskins need of a run, beside its run.json."""
_LOG = re.compile(r"logs/[\w.-]{1,255}", re.ASCII)
_MOST = 2**63


@dataclass(frozen=True)
class Outcome:
    """What came of one cell or one extraction.

    key: the cell's when it was done, None of an extraction. code: the command's exit code. seconds: that it took, None
    where that is not known. log: what the job printed, as a path in the sweep's folder. said: its last error. result:
    size and mtime, ns, of the report that the verdict was read from, of an extraction those of the run's run.json.
    windows: of an extraction, how many are painted in each cell.
    """

    key: str | None
    code: int
    seconds: float | None = None
    log: str | None = None
    said: str | None = None
    result: tuple[int, int] | None = None
    windows: int | None = None


def outcome_of(folder: Path, cell: Mapping[str, Any]) -> Outcome | None:
    """Return what came of a cell, in the sweep's folder; None where nothing is known of it yet."""
    return _read(f"{folder}/cells/{cell['run']}/{cell['reskin']}.json", f"{cell['run']}/{cell['reskin']}")


def extraction_of(folder: Path, name: str) -> Outcome | None:
    """Return what came of an extraction, by its id; None where nothing is known of it yet."""
    return _read(f"{folder}/extracted/{name}.json", name) or _read(f"{folder}/failed/{name}.json", name)


def is_done(outcome: Outcome | None, cell: Mapping[str, Any], runs_dir: Path) -> bool:
    """Say whether a cell need not be done again: its verdict is on what is asked for, and its report still stands."""
    if outcome is None or outcome.code not in VERDICTS or outcome.key != cell["key"] or outcome.result is None:
        return False
    reskin = f"{runs_dir}/{cell['run']}/reskins/{cell['reskin']}"
    return _mark(f"{reskin}/{'/'.join(REPORT)}") == outcome.result and os.path.isfile(f"{reskin}/output.mp4")


def is_extracted(outcome: Outcome | None, run: Path) -> bool:
    """Say whether a clip need not be extracted again: the run is as the job left it, and what reskins need is there."""
    if outcome is None or outcome.code != 0 or outcome.result is None:
        return False
    return _mark(f"{run}/run.json") == outcome.result and all((run / name).is_file() for name in EXTRACTED)


def broken_off(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each job that ended before each of its cells had an outcome, with its log."""
    folder, runs = Path(plan["folder"]), Path(plan["data"]) / "runs"
    left: dict[str, dict[str, int]] = {}
    for batch in plan["batches"]:
        own = left.setdefault(batch["extraction"], {})
        own[batch["id"]] = sum(_is_open(folder, cell, runs) for cell in batch["cells"])
    for extraction, own in left.items():
        outcome = extraction_of(folder, extraction)
        if outcome is None and any(own.values()):
            yield _broken_job(folder, extraction, sum(own.values()))
        elif outcome is not None and outcome.code == 0:
            yield from (_broken_job(folder, name, count) for name, count in own.items() if count)


def _is_open(folder: Path, cell: Mapping[str, Any], runs_dir: Path) -> bool:
    outcome = outcome_of(folder, cell)
    if outcome is None or outcome.key != cell["key"]:
        return True
    return outcome.code in VERDICTS and not is_done(outcome, cell, runs_dir)


def _broken_job(folder: Path, name: str, cells: int) -> str:
    log = f"logs/{name}.log"
    told = f"job {name} ended before {cells} cell{'s had verdicts' if cells > 1 else ' had a verdict'}"
    try:
        with open_plain(folder, "logs", f"{name}.log") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2**16))
            lines = file.read(2**16).decode("utf-8", "replace").rpartition("\n--- ")[2].splitlines()
    except OSError:
        return f"{told}: it never began, and logs/snakemake.log says why"
    said = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
    return f"{told}: {one_line(said[:1000]) or 'it was killed, or ran out of memory'} ({log})"


def open_plain(root: Path | str, *way: str) -> BinaryIO:
    """Open a plain file below the folder `root`, reached from there through no link. Raises OSError.

    A pipe or a device, which might never end, is not waited for.
    """
    *folders, name = way
    here = os.open(root, _FOLDER)
    try:
        for each in folders:
            deeper = os.open(each, _FOLDER | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = deeper
        return _plain(os.open(name, _FILE, dir_fd=here))
    finally:
        os.close(here)


def one_line(text: str) -> str:
    """Return a text as a part of one line: what would steer a terminal, end the line or turn it becomes an escape.

    Letters, emoji and all kinds of spaces stay.
    """
    return text if text.isprintable() else "".join(map(_escaped, text))


def tell(sentence: str) -> None:
    """Print a warning, the same one once in a process."""
    _tell(one_line(sentence))


_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_JOINERS = "\u200c\u200d"
"""What joins or parts letters (Persian, emoji) and does nothing else, though it is a format character."""


def _escaped(letter: str) -> str:
    stays = letter.isprintable() or letter in _JOINERS or unicodedata.category(letter) == "Zs"
    return letter if stays else letter.encode("unicode_escape").decode()


@functools.lru_cache(maxsize=10_000)
def _tell(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr, flush=True)


def _plain(descriptor: int) -> BinaryIO:
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError("it is no plain file")


def _mark(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except (OSError, ValueError):
        return None
    return (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def _read(path: str, name: str) -> Outcome | None:
    try:
        with _plain(os.open(path, _FILE)) as file:
            if os.fstat(file.fileno()).st_size > LARGEST:
                raise ValueError(f"it has more than {LARGEST} bytes")
            return _parsed(json.loads(file.read(LARGEST)), name)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        tell(f"{path} is not taken for an outcome ({why[:200]}); what it stands for is done again.")
        return None


def _parsed(found: Any, name: str) -> Outcome:
    """Return what a document says; ValueError where it is not of the form."""
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ValueError(f"it is no document of schema {SCHEMA}")
    if found.get("id") != name:
        raise ValueError(f"it is of {str(found.get('id'))[:80]!r}")
    code, result, windows = found.get("code"), found.get("result"), found.get("windows")
    if not _is_whole(code):
        raise ValueError("its code is no whole number")
    if result is not None and not (isinstance(result, list) and len(result) == 2 and all(map(_is_whole, result))):
        raise ValueError("its result is not size and time of a file")
    return Outcome(
        _text(found.get("key")),
        code,
        _seconds(found.get("seconds")),
        _log(found.get("log")),
        _text(found.get("said")),
        None if result is None else (result[0], result[1]),
        windows if _is_whole(windows) else None,
    )


def _is_whole(value: Any) -> TypeGuard[int]:
    return type(value) is int and -_MOST < value < _MOST


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _seconds(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and 0 <= value < _MOST else None


def _log(value: Any) -> str | None:
    """A path in the sweep's folder, such as a job writes it; None for any other."""
    return value if isinstance(value, str) and _LOG.fullmatch(value) else None
