"""What a stranger may put into a run folder: odd JSON, and odd files, links and folders in the place of the right ones.

`changed` draws a document's bytes. `Oddity` is one change to a folder, drawn by `oddities`; `apply` makes it.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ODD: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 2**31, 2**53, 2**64, 10**39, 10**400, 0.5, -0.0, 1e30, -1e30, 1e300, 5e-324),
    *(
        float("nan"),
        float("inf"),
        -float("inf"),
        "",
        ".",
        "..",
        "/",
        "a/../../b",
        "/etc/passwd",
        "\0",
        "x" * 5000,
        "\ud800",
    ),
    *(
        "\x1b[2J",
        "24/1",
        "0/1",
        "1/0",
        "1e99999999",
        "-1/2",
        "nan",
        "0" * 64,
        "sam2",
        "embedded",
        "large",
        "skateboard",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [[0, 10**9]],
        [[5, 2]],
        [1, 2, 3, 4],
        [4, 3, 2, 1],
        [1e30] * 4,
        ["1"] * 4,
        {"": ""},
        [{}] * 3,
    ),
    *({"box": [1, 2, 3, 4], "frame": 0}, {"frame": 10**9, "points": [[1, 2, 1]]}, [0.5] * 133, [[1e5, -1e5]] * 133),
]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> bytes:
    """A JSON document with one to four changes, as the bytes of a file; once in a while the bytes are changed too."""
    made = {"": copy.deepcopy(document)}
    for _ in range(draw(st.integers(1, 4))):
        container, key = made, ""
        while isinstance(container[key], dict | list) and container[key] and draw(st.integers(0, 5)):
            container = container[key]
            keys = list(container) if isinstance(container, dict) else list(range(len(container)))
            key = draw(st.sampled_from(keys[:8] + keys[-2:]))
        what = draw(st.sampled_from(("replace", "replace", "drop", "add", "repeat", "nest")))
        if what == "drop" and container is not made:
            del container[key]
        elif what == "add" and isinstance(container[key], dict):
            container[key][draw(st.text(max_size=6))] = copy.deepcopy(draw(st.sampled_from(ODD)))
        elif what == "repeat" and isinstance(container[key], list):
            container[key] = container[key] * draw(st.integers(0, 30))
        elif what == "nest":
            for _ in range(draw(st.sampled_from((1, 5, 70, 500)))):
                container[key] = [container[key]] if draw(st.booleans()) else {"a": container[key]}
        else:
            container[key] = copy.deepcopy(draw(st.sampled_from(ODD)))
    data = json.dumps(made[""]).encode(draw(st.sampled_from(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16"))))
    at = draw(st.integers(0, len(data)))
    end = draw(st.sampled_from((None, None, None, None, "cut", "put", "twice", "deep")))
    if end == "cut":
        return data[:at]
    if end == "put":
        return (
            data[:at]
            + draw(st.binary(max_size=6) | st.sampled_from((b'"', b"{", b"]", b",", b"NaN", b'"a":')))
            + data[at:]
        )
    if end == "twice":
        return data.replace(b'": ', b'": 0, "schema": ', 1)
    return b'{"schema": 1, "frames": ' + b"[" * 100_000 if end == "deep" else data


KINDS = (
    *("json", "json", "json", "link", "link", "link", "hard link", "gone", "folder", "pipe", "socket", "empty", "cut"),
    *("noise", "sparse", "swap", "name", "mode", "deep", "many"),
)
TARGETS = ("thesis.tex", "folder", "nothing", "/dev/zero", "/etc/passwd", "itself", "source.mp4", "/", "..")
NAMES = (
    *(b".lock", b".latest", b"report", b"run.json", b"frame_00001.png", b"frame_9999999999.png", b".a.00.partial"),
    *(b"\xff\xfe.png", b"a\nb.png", b"\x1b[2J", b"x" * 255, b"-rf", b".DS_Store", b"._a.png", b"Thumbs.db"),
)


@dataclass(frozen=True)
class Oddity:
    """One change: what stands at `place` (a path below the run) becomes a `kind`, with more said in `value`."""

    place: str
    kind: str
    value: Any = None

    def apply(self, run: Path, outside: Path) -> None:
        """Make it. outside: a folder with thesis.tex, folder/ and hard.txt, which only a hard link leads to."""
        path = run / self.place
        if not os.path.lexists(path.parent) or (path.parent / ".").is_symlink() or not path.parent.is_dir():
            return
        if any(each.is_symlink() for each in path.parents if each.is_relative_to(run)):
            return  # not the run's any more
        if self.kind in ("json", "cut", "noise", "sparse", "mode") and (not path.is_file() or path.is_symlink()):
            return
        if self.kind == "noise" and path.stat().st_size > 2**24:
            return
        if self.kind == "mode":
            path.chmod(self.value)
        elif self.kind == "cut":
            os.truncate(path, path.stat().st_size * self.value // 100)
        elif self.kind == "sparse":
            os.truncate(path, 2**self.value)
        elif self.kind == "noise":
            data = bytearray(path.read_bytes() or b"\0")
            for at, byte in self.value:
                data[at % len(data)] = byte
            path.write_bytes(data)
        elif self.kind == "name":
            if os.path.lexists(path):
                new = Path(os.fsdecode(os.path.join(os.fsencode(path.parent), self.value)))
                if new != path:
                    _remove(new)
                    path.rename(new)
        elif self.kind == "swap":
            other = run / self.value
            if path.is_file() and other.is_file() and path != other:
                between = run / ".between"
                path.rename(between)
                other.rename(path)
                between.rename(other)
        elif self.kind == "json":
            path.write_bytes(self.value)
        else:
            _remove(path)
            self._put(path, outside)

    def _put(self, path: Path, outside: Path) -> None:
        if self.kind == "link":
            path.symlink_to(path if self.value == "itself" else outside / self.value)
        elif self.kind == "hard link":
            path.hardlink_to(outside / "hard.txt")
        elif self.kind == "folder":
            path.mkdir()
            (path / "file").write_text("x")
        elif self.kind == "pipe":
            os.mkfifo(path)
        elif self.kind == "socket":
            here = os.open(path.parent, os.O_RDONLY)
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(f"/proc/self/fd/{here}/{path.name}")
            os.close(here)
        elif self.kind == "empty":
            path.touch()
        elif self.kind == "deep":
            path.joinpath(*["d"] * 300).mkdir(parents=True)
        elif self.kind == "many":
            path.mkdir()
            for name in NAMES:
                Path(os.fsdecode(os.path.join(os.fsencode(path), name))).write_text("x")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@st.composite
def oddities(draw: st.DrawFn, places: list[str], documents: dict[str, Any]) -> list[Oddity]:
    """One to four changes to a run with these files and folders; documents: what is JSON of them, as it is."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(KINDS))
        place = draw(st.sampled_from(sorted(documents) if kind == "json" else places))
        values: dict[str, st.SearchStrategy[Any]] = {
            "link": st.sampled_from(TARGETS),
            "cut": st.integers(0, 99),
            "sparse": st.sampled_from((25, 31, 33, 42)),
            "noise": st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=8),
            "swap": st.sampled_from(places),
            "name": st.sampled_from(NAMES),
            "mode": st.sampled_from((0, 0o111, 0o400, 0o777)),
        }
        value = draw(changed(documents[place]) if kind == "json" else values.get(kind, st.none()))
        found.append(Oddity(place, kind, value))
    return found


def make_outside(folder: Path) -> None:
    """Make what nobody may touch, last read before it was last written: so the next reading is noted, even relatime."""
    (folder / "folder").mkdir(parents=True)
    names = (
        "thesis.tex",
        "folder/output.mp4",
        "folder/run.json",
        "folder/iou.json",
        "folder/frame_00000.png",
        "hard.txt",
    )
    for name in names:
        (folder / name).write_text(f"precious {name}")
    for each in (*folder.rglob("*"), folder):
        os.utime(each, (1_000_000_000, 1_100_000_000))


def seen(folder: Path) -> dict[str, tuple[object, ...]]:
    """What tells whether anything in a folder was read, written, made or removed; hard.txt may be read."""
    found: dict[str, tuple[object, ...]] = {}
    for each in (folder, folder / "folder", *(each for each in folder.glob("*/*")), folder / "thesis.tex"):
        state = each.lstat()
        # a folder is listed here too
        read = state.st_atime_ns if each.is_file() else 0
        found[str(each)] = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_mode, read)
    linked = (folder / "hard.txt").stat()
    found["hard.txt"] = (linked.st_ino, linked.st_size, linked.st_mtime_ns, linked.st_mode)
    return found
