"""Who paints a window: one server, window after window, or several servers at once.

Both are a `Painter` for the painting loop, and both leave every window in its kept folder as soon as it is painted.
`WindowPainter` is what they need of whoever paints: what a server is given for a window, how it is painted, and what
is read of the result. A window's bytes do not hang on the server that painted it.

With several servers three things go on at once, each with at most one window's frames in memory: one thread reads the
clip and writes what the next window's server is given; each server paints a window (`run_windows` says which); and the
painting loop reads the clip again and joins what has been painted, in order. In between the windows wait on the disk.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from handoff.errors import InputError, PreserverError
from handoff.files import write_text
from handoff.jsonfile import read_json
from handoff.masks import frame_name, read_png
from handoff.threads import Ahead
from reskin.comfy.errors import ServerError
from reskin.comfy.orchestrator import ComfyOrchestrator, JobNote
from reskin.comfy.progress import Listener, Progress
from reskin.jobs import run_windows
from reskin.painting import Clip, Layers, WindowFrames, read_windows
from reskin.windows import KeptWindows, Window
from reskin.workflow import Graph


@dataclass(frozen=True)
class WindowOrder:
    """What a server is given for a window.

    pictures: how many come back and are kept. key: SHA-256 of all that is given. inputs: title in the graph -> file.
    graph: filled but for the names of those files on the server, and of the results.
    """

    window: Window
    pictures: int
    key: str
    inputs: dict[str, Path]
    graph: Graph


class WindowPainter(Protocol):
    """Knows how a window is painted. It knows nothing of which server paints it, or of what is kept."""

    def prepare(self, cut: WindowFrames, folder: Path) -> WindowOrder:
        """Write the window's inputs into an empty folder."""
        ...

    def paint(self, order: WindowOrder, comfy: ComfyOrchestrator, folder: Path, listener: Listener) -> None:
        """Have a server paint it; put its pictures into `folder` as frame_00000.png and so on.

        Raises BadResult for another number or size of pictures, and whatever the server's job raises.
        """
        ...

    def layers(self, folder: Path, frames: int) -> Iterator[Layers]:
        """Yield a painted window's layers, one a frame, at the clip's size."""
        ...


@dataclass(frozen=True)
class Painted:
    """How a window came to be. seconds: on the server, with its way there and back. resumed: by an earlier command.

    server: HOST:PORT. Both are None where an earlier command did not note them. pictures: the name of their folder in
    reskins/NAME/.windows.
    """

    server: str | None
    seconds: float | None
    pictures: str
    resumed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return it for run.json."""
        return vars(self)


_NOTE = "painting.json"
_LARGEST_NOTE = 2**16


class _Servers:
    """What painting by one server and by several have in common: a window is painted into its kept folder, once."""

    def __init__(self, painter: WindowPainter, kept: KeptWindows, scratch: Path) -> None:
        self.painter, self.kept, self.scratch = painter, kept, scratch
        self.painted: dict[int, Painted] = {}

    @property
    def resumed(self) -> int:
        """How many windows were found finished."""
        return sum(each.resumed for each in self.painted.values())

    def _found(self, order: WindowOrder) -> bool:
        """Say whether the window was left finished, and note how it came to be."""
        place = self.kept.place(order.window.index, order.key)
        if not is_whole(place, order.pictures):
            return False
        self.kept.job(order.window.index, order.key).unlink(missing_ok=True)  # of a command that was killed just then
        self.painted[order.window.index] = _read_note(place / _NOTE)
        return True

    def _paint(self, order: WindowOrder, comfy: ComfyOrchestrator, listener: Listener) -> None:
        address, began = comfy.server.address, time.monotonic()
        with (
            comfy.noting(self.kept.job(order.window.index, order.key)),
            self.kept.make(order.window.index, order.key) as partial,
        ):
            self.painter.paint(order, comfy, partial, listener)
            place = self.kept.place(order.window.index, order.key)
            painted = Painted(address, round(time.monotonic() - began, 2), place.name)
            write_text(partial / _NOTE, json.dumps({"server": address, "seconds": painted.seconds}) + "\n")
        self.painted[order.window.index] = painted

    def _read(self, order: WindowOrder) -> Iterator[Layers]:
        return self.painter.layers(self.kept.place(order.window.index, order.key), len(order.window))


def is_whole(folder: Path, pictures: int) -> bool:
    """Say whether a window was left finished, with so many pictures that can still be read."""
    if not folder.is_dir():
        return False
    try:
        for index in range(pictures):
            read_png(folder / frame_name(index))
    except InputError:
        return False
    return True


def _read_note(path: Path) -> Painted:
    """Return who painted a kept window, as far as that was noted."""
    try:
        found = read_json(path, advice="it is painted again with --force", largest=_LARGEST_NOTE)
    except InputError:
        found = {}
    note = found if isinstance(found, dict) else {}
    server, seconds = note.get("server"), note.get("seconds")
    return Painted(
        server if isinstance(server, str) else None,
        float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None,
        path.parent.name,
        resumed=True,
    )


class OneServer(_Servers):
    """Has one server paint, window after window, each when the painting loop asks for it; a context manager."""

    def __init__(
        self,
        painter: WindowPainter,
        comfy: ComfyOrchestrator,
        kept: KeptWindows,
        scratch: Path,
        listener: Listener,
    ) -> None:
        super().__init__(painter, kept, scratch)
        self._comfy, self._listener = comfy, listener

    def __enter__(self) -> OneServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        """Paint one window in one job, or take it as it was left; yield its layers."""
        order = self.painter.prepare(cut, self.scratch)
        if not self._found(order):
            self._paint(order, self._comfy, self._listener)
        return self._read(order)


class SeveralServers(_Servers):
    """Has several servers paint the windows of a clip at once, a window each; a context manager.

    The windows must not hang on one another. done: called with each window that is painted, from several threads but
    never at once. show: gets what the servers are at. say: gets a line for each server that is left out. Leaving the
    context sets `stop`, which ends what is still painted.
    """

    def __init__(
        self,
        painter: WindowPainter,
        comfys: Sequence[ComfyOrchestrator],
        clip: Clip,
        windows: Sequence[Window],
        kept: KeptWindows,
        scratch: Path,
        done: Callable[[Window], None],
        show: Callable[[str], None],
        say: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        super().__init__(painter, kept, scratch)
        self._comfys = {comfy.server.address: comfy for comfy in comfys}
        self._clip, self._windows, self._stop = clip, windows, stop
        self._done, self._show, self._say = done, show, say
        self._there: dict[int, WindowOrder] = {}
        self._error: BaseException | None = None
        self._news = threading.Condition()
        self._at: dict[str, str] = {}
        self._thread = threading.Thread(target=self._share_out, name="servers", daemon=True)

    def __enter__(self) -> SeveralServers:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def generate(self, cut: WindowFrames) -> Iterator[Layers]:
        """Wait until the window is painted; yield its layers. Raises what ended the servers' work before."""
        index = cut.window.index
        with self._news:
            while index not in self._there and self._error is None:
                self._news.wait()
            if self._error is not None:
                raise self._error
        return self._read(self._there[index])

    def _share_out(self) -> None:
        """Do all windows, on a thread of its own, and have what went wrong raised where a window is waited for."""
        try:
            with contextlib.closing(Ahead(self._orders(), 1)) as orders:
                run_windows(orders, list(self._comfys), self._work, _name, self._stop, self._say)
        except BaseException as error:
            with self._news:
                self._error = error
                self._news.notify_all()

    def _orders(self) -> Iterator[WindowOrder]:
        """Yield what has to be painted, written into a folder of its own; what is there already is done."""
        for cut in read_windows(self._clip, self._windows):
            if self._stop.is_set():
                return
            if cut.is_empty():
                self._tell(cut.window)
                continue
            folder = self.scratch / f"{cut.window.index:04d}"
            folder.mkdir()
            order = self.painter.prepare(cut, folder)
            if self._found(order):
                shutil.rmtree(folder)
                self._tell(cut.window, order)
            else:
                yield order

    def _work(self, order: WindowOrder, server: str, stop: threading.Event) -> None:
        def listen(progress: Progress | None) -> None:
            with self._news:
                self._at[server] = f"{server}: window {order.window.index} {progress}" if progress else ""
                self._show(", ".join(filter(None, self._at.values())))

        try:
            if not self._left_elsewhere(order, server, listen):
                self._paint(order, self._comfys[server], listen)
        except ServerError:
            raise  # it names the server
        except PreserverError as error:
            error.args = (f"{_name(order)} on {server}: {error}", *error.args[1:])
            raise
        finally:
            listen(None)
        shutil.rmtree(self.scratch / f"{order.window.index:04d}")
        self._tell(order.window, order)

    def _left_elsewhere(self, order: WindowOrder, server: str, listener: Listener) -> bool:
        """Take what another of the servers was asked for by a command that was killed; say whether it was there."""
        job = JobNote.read(self.kept.job(order.window.index, order.key))
        other = self._comfys.get(job.server) if job and job.server != server else None
        if job is None or other is None:
            return False
        # one of its own: the other one's is at work
        with ComfyOrchestrator(job.server, limits=other.limits, stop=self._stop, say=self._say) as comfy:
            if not comfy.has(job):
                return False
            with contextlib.suppress(ServerError):  # it is not this worker's server
                self._paint(order, comfy, listener)
                return True
        return False

    def _tell(self, window: Window, order: WindowOrder | None = None) -> None:
        with self._news:
            if order is not None:
                self._there[window.index] = order
            self._done(window)
            self._news.notify_all()


def _name(order: WindowOrder) -> str:
    return f"window {order.window.index}"
