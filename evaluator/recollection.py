"""What a reskin's last evaluation tracked, for the next one: it tracks only from the first changed frame on.

A window that is painted again leaves the frames before it as they were, to the last bit, but for the three at most that
the encoder looks ahead. A tracker's mask hangs on the frames before it. So the masks of the frames before the first
changed one are taken as they are, and the track goes on from a state that was kept before that frame: with the same
tracker, places and code it finds the very masks of the whole clip.

    reskins/NAME/.track/
        head.json       key: what tracked; clip: SHA-256 of the file; frames: of each its SHA-256, decoded, and its
                        mask's with the bytes; states: SHA-256 of each
        masks           packed bits, deflated, one behind the other
        59.state        behind frame 59, as the tracker's backend froze it

A run folder may come from anybody, so it is believed only where this machine sealed head.json (`evaluator.seal`), and
of the other files what has the SHA-256 that stands there.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from evaluator.seal import has_seal, seal
from handoff.command import progress
from handoff.errors import InputError, StorageError
from handoff.files import atomic_dir, sha256_path
from handoff.links import open_plain
from handoff.masks import Mask
from handoff.video import ClipInfo, Frame, read_frames
from tracker.interface import Waypoints

NAME = ".track"
_HEAD, _MASKS = "head.json", "masks"
LOOKED_AHEAD = 3
"""Frames before a changed one that x264 may code in another way: as many as it puts B-frames in a row."""
_LARGEST = 2**26
"""Bytes of head.json at most."""
MOST_STATES = 16
MOST_BYTES = 2**28
"""Of all states. What would be more is not kept; the next evaluation begins earlier then."""


class Recollection:
    """What is known of a clip, and what is to be known of it: `tracker.interface.Recall`.

    As a context manager it writes, at the end, what the next evaluation is to know; with `keep` false it removes all.

    folder: the reskin's. key: of what tracks, and how. starts: the first frame of each window of the painting. say:
    takes console lines.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        clip: Path,
        info: ClipInfo,
        starts: Sequence[int],
        say: Callable[[str], object],
        *,
        keep: bool,
    ) -> None:
        self._say = say
        self._path, self._key, self._info, self._keep = folder / NAME, key, info, keep
        self._head = _read_head(self._path, key, info.frames)
        self._clip = sha256_path(clip)
        self._changed = self._first_changed(clip) if self._head else 0
        self._frames: list[str] = []
        borders = [start - LOOKED_AHEAD - 1 for start in starts if start > LOOKED_AHEAD]
        self._wanted = frozenset(borders[:: -(-len(borders) // MOST_STATES) or 1])
        self._masks: list[tuple[str, int]] = []
        self._states: dict[int, str] = {}
        self._bytes = 0
        self._reading, self._writing = contextlib.ExitStack(), contextlib.ExitStack()

    def __enter__(self) -> Recollection:
        if self._head:
            self._old = self._reading.enter_context(open_plain(self._path / _MASKS))
            self._starts = [0, *itertools.accumulate(length for *_, length in self._head["frames"])]
        if self._keep:
            with self._or_nothing():
                self._into = self._writing.enter_context(atomic_dir(self._path))
                self._new = self._writing.enter_context((self._into / _MASKS).open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reading.close()
        if kind is not None:
            self._writing.__exit__(kind, error, trace)
        elif self._keep:
            with self._or_nothing():
                self._finish()
        else:
            shutil.rmtree(self._path, ignore_errors=True)

    def _first_changed(self, clip: Path) -> int:
        """Return the first frame that is not as it was, how many there are where all are."""
        if self._head["clip"] == self._clip:
            return self._info.frames
        decoded = progress(read_frames(clip), total=self._info.frames, desc="what has changed")
        pairs = enumerate(zip(decoded, self._head["frames"], strict=False))
        return next((index for index, (frame, before) in pairs if _digest(frame) != before[0]), self._info.frames)

    def see(self, frame: Frame) -> None:
        """Take the next frame (H, W, 3) of the clip, which is judged meanwhile."""
        self._frames.append(_digest(frame))

    def begin(self, shot: range) -> Waypoints:
        """Say behind which frame the track of a shot goes on; behind its last one where nothing of it has changed."""
        if not self._head:
            return Waypoints(self._wanted, self._put_state)
        changed, after, state = min(self._changed, shot.stop), None, b""
        for frame in sorted(int(each) for each in self._head["states"] if shot.start <= int(each) < changed):
            after, state = frame, self._read(f"{frame}.state", self._head["states"][str(frame)])
            self._put_state(frame, state)
        if changed == shot.stop:  # all of it is known
            after = shot.stop - 1
        if after is not None:
            known = f"frames {shot.start} to {after} are as they were, and so are their masks"
            self._say(f"{known}; tracking goes on behind" if after + 1 < shot.stop else known)
        return Waypoints(self._wanted, self._put_state, after, state)

    def mask(self, index: int) -> Mask:
        """Return the mask (H, W) bool of a frame up to the one that its shot's track goes on behind."""
        _, digest, length = self._head["frames"][index]
        self._old.seek(self._starts[index])
        packed = self._old.read(length)
        self._check(_MASKS, packed, digest)
        height, width = self._info.height, self._info.width
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)

    def put(self, mask: Mask) -> None:
        """Take the mask (H, W) bool of the next frame."""
        if self._keep:
            packed = zlib.compress(np.packbits(mask).tobytes(), 1)
            self._masks.append((hashlib.sha256(packed).hexdigest(), len(packed)))
            with self._or_nothing():
                self._new.write(packed)

    def _put_state(self, frame: int, state: bytes) -> None:
        self._bytes += len(state)
        if self._keep and self._bytes <= MOST_BYTES:
            with self._or_nothing():
                (self._into / f"{frame}.state").write_bytes(state)
            self._states[frame] = hashlib.sha256(state).hexdigest()

    def _finish(self) -> None:
        frames = [[digest, *mask] for digest, mask in zip(self._frames, self._masks, strict=True)]
        document = {"key": self._key, "clip": self._clip, "states": self._states, "frames": frames}
        head = json.dumps(document).encode()
        (self._into / _HEAD).write_bytes(head)
        self._writing.close()
        seal(_mark(head))

    @contextlib.contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """Where the disk is full nothing is kept: the next evaluation tracks the whole clip."""
        try:
            yield
        except (OSError, StorageError) as error:
            self._keep = False
            with contextlib.suppress(OSError, StorageError):
                self._writing.__exit__(type(error), error, error.__traceback__)
            shutil.rmtree(self._path, ignore_errors=True)

    def _read(self, name: str, digest: str) -> bytes:
        with open_plain(self._path / name) as file:
            found = file.read()
        self._check(name, found, digest)
        return found

    def _check(self, name: str, found: bytes, digest: str) -> None:
        if hashlib.sha256(found).hexdigest() != digest:
            raise InputError(f"{self._path / name} was changed while it was in use; run the same command again.")


def _read_head(folder: Path, key: str, frames: int) -> dict[str, Any]:
    """Return what this machine wrote there for the same tracker and as many frames; nothing where it did not."""
    try:
        with open_plain(folder / _HEAD) as file:
            head = file.read(_LARGEST)
        if not has_seal(_mark(head)):
            return {}
        found: dict[str, Any] = json.loads(head)
        fits = found["key"] == key and len(found["frames"]) == frames
        return found if fits and all(_digests(folder, found)) else {}
    except (OSError, InputError, StorageError):
        return {}


def _digests(folder: Path, head: dict[str, Any]) -> Iterator[bool]:
    """Yield of each mask and each state whether it is the one that the head has."""
    with open_plain(folder / _MASKS) as file:
        for _, digest, length in head["frames"]:
            yield hashlib.sha256(file.read(length)).hexdigest() == digest
    for frame, digest in head["states"].items():
        with open_plain(folder / f"{frame}.state") as file:
            yield hashlib.file_digest(file, "sha256").hexdigest() == digest


def _digest(frame: Frame) -> str:
    return hashlib.sha256(frame.data).hexdigest()


def _mark(head: bytes) -> str:
    return f"track {hashlib.sha256(head).hexdigest()}"
