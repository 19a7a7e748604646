"""Which run a command means: by name, by a file that lies in it, or the newest."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from runner.holds import flocked, fsync, open_lock, write_text
from runner.process import ROOT, RunnerError, say

MANIFEST, RESKINS = "run.json", "reskins"
_LATEST, _LOCK = ".latest", ".lock"


def real(path: Path) -> Path:
    """Return a path as it is, or what the symbolic links on it lead to: a container does not see the links."""
    return path if path.resolve() == path.absolute() else path.resolve()


def real_file(path: Path) -> Path:
    """Return the same of a file or a folder that may lie in a run, where only links on the way to the run are followed.

    A run may come from anybody: RunnerError (2) for a link in it.
    """
    if not _run_folders(_placed(path)) or path.resolve() == path.absolute():
        return real(path)
    check_way(path)
    return path.parent.resolve() / path.name


def check_way(path: Path) -> None:
    """Raise RunnerError (2) where a path in a run, or a folder on the way to it from there, is no file and no folder.

    That is a link, which might lead anywhere, a pipe, a socket or a device. Nothing need be there. handoff/links.py
    has the same for the stages, and opens what it checks.
    """
    whole = _placed(path)
    for run in _run_folders(whole):
        below = whole.relative_to(run).parts
        for count in range(1, len(below) + 1):
            check_plain(run.joinpath(*below[:count]))


def check_plain(path: Path) -> None:
    """Raise RunnerError (2) for what is neither a file nor a folder itself."""
    if path.is_symlink() or not (path.is_file() or path.is_dir() or not os.path.lexists(path)):
        what = "a link" if path.is_symlink() else "a pipe, a socket or a device"
        raise RunnerError(f"{path} is {what}, and a run has files and folders alone: take it out of the run.", 2)


def _placed(path: Path) -> Path:
    """Return the absolute path, with links followed only where `..` steps back over them."""
    whole = path.absolute()
    if ".." not in whole.parts:
        return whole
    last = len(whole.parts) - whole.parts[::-1].index("..")
    return Path(*whole.parts[:last]).resolve().joinpath(*whole.parts[last:])


def _run_folders(whole: Path) -> list[Path]:
    """Return the folders with a run.json that a path lies in by its place: RUN/..., or RUN/reskins/NAME/..."""
    places = [whole.parent, *(above.parent for above in [*whole.parents][1:] if above.name == RESKINS)]
    return [place for place in places if os.path.lexists(place / MANIFEST)]


@contextlib.contextmanager
def _way_to(path: Path, run: Path | None = None) -> Iterator[tuple[int | None, Path | str]]:
    """Yield the descriptor of the folder that a path in a run lies in, and its name there; None and all of it else.

    Folder by folder from the run on, each opened in the one before, so no link is followed, whoever puts one there
    meanwhile. run: the run; else that of `_run_folders`. Raises OSError.
    """
    whole = _placed(path)
    root = run.absolute() if run else next(reversed(_run_folders(whole)), None)
    if root is None:
        yield None, path
        return
    *folders, name = whole.relative_to(root).parts
    descriptor = os.open(root, _FOLDER)
    try:
        for each in folders:
            deeper = os.open(each, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = deeper
        yield descriptor, name
    finally:
        os.close(descriptor)


_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY


def _open_file(path: Path, run: Path | None = None) -> io.BufferedReader:
    """Open a plain file for reading, in a run through no link (`_way_to`), else its name is no link's itself.

    A pipe or a device, which might never end, is not waited for. OSError where that cannot be done.
    """
    with _way_to(path, run) as (folder, name):
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return os.fdopen(descriptor, "rb")


def data_dir() -> Path:
    """Return the data folder: $DATA_DIR, else data/ of the project."""
    return real(check_path(Path(os.environ.get("DATA_DIR") or ROOT / "data")))


def cache_dir() -> Path:
    """Return the folder of downloads by pinned hash; the same for every data folder."""
    return ROOT / "data" / "cache"


def models_dir() -> Path:
    """Return the models folder, laid out as ComfyUI/models: $MODELS_DIR, else models/ of the data folder."""
    return check_path(Path(os.environ.get("MODELS_DIR") or data_dir() / "models"))


def runs_dir() -> Path:
    """Return the folder that holds the runs."""
    return data_dir() / "runs"


_BELOW = 300
"""Bytes that the longest path below a run or a report takes."""


def check_path(path: Path) -> Path:
    """Return a path that a file or a folder can have; RunnerError (2) for a longer one. Nothing need be there."""
    whole = path.absolute()
    if any(unicodedata.category(letter) == "Cc" for letter in str(whole)):
        raise RunnerError(f"the path {str(path)[:100]!r} has control characters; rename what has them.", 2)
    folder = next(each for each in (whole, *whole.parents) if os.path.isdir(each))
    name, most = max(whole.parts, key=lambda part: len(os.fsencode(part))), _limit(folder, "PC_NAME_MAX", 255)
    if len(os.fsencode(name)) > most:
        said = f"the name '{name[:40]}...' has {len(os.fsencode(name))} bytes, {most} are the most here"
        raise RunnerError(f"{said}; give a shorter one.", 2)
    size, room = len(os.fsencode(whole)), _limit(folder, "PC_PATH_MAX", 4096) - _BELOW
    if size > room:
        said = f"the path '{str(path)[:40]}...' has {size} bytes, {room} are the most here"
        raise RunnerError(f"{said}; give a shorter one.", 2)
    return path


def _limit(folder: Path, name: str, usual: int) -> int:
    """Return a limit that a folder's file system has on names; the usual one where it does not say."""
    try:
        limit = os.pathconf(folder, name)
    except OSError:
        return usual
    return limit if limit > 0 else usual


def run_folder(name: str) -> Path:
    """Return the folder of a run given as a name, or as a path (anything with a slash)."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        raise RunnerError(f"the run {name[:60]!r} has control characters, or bytes that are no UTF-8; name it anew.", 2)
    if "/" in name:
        return real(check_path(Path(name)))
    if not name.strip() or name != name.strip() or name.startswith("."):
        raise RunnerError(f"'{name}' cannot be the name of a run; use letters, digits, '-' and '_'.", 2)
    return check_path(runs_dir() / name)


def named_run(name: str | None) -> Path | None:
    """Return the folder of --run, None where it was not given."""
    return run_folder(name) if name else None


def name_for(clip: Path) -> str:
    """Return the run name a clip gets by default: its file name without the suffix, made safe.

    Where that leaves out letters or signs of other scripts, 8 digits of the file name's SHA-256 follow.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", clip.stem).strip("-") or "clip"
    return name if clip.stem.isascii() else f"{name}-{hashlib.sha256(os.fsencode(clip.stem)).hexdigest()[:8]}"


def remember(folder: Path) -> None:
    """Make `folder` the newest of its siblings."""
    pointer = folder.parent / _LATEST
    try:
        write_text(pointer, folder.name + "\n")
    except OSError as error:
        raise RunnerError(f"cannot write {pointer} ({error.strerror}); choose a folder that can be written.") from error


LARGEST = 16 * 2**20
"""Bytes of a run.json at most, as in handoff/jsonfile.py."""


def read_manifest(path: Path, largest: int = LARGEST) -> Any:
    """Return what stands in a run.json or another JSON file of a run, None where that cannot be read.

    Its stage says then what is wrong with it. A pipe or a device, which might never end, is not read, nor are more
    bytes than `largest`.
    """
    try:
        with _open_file(path) as file:
            return json.loads(file.read(largest)) if os.fstat(file.fileno()).st_size <= largest else None
    except (OSError, ValueError, RecursionError):  # RecursionError: nested too deeply
        return None


def within(document: Any, *keys: str) -> Any:
    """Return what a document has under `keys`, one below the other; None where there is no such place."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def stages_of(folder: Path) -> list[str]:
    """Return the stages that have come to their end in a run, as run.json says; none where it cannot be read."""
    stages = within(read_manifest(folder / MANIFEST), "stages")
    return [name for name in stages if name != "ingest"] if isinstance(stages, dict) else []


def clip_of(folder: Path) -> tuple[Path, str] | None:
    """Return path and SHA-256 of the clip that a run was made of, as run.json says; None where that cannot be read."""
    source = within(read_manifest(folder / MANIFEST), "source")
    path, digest = within(source, "path"), within(source, "sha256")
    return (Path(path), digest) if isinstance(path, str) and isinstance(digest, str) else None


def remove_unused(folder: Path) -> bool:
    """Remove a run folder unless another process holds its lock (handoff/run.py); say whether it is gone."""
    with contextlib.ExitStack() as stack:
        if (folder / _LOCK).exists():
            try:
                descriptor = open_lock(folder / _LOCK, fcntl.LOCK_EX)
                stack.callback(os.close, descriptor)
                if not flocked(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    return False  # nobody knows whether it is held
            except OSError:  # it is held, or is somebody else's
                return False
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def newest(parent: Path, run: Path | None = None) -> Path | None:
    """Return the folder last given to `remember` below `parent`, if it is still there: a name in it, and no path.

    run: that `parent` lies in, through no link.
    """
    name = b""
    with contextlib.suppress(OSError), _open_file(parent / _LATEST, run) as file:
        name = file.read(300)
    plain = name.removesuffix(b"\n").decode("utf-8", "replace")
    if not plain.isprintable() or "/" in plain or plain.startswith(".") or not 0 < len(plain.encode()) <= 255:
        return None
    return parent / plain if (parent / plain).is_dir() else None


def newest_run() -> Path:
    """Return the newest run; raise RunnerError when there is none."""
    folder = newest(runs_dir())
    if folder is None:
        raise RunnerError(f"there is no run in {runs_dir()} yet; make one with extract_physics.py -i CLIP.", 2)
    return folder


MOST_EMPTY = 2**30
"""Bytes of a file that may be holes, as in handoff/links.py."""


def _holes(descriptor: int) -> int:
    """Return how many bytes of a file lie in holes, as far as its file system says; of a file in many pieces, all."""
    size, at, empty = os.fstat(descriptor).st_size, 0, 0
    if size <= MOST_EMPTY:
        return 0
    try:
        for _ in range(10_000):
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            empty, at = empty + begin - at, os.lseek(descriptor, begin, os.SEEK_HOLE)
            if at >= size or empty > MOST_EMPTY:
                return empty
        return size
    except OSError as error:  # nothing but a hole is left
        return empty + size - at if error.errno == errno.ENXIO else 0
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex, as run.json has it; the file is read in pieces."""
    check_way(path)
    try:
        # outside of runs a link is the user's own
        with _open_file(path if _run_folders(_placed(path)) else path.resolve()) as file:
            if _holes(file.fileno()) > MOST_EMPTY:
                raise RunnerError(f"{path} has more than {MOST_EMPTY} bytes that nobody ever wrote; copy it again.", 2)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunnerError(f"{path} cannot be read ({error.strerror}); check the path.", 2) from error


def run_of(path: Path) -> Path | None:
    """Return the real folder of the run that a path lies in by its place, RUN/FILE or RUN/reskins/NAME/..., or None.

    No other folder above counts, whatever lies there; nor does a reskin, which has a run.json of its own. Outside of
    runs a link is the user's own, and what it leads to counts.
    """
    whole = _placed(path)
    for each in (whole, whole.resolve()):
        for folder in _run_folders(each):
            if not _is_reskin(folder / MANIFEST):
                return folder.resolve()
    return None


def _is_reskin(manifest: Path) -> bool:
    """Say whether run.json is a reskin's; one that cannot be read is the run's, and its stage says what is wrong."""
    return bool(within(read_manifest(manifest), "kind") == "reskin")


def new_file(path: Path) -> BinaryIO:
    """Open an empty file for writing in the place of what had its name; RunnerError where that cannot be done.

    What a link of that name leads to, and another name of the same file, are left alone.
    """
    check_way(path.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _way_to(path) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
            return os.fdopen(os.open(name, _NEW, 0o666, dir_fd=folder), "wb")
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> RunnerError:
    """Return what to raise where a file cannot be written."""
    room = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "free some room, then run the same command again" if room else "choose a folder that can be written"
    return RunnerError(f"cannot write {path} ({error.strerror}); {advice}.")


_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def put_file(source: Path, target: Path, run: Path) -> None:
    """Copy a file into a run, where it takes the place of what has its name when it is whole, through no link.

    Raises OSError.
    """
    with source.open("rb") as made:
        _put(target, lambda file: shutil.copyfileobj(made, file), run)


def put_bytes(data: bytes, target: Path) -> None:
    """Write a file of a run as `put_file` does. Raises OSError."""
    _put(target, lambda file: file.write(data))


def _put(target: Path, write: Callable[[BinaryIO], object], run: Path | None = None) -> None:
    partial = f".{target.name}.{secrets.token_hex(6)}.partial"
    with _way_to(target, run) as (folder, name):
        descriptor = os.open(partial, _NEW, 0o666, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                flocked(descriptor, fcntl.LOCK_EX)  # it is no leftover
                write(file)
                file.flush()
                fsync(descriptor)
                os.replace(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial, dir_fd=folder)
            raise
        there = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        try:
            fsync(there)
        finally:
            os.close(there)


def remove_file(target: Path, run: Path) -> None:
    """Remove a file of a run, reached through no link, where it is there. Raises OSError."""
    with _way_to(target, run) as (folder, name), contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def find(name: str, run: Path | None, *below: str) -> Path:
    """Return the file that `name` means: itself where it exists; a bare name is looked for in the run.

    run: the run that was named, or None for the newest. below: folders in the run to look in before the run's own.
    """
    path = Path(name)
    if path.exists() or path.name != name:
        return real_file(path)
    folder = run or newest_run()
    for place in [*(folder / each for each in below), folder]:
        check_way(place / name)
        if (place / name).exists():
            say(f"{name}: {place / name}")
            return real_file(place / name)
    return path


def newest_reskin(run: Path) -> str:
    """Return the newest reskin of a run as a path below the run; raise RunnerError when there is none.

    Where nothing says which it is (a run folder that was copied without its hidden files), it is the one whose
    output.mp4 is the newest, and that is said. A name that no reskin is given here (control characters) is passed over.
    """
    check_plain(run / RESKINS)
    folder = newest(run / RESKINS, run)
    if folder is None:
        outputs = [path for path in (run / RESKINS).glob("[!.]*/output.mp4") if path.parent.name.isprintable()]
        outputs.sort(key=lambda path: path.stat().st_mtime)
        if not outputs:
            raise RunnerError(f"the run {run} has no reskin yet; make one with generate_reskin.py --prompt '...'.", 2)
        folder = outputs[-1].parent
        why = "the only one" if len(outputs) == 1 else f"the newest of {len(outputs)} by the time of output.mp4"
        say(f"reskin: {folder.name} ({why}; {_LATEST}, which says which one was made last, is not there)")
    return f"{RESKINS}/{folder.name}"
