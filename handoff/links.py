"""Folders that may come from anybody, as a run does: nothing below them is reached through a link.

A link in a stranger's run could lead whoever reads or writes it anywhere. So the folder that a user names is confined:
links on the way to it are the user's own and are followed once, below it there may be none. A run is confined where it
is opened, and where a command is given the path of something in it (`confine_run_of`). From then on whatever is opened
by `open_unlinked` or `open_plain`, and whatever is asked for by `check_way`, is reached folder by folder, each opened
in the one before. FFmpeg opens files by their names: `check_way` is asked immediately before, and who can write in the
folder at that moment can still be quicker. runner/runs.py does the same.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from handoff.errors import InputError, StorageError

MANIFEST = "run.json"
RESKINS = "reskins"
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
MOST_EMPTY = 2**30
"""Bytes of a file that may be holes: no clip has any."""
_MOST_PIECES = 10_000
_confined: dict[Path, Path] = {}
"""Folders as they were named, absolute, and where they are."""
_were_there: set[Path] = set()
"""Those of them that were there when they were confined the last time."""


class LinkError(InputError):
    """Something in a confined folder that is a link, or neither a file nor a folder."""


def confine(folder: Path) -> None:
    """From now on in this process nothing below `folder` is reached through a link. It need not be there yet."""
    real = _real(folder)
    _confined[_placed(folder)] = _confined[real] = real
    (_were_there.add if real.exists() else _were_there.discard)(real)


def run_folders_of(path: Path) -> list[Path]:
    """Return the folders with a run.json that a path lies in by its place alone: RUN/FILE, or RUN/reskins/NAME/...

    The innermost comes first, and may be a reskin's. No other folder above counts, whatever lies there. A link outside
    of runs is the user's own, and what it leads to counts.
    """
    whole = _placed(path)
    for each in (whole, _real(whole)):
        places = [each.parent, *(above.parent for above in [*each.parents][1:] if above.name == RESKINS)]
        found = [place for place in places if os.path.lexists(place / MANIFEST)]
        if found:
            return found
    return []


def confine_run_of(path: Path) -> None:
    """Confine the run that a path lies in, if it lies in one."""
    for folder in run_folders_of(path):
        confine(folder)


def check_way(path: Path) -> None:
    """Raise LinkError where a path in a confined folder, or a folder on the way to it, is what may not be there.

    That is a link, a pipe, a socket or a device. Nothing need be there.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), _way_to(path) as (folder, name):
        if folder is not None:
            _check_kind(path, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def make_folder(folder: Path) -> None:
    """Make a folder where it is missing, with those above it. Raises as `check_way`, and OSError.

    StorageError below a confined folder that has gone: made anew, it would be half of a run beside the one that moved.
    """
    check_way(folder)
    root = _find(folder)[0]
    if root in _were_there and not root.exists():
        raise StorageError(f"{root} was moved or removed while it was in use; run the same command again where it is.")
    folder.mkdir(parents=True, exist_ok=True)


def refuse_link(path: Path) -> None:
    """Raise LinkError where `path` itself is a link."""
    if path.is_symlink():
        raise LinkError(f"{path} is a link, which might lead anywhere; remove it, or name another folder.")


def open_unlinked(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open what lies at `path`, in a confined folder without following links, and return its descriptor.

    A pipe is not waited for. Raises LinkError, and OSError with the whole path in it.
    """
    try:
        with _way_to(path) as (folder, name):
            unlinked = 0 if folder is None else os.O_NOFOLLOW
            return os.open(name, flags | os.O_NONBLOCK | unlinked, mode, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            check_way(path)
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def open_plain(path: Path) -> io.BufferedReader:
    """Open a plain file for reading as `open_unlinked` does; InputError for a folder, a pipe or a device.

    InputError too for a file that is nearly all holes: a few bytes on the disk, and days to read.
    """
    descriptor = open_unlinked(path)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is {_kind(mode)}, and must be a file; check the path.")
        if (empty := _holes(descriptor)) > MOST_EMPTY:
            raise InputError(f"{path} has {empty} bytes or more that nobody ever wrote; copy or export it again.")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


@contextlib.contextmanager
def _way_to(path: Path) -> Iterator[tuple[int | None, Path | str]]:
    """Yield the descriptor of the confined folder that `path` lies in, and its name there; None and all of it else."""
    root, parts = _find(path)
    if root is None or not parts:
        yield None, path
        return
    descriptor = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    try:
        for part in parts[:-1]:
            try:
                deeper = os.open(part, _FOLDER, dir_fd=descriptor)
            except OSError:
                _check_kind(path, os.stat(part, dir_fd=descriptor, follow_symlinks=False).st_mode)
                raise
            os.close(descriptor)
            descriptor = deeper
        yield descriptor, parts[-1]
    finally:
        os.close(descriptor)


def _find(path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Return the outermost confined folder that a path lies in, and the names below it."""
    whole = _placed(path)
    for folder in (*reversed(whole.parents), whole):
        if folder in _confined:
            return _confined[folder], whole.relative_to(folder).parts
    return None, ()


def _placed(path: Path) -> Path:
    """Return the absolute path, with links followed only where `..` steps back over them."""
    whole = path.absolute()
    if ".." not in whole.parts:
        return whole
    last = len(whole.parts) - whole.parts[::-1].index("..")
    return _real(Path(*whole.parts[:last])).joinpath(*whole.parts[last:])


def _real(path: Path) -> Path:
    """Return where a path leads, as far as it leads anywhere; who opens it refuses links in a circle."""
    return Path(os.path.realpath(path))


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    what = "a link" if stat.S_ISLNK(mode) else _kind(mode)
    where = f"only plain files and folders are used in {_find(path)[0]}"
    raise LinkError(f"{path} is, or lies behind, {what}, and {where}: take it out.")


def _holes(descriptor: int) -> int:
    """Return how many bytes of a file lie in holes, as far as its file system says; of a file in many pieces, all."""
    size, at, empty = os.fstat(descriptor).st_size, 0, 0
    if size <= MOST_EMPTY:
        return 0
    try:
        for _ in range(_MOST_PIECES):
            begin = os.lseek(descriptor, at, os.SEEK_DATA)
            empty, at = empty + begin - at, os.lseek(descriptor, begin, os.SEEK_HOLE)
            if at >= size or empty > MOST_EMPTY:
                return empty
        return size
    except OSError as error:  # nothing but a hole is left
        return empty + size - at if error.errno == errno.ENXIO else 0
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
