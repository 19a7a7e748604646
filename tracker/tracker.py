"""`SkateboardTracker`: from a clip and one box to a mask for every frame."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, overload

import numpy as np

from handoff.command import progress
from handoff.errors import InputError, UsageError
from handoff.files import is_litter
from handoff.masks import Mask, MaskSequenceWriter
from handoff.places import Box, Place, Point, check_place, check_places
from handoff.threads import Behind
from handoff.video import ClipInfo, probe
from tracker.cleanup import clean
from tracker.interface import Found, Keep, Recall, TrackerBackend
from tracker.quality import StatusLog
from tracker.selection import BACKENDS, TrackerChoice, make_backend

MASK_VIDEO = "mask.mp4"
MASK_FOLDER = "mask_skateboard"
HUMAN_VIDEO = "human_mask.mp4"
HUMAN_FOLDER = "mask_human"
_WAITING = 4  # masks that wait to be written


@dataclass(frozen=True)
class Request:
    """All that is asked about one clip.

    places: of the object, each on a frame of its own, the first prompt first. skater: the skater's places; a backend
    that follows the object only does not look at them. shots: ranges of frames that together are the whole clip, empty
    for one shot; nothing is carried over a cut. keep, fill_px: how each mask of the object is tidied (`cleanup`).
    """

    places: tuple[Place, ...] = ()
    skater: tuple[Place, ...] = ()
    shots: tuple[range, ...] = ()
    keep: Keep = "all"
    fill_px: int = 0


class SkateboardTracker:
    """Track one object through a clip.

        tracker = SkateboardTracker("sam2.1_hiera_large.pt", "configs/sam2.1/sam2.1_hiera_l.yaml", device="cuda")
        tracker.init_video("source.mp4")
        tracker.add_initial_prompt(frame_idx=0, bbox=[120, 200, 260, 240])
        tracker.add_initial_prompt(frame_idx=50, bbox=[310, 190, 420, 230])  # a correction
        tracker.propagate_and_save("out/mask_skateboard")

    `request` is all that is asked, and may be set at once. After a propagation `lost_frames` lists the frames in which
    it found no object, and `status` says what to think of each.
    """

    @overload
    def __init__(self, backend: str | TrackerChoice | TrackerBackend = "auto") -> None: ...
    @overload
    def __init__(self, checkpoint_path: str | Path, config_path: str | Path, device: str = "cuda") -> None: ...
    def __init__(self, *arguments: Any, **names: Any) -> None:
        """Choose what tracks: SAM 2.1 by a checkpoint and its configuration, or a backend.

        checkpoint_path: a file whose SHA-256 weights.toml has for a size of SAM 2.1. config_path: the name of that
        size's configuration, such as "configs/sam2.1/sam2.1_hiera_l.yaml", or a path that ends in it. device: "cuda",
        "cpu" or "auto". This form never falls back. backend: "auto", "embedded" or "sam2" (see `make_backend`), a
        TrackerChoice, or a backend that is made already.

        Raises MissingWeightsError (a FileNotFoundError too) for a checkpoint that is not there, DigestError, with both
        digests, for another file, UsageError for a configuration that does not fit it, and MissingError for a GPU or a
        package that is not there.
        """
        spec = len(arguments) > 1 or bool({"checkpoint_path", "config_path", "device"} & set(names))
        made = _choice(*arguments, **names) if spec else _backend(*arguments, **names)
        self.backend: TrackerBackend = make_backend(made) if isinstance(made, str | TrackerChoice) else made
        self._path: Path | None = None
        self._info: ClipInfo | None = None
        self.recall: Recall | None = None  # of an earlier track
        self._forget()

    def _forget(self) -> None:
        self._request = Request()
        self.lost_frames: list[int] = []
        self.status = StatusLog()

    @property
    def description(self) -> str:
        """What tracks, in words: for log lines, run.json and reports."""
        return self.backend.description

    @property
    def video_info(self) -> ClipInfo:
        """The clip's width and height (px), fps (a Fraction) and count of decoded frames; UsageError without a clip."""
        if self._info is None:
            raise UsageError("no clip was given: call init_video(path) first.")
        return self._info

    def init_video(self, path: str | Path, info: ClipInfo | None = None) -> ClipInfo:
        """Choose the clip (constant rate, as ingest writes it); forgets earlier prompts.

        info: where its frames have been counted already; tracking raises InputError where there are others.
        Raises MissingFileError (a FileNotFoundError too) where there is no file, InputError where it cannot be read.
        """
        self._path = Path(path)
        self._info = info or probe(self._path)
        self._forget()
        return self._info

    def add_initial_prompt(
        self,
        frame_idx: int = 0,
        bbox: Box | Sequence[float] | None = None,
        points: Sequence[Point | tuple[float, ...]] = (),
    ) -> None:
        """Say where the object is on a frame, counted from 0: `bbox` [x1, y1, x2, y2] in px, points, or both.

        Called again for another frame it adds a correction there; called again for the same frame it replaces what was
        said of it. points: (x, y) px on the object, (x, y, 0) beside it.

        Raises InputError, with the values seen, for a frame the clip does not have and for a box that is reversed,
        empty or not inside the frame; UsageError for what is no frame, box or point, and for points with a backend
        that takes none.
        """
        place = Place(_frame(frame_idx), _box(bbox), tuple(_point(each) for each in points))
        places = {each.frame: each for each in self._request.places} | {place.frame: place}
        self.request = replace(self._request, places=tuple(places.values()))

    @property
    def request(self) -> Request:
        """All that is asked about this clip. Set, it is checked as `add_initial_prompt` checks a place.

        UsageError also for two places of the object on one frame.
        """
        return self._request

    @request.setter
    def request(self, request: Request) -> None:
        check_places(request.places, self.video_info)
        self.backend.check(request.places)
        for place in request.skater:
            check_place(place, self.video_info)
        self._request = request

    @property
    def makes_human_mask(self) -> bool:
        """Whether the backend tracks the skater, and was told where he is."""
        return self.backend.tracks_skater and bool(self._request.skater)

    def propagate_yield(self) -> Iterator[tuple[int, Mask]]:
        """Yield (frame_index, mask (H, W) bool) for every frame of the clip, 0 to n-1, each exactly once.

        The prompt may lie anywhere: the object is followed forward and backward from it. A frame where it is lost, and
        every frame of a shot without a place, has an all-False mask.
        """
        for found in self.follow():
            yield found.frame_index, found.mask

    def follow(self) -> Iterator[Found]:
        """The same as `propagate_yield`, with what else is known of each frame."""
        info, request = self.video_info, self._request
        if not request.places or self._path is None:
            raise UsageError("the object's place is not known: call add_initial_prompt(frame_idx, bbox) first.")
        self.lost_frames, self.status = [], StatusLog()
        count = 0
        for shot in request.shots or (range(info.frames),):
            self.status.new_shot()
            for found in self._follow_shot(self._path, shot):
                if self.recall is not None:
                    self.recall.put(found.mask)
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
        info, request = self.video_info, self._request
        places = [place for place in request.places if place.frame in shot]
        skater = [place for place in request.skater if place.frame in shot] if self.backend.tracks_skater else []
        empty = np.zeros((info.height, info.width), bool)
        if not (places or skater):
            yield from (Found(index, empty) for index in shot)
        elif self.recall is None:
            yield from self.backend.track(path, info, shot, places, skater)
        else:
            waypoints = self.recall.begin(shot)
            behind = shot.start if waypoints.after is None else waypoints.after + 1
            yield from (Found(index, self.recall.mask(index)) for index in range(shot.start, behind))
            if behind < shot.stop:
                yield from self.backend.track(path, info, shot, places, skater, waypoints)

    def _tidied(self, found: Found) -> Found:
        request = self._request
        if (request.keep, request.fill_px) == ("all", 0):
            return found
        mask = clean(found.mask, request.keep, request.fill_px)
        return found._replace(mask=mask, human=None if found.human is None else found.human & ~mask)

    def propagate_and_save(self, output_dir: str | Path) -> tuple[Path, Path]:
        """Write every mask as a PNG, frame_00000.png, and all as mask.mp4 (lossless); returns (mask.mp4, PNG folder).

        A folder named mask_skateboard gets the PNGs itself, and mask.mp4 lies beside it. In a folder of any other name
        both are made: FOLDER/mask.mp4 and FOLDER/mask_skateboard/frame_00000.png. With `makes_human_mask` there are
        human_mask.mp4 and mask_human/ beside them too, which never share a pixel with the object.

        An older mask.mp4 or mask_skateboard/ is replaced when the new one is complete, never before. UsageError, before
        any work, for a folder named mask_skateboard that holds something else than masks, which would be lost.
        """
        folder = Path(output_dir)
        if folder.name != MASK_FOLDER:
            return self.save_masks(folder)
        if folder.is_dir():
            names = (each.name for each in folder.iterdir() if not is_litter(each.name))
            other = next((name for name in names if not PurePath(name).match("frame_*.png")), None)
            if other:
                raise UsageError(f"{folder} holds {other}, which would be lost; name a folder of masks, or a new one.")
        return self.save_masks(folder.parent)

    def save_masks(self, folder: Path) -> tuple[Path, Path]:
        """Write mask.mp4 and mask_skateboard/ in a folder, whatever its name is; see `propagate_and_save`."""
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
            for found in progress(self.follow(), total=self.video_info.frames, desc="tracker"):
                behind.put(found)
        return video, pngs

    def _writer(self, video: Path, pngs: Path) -> MaskSequenceWriter:
        return MaskSequenceWriter(video, pngs, self.video_info.fps, self.video_info.width, self.video_info.height)


def _choice(checkpoint_path: str | Path, config_path: str | Path, device: str = "cuda") -> TrackerChoice:
    return TrackerChoice("sam2", device=device, checkpoint=Path(checkpoint_path), config=str(config_path))


def _backend(backend: str | TrackerChoice | TrackerBackend = "auto") -> str | TrackerChoice | TrackerBackend:
    if isinstance(backend, Path) or (isinstance(backend, str) and backend not in BACKENDS):
        raise UsageError(
            f"there is no tracker backend '{backend}'; this build has: {', '.join(BACKENDS)}. A checkpoint of SAM 2.1 "
            "goes with its configuration: SkateboardTracker(checkpoint_path, config_path)."
        )
    return backend


def _frame(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise UsageError(f"the frame {value!r} is not a whole number; frames are counted from 0.") from error


def _box(value: Any) -> Box | None:
    """A box as a Box; UsageError for what is not four numbers."""
    if value is None or isinstance(value, Box):
        return value
    box = Box.of(value)
    if box is None:
        raise UsageError(
            f"the box {value!r} is not four numbers; give x1, y1, x2, y2 in pixels, such as [120, 200, 260, 240]."
        )
    return box


def _point(value: Any) -> Point:
    """A point as a Point; UsageError for what is not two numbers and perhaps a label."""
    point = Point.of(value)
    if point is None:
        raise UsageError(f"the point {value!r} is not x, y or x, y, 0 in pixels, such as (190, 220).")
    return point
