"""`SkateboardTracker`: from a clip and one box to a mask for every frame."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from handoff.box import Box
from handoff.command import progress
from handoff.errors import InputError, UsageError
from handoff.masks import Mask, MaskSequenceWriter
from handoff.prompts import Place, Point, check_place, check_places
from handoff.threads import Behind
from handoff.video import ClipInfo, probe
from tracker.cleanup import Keep, clean
from tracker.interface import Found, TrackerBackend
from tracker.quality import StatusLog
from tracker.selection import TrackerChoice, make_backend

MASK_VIDEO = "mask.mp4"
MASK_FOLDER = "mask_skateboard"
HUMAN_VIDEO = "human_mask.mp4"
HUMAN_FOLDER = "mask_human"
_WAITING = 4  # masks that wait to be written


class SkateboardTracker:
    """Track one object through a clip.

        tracker = SkateboardTracker("sam2")
        tracker.init_video("source.mp4")
        tracker.add_initial_prompt(0, (120, 200, 260, 240))
        tracker.add_correction(50, (310, 190, 420, 230))
        for frame_index, mask in tracker.propagate():
            ...

    `lost_frames` lists the frames in which the last propagation found no object, `status` says what to think of each.
    """

    def __init__(self, backend: str | TrackerChoice | TrackerBackend = "auto") -> None:
        self.backend = make_backend(backend) if isinstance(backend, str | TrackerChoice) else backend
        self._path: Path | None = None
        self._info: ClipInfo | None = None
        self._forget()

    def _forget(self) -> None:
        self._places: list[Place] = []
        self._skater: list[Place] = []
        self._shots: list[range] = []
        self.lost_frames: list[int] = []
        self.status = StatusLog()
        self._clean: tuple[Keep, int] = ("all", 0)

    @property
    def description(self) -> str:
        """What tracks, in words: for log lines, run.json and reports."""
        return self.backend.description

    @property
    def info(self) -> ClipInfo:
        """Size, rate and decoded frame count of the clip."""
        if self._info is None:
            raise UsageError("no clip was given: call init_video(path) first.")
        return self._info

    def init_video(self, path: str | Path, info: ClipInfo | None = None) -> ClipInfo:
        """Choose the clip (constant rate, as ingest writes it); forgets earlier prompts. InputError if unreadable.

        info: where its frames have been counted already; tracking raises InputError where there are others.
        """
        self._path = Path(path)
        self._info = info or probe(self._path)
        self._forget()
        return self._info

    def add_initial_prompt(
        self,
        frame_idx: int,
        bbox: Box | tuple[float, float, float, float] | None = None,
        points: Sequence[Point] = (),
    ) -> None:
        """Say where the object is on frame `frame_idx` (counted from 0): `bbox` x1, y1, x2, y2 in px, points, or both.

        Raises InputError, with the values seen, for a frame the clip does not have and for a box that is reversed,
        empty or not inside the frame; UsageError for points with a backend that takes none.
        """
        self.set_places([Place(frame_idx, as_box(bbox), tuple(points))])

    def add_correction(self, frame_idx: int, bbox: Box | tuple[float, float, float, float]) -> None:
        """Say where the object is on another frame as well; the errors are those of `add_initial_prompt`."""
        if not self._places:
            raise UsageError("a correction comes after add_initial_prompt(frame_idx, bbox).")
        self.set_places([*self._places, Place(frame_idx, as_box(bbox))])

    def set_places(self, places: Sequence[Place]) -> None:
        """All places of the object at once, the first prompt first; the errors are those of `add_initial_prompt`."""
        check_places(places, self.info)
        self.backend.check(places)
        self._places = list(places)

    def set_skater(self, places: Sequence[Place]) -> None:
        """Say where the skater is; a backend that tracks the object only does not look at it."""
        for place in places:
            check_place(place, self.info)
        self._skater = list(places)

    def set_shots(self, shots: Sequence[range]) -> None:
        """Cut the clip: ranges of frames that together are the whole clip. Nothing is carried over a cut."""
        self._shots = list(shots)

    def set_cleanup(self, keep: Keep, fill_px: int) -> None:
        """Tidy every mask of the object: only its largest part, holes of at most that many pixels filled."""
        self._clean = (keep, fill_px)

    @property
    def makes_human_mask(self) -> bool:
        """Whether the backend tracks the skater, and was told where he is."""
        return self.backend.tracks_skater and bool(self._skater)

    def propagate(self) -> Iterator[tuple[int, Mask]]:
        """Yield (frame_index, mask (H, W) bool) for every frame of the clip, 0 to n-1, each exactly once.

        The prompt may lie anywhere: the object is followed forward and backward from it. A frame where it is lost, and
        every frame of a shot without a place, has an all-False mask.
        """
        for found in self.follow():
            yield found.frame_index, found.mask

    def follow(self) -> Iterator[Found]:
        """The same as `propagate`, with what else is known of each frame."""
        info = self.info
        if not self._places or self._path is None:
            raise UsageError("the object's place is not known: call add_initial_prompt(frame_idx, bbox) first.")
        self.lost_frames, self.status = [], StatusLog()
        count = 0
        for shot in self._shots or [range(info.frames)]:
            self.status.new_shot()
            for found in self._follow_shot(self._path, shot):
                found = self._tidied(found)
                self.status.add(found.frame_index, found.mask, found.score)
                if not found.mask.any():
                    self.lost_frames.append(found.frame_index)
                count += 1
                yield found
        if count != info.frames:
            raise InputError(
                f"{self._path} gave {count} frames while tracking and {info.frames} before; was it replaced?"
            )

    def _follow_shot(self, path: Path, shot: range) -> Iterator[Found]:
        places = [place for place in self._places if place.frame in shot]
        skater = [place for place in self._skater if place.frame in shot] if self.backend.tracks_skater else []
        empty = np.zeros((self.info.height, self.info.width), bool)
        if places or skater:
            yield from self.backend.track(path, self.info, shot, places, skater)
        else:
            for index in shot:
                yield Found(index, empty)

    def _tidied(self, found: Found) -> Found:
        if self._clean == ("all", 0):
            return found
        mask = clean(found.mask, *self._clean)
        return found._replace(mask=mask, human=None if found.human is None else found.human & ~mask)

    def propagate_and_save(self, output_dir: str | Path) -> tuple[Path, Path]:
        """Write mask.mp4 (lossless) and mask_skateboard/frame_00000.png in `output_dir`; returns both paths.

        With `makes_human_mask` also human_mask.mp4 and mask_human/, which never share a pixel with the object.
        """
        folder = Path(output_dir)
        video, pngs = folder / MASK_VIDEO, folder / MASK_FOLDER
        with contextlib.ExitStack() as stack:
            thing = stack.enter_context(self._writer(video, pngs))
            human: MaskSequenceWriter | None = None
            if self.makes_human_mask:
                human = stack.enter_context(self._writer(folder / HUMAN_VIDEO, folder / HUMAN_FOLDER))

            def write(found: Found) -> None:
                thing.write(found.mask)
                if human is not None:
                    human.write(np.zeros_like(found.mask) if found.human is None else found.human)

            behind = stack.enter_context(Behind(write, _WAITING))
            for found in progress(self.follow(), total=self.info.frames, desc="tracker"):
                behind.put(found)
        return video, pngs

    def _writer(self, video: Path, pngs: Path) -> MaskSequenceWriter:
        return MaskSequenceWriter(video, pngs, self.info.fps, self.info.width, self.info.height)


def as_box(bbox: Box | tuple[float, float, float, float] | None) -> Box | None:
    """A box as a Box."""
    return bbox if bbox is None or isinstance(bbox, Box) else Box(*bbox)
