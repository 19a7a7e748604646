"""One pass over everything: each frame is read, scored and heard about, and the reports are written of what came of it.

`Scoring` is fed P by `evaluator.stage`, frame by frame, and keeps some numbers of each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluator import MIN_REPLACED
from evaluator.figures import compare_skeletons, psnr_db, ssim
from evaluator.gate import FrameScore, Gate, Kept
from evaluator.inputs import Material, Sight
from evaluator.remarks import ColourJumps, Leftovers, Windows
from evaluator.replaced import Replaced, measure_replaced
from evaluator.report import CHART, FILES, OVERLAY
from evaluator.report.chart import write_chart
from evaluator.report.pictures import OverlayWriter, WorstFrames
from evaluator.report.result import Result
from evaluator.report.texts import remove_reports, write_texts
from evaluator.trust import Trust
from handoff.command import progress
from handoff.errors import StorageError
from handoff.masks import Mask
from handoff.threads import Ahead, Behind, opencv_on_one_thread
from handoff.video import Frame
from tracker.witness.ruling import Witnesses

_DECODED, _WAITING = 2, 4  # frames that are read ahead of the tracker, and that wait behind it to be scored
# the tracker goes first; by a little only: it waits for what is scored, and behind others' work on a busy machine that
# takes twice as long with 10 (measured on two cores, with two other processes on them)
_NICE = 2

Say = Callable[[str], object]


@dataclass(frozen=True)
class Wishes:
    """What was asked for.

    formats: names of `evaluator.report.FILES`. min_replaced: 0 asks for nothing new. accept_mask: a contradicted
    original mask is no reason to fail. keep_track: what is tracked is kept for the next evaluation of the reskin.
    """

    threshold: float
    formats: frozenset[str]
    calibrate: bool = False
    force: bool = False
    min_replaced: float = MIN_REPLACED
    accept_mask: bool = False
    keep_track: bool = False


class Scoring:
    """Score a clip; what was scored before an interruption or an error stays in `scores`.

    As a context manager it writes reports of what there is where something stops the work, and none where they cannot
    all be written. The reports of an earlier evaluation in `folder` are removed first: however this one ends, even by
    SIGKILL, they are not taken for its own.

    say: takes the console line of each frame. how, trust: what a report says beside the scores. witnesses: are heard
    about G meanwhile. windows: that the clip was painted in. takes: what is told of the takes that it was chosen from.
    """

    def __init__(
        self,
        material: Material,
        wishes: Wishes,
        folder: Path | None,
        say: Say,
        how: dict[str, Any],
        trust: Trust,
        witnesses: Witnesses | None = None,
        windows: Windows = (),
        takes: dict[str, Any] | None = None,
    ) -> None:
        self._material, self._wishes = material, wishes
        self._gate = Gate(wishes.threshold, wishes.min_replaced)
        self._folder, self._reports, self._say = folder, wishes.formats, say
        self._how, self._trust, self._windows, self._witnesses = how, trust, windows, witnesses
        self._takes = takes
        self._colours, self._leftovers = ColourJumps(), _leftovers(material, witnesses)
        self._worst = WorstFrames()
        self._floor: list[float] = []
        self._second: list[float] = []
        self._scored = False
        if folder is not None:
            remove_reports(folder)

    def __enter__(self) -> Scoring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageError) and self._folder is not None:
            drop_reports(self._folder)
        elif kind is not None:
            self._conclude_part()

    @property
    def scores(self) -> list[FrameScore]:
        """The frames so far, each with its noise floor and the second judge's IoU where these are known."""
        known = itertools.zip_longest(self._gate.scores, self._floor, self._second)
        return [dataclasses.replace(score, floor_iou=floor, second_iou=second) for score, floor, second in known]

    def score(self, found: Iterator[Mask], see: Callable[[Frame], object] | None = None) -> None:
        """Hold P of every frame against G. The tracker goes on while the clips are decoded and frames are measured.

        see: takes each frame (H, W, 3) of the generated clip, in order.
        """
        with contextlib.ExitStack() as stack:
            # OpenCV's pool serves one call at a time: shared, it makes tracker and scoring wait for each other
            stack.enter_context(opencv_on_one_thread())
            sights = stack.enter_context(contextlib.closing(Ahead(self._material.read(), _DECODED, nice=_NICE)))
            writer = stack.enter_context(self._overlay()) if OVERLAY in self._reports and self._folder else None

            def one(item: tuple[Sight, Mask]) -> None:
                self._one(*item, writer)
                if see is not None and item[0].output is not None:
                    see(item[0].output)

            try:
                with Behind(one, _WAITING, nice=_NICE) as behind:
                    pairs = zip(sights, found, strict=True)
                    for pair in progress(pairs, total=self._material.info.frames, desc="evaluate"):
                        behind.put(pair)
            except BaseException:
                if self._gate.scores:
                    with contextlib.suppress(Exception):  # what stopped the work is what is to be said
                        stack.close()  # the overlay of the frames so far gets its name
                raise
        self._scored = True

    def _overlay(self) -> OverlayWriter:
        info, folder = self._material.info, self._folder or Path()
        known = self._material.source is not None
        return OverlayWriter(folder / FILES[OVERLAY], info.fps, info.width, info.height, with_source=known)

    def _one(self, sight: Sight, generated: Mask, writer: OverlayWriter | None) -> None:
        score = self._gate.feed_frame(sight.original, generated, sight.skater, _kept(sight), _new(sight))
        self._say(score.line())
        if self._leftovers is not None:
            self._leftovers.feed(sight.original, generated)
        if self._windows and sight.output is not None:
            self._colours.feed(sight.output, sight.original)
        if self._witnesses is not None:
            self._witnesses.feed(score.frame, sight.original)
        picture = _picture(sight, generated)
        if CHART in self._reports:
            self._worst.offer(picture, sight.original, generated, score)
        if writer is not None:
            writer.write(sight.source, picture, sight.original, generated, score)

    def calibrate(self, ious: Iterator[float]) -> None:
        """Take the noise floor, frame by frame."""
        for iou in ious:
            self._floor.append(iou)

    def take_second(self, ious: Iterator[float]) -> None:
        """Take the second judge's IoU, frame by frame."""
        for iou in ious:
            self._second.append(iou)

    def conclude(self) -> Result:
        """Return what came of it and write the reports; of a part of the clip where it was cut short."""
        wishes, frames, trust = self._wishes, self._material.info.frames, self._trust
        if self._witnesses is not None:
            trust = dataclasses.replace(trust, standing=self._witnesses.conclude())
        told = {"colour": self._colours.as_json(self._windows)} | ({"takes": self._takes} if self._takes else {})
        if self._material.clip is not None:
            told["detector"] = self._leftovers.as_json() if self._leftovers else None
        asked = wishes.min_replaced, told, wishes.accept_mask
        result = Result(self.scores, wishes.threshold, frames, self._how, trust, *asked)
        if self._folder is not None:
            try:
                write_texts(self._folder, result, self._reports)
                if CHART in self._reports and result.scores:
                    write_chart(self._folder / FILES[CHART], result, self._worst.thumbnails)
            except BaseException:
                drop_reports(self._folder)  # a part of them is no verdict
                raise
        return result

    def _conclude_part(self) -> None:
        """Write the reports of what was scored until something stopped the work, which is still to be raised.

        Where all was scored and the overlay is not whole, that would read as a verdict: then there is none.
        """
        try:
            if not self._scored and len(self._gate.scores) == self._material.info.frames:
                drop_reports(self._folder or Path())
                raise StorageError("every frame was scored, and what came of it was not written.")
            result = self.conclude()
        except Exception as error:
            self._say(f"cut short, and there is no report of it: {error}")
            return
        if self._folder is not None:
            what = f"{len(result.scores)} of {result.expected} frames"
            self._say(f"cut short: the report in {self._folder} is of {what}")


def drop_reports(folder: Path) -> None:
    """Remove the reports as far as that can be done: what stopped the work is what is to be said."""
    with contextlib.suppress(StorageError):
        remove_reports(folder)


def _leftovers(material: Material, witnesses: Witnesses | None) -> Leftovers | None:
    """Return what asks for the old object in the new clip; None where no detector looked at both for its class."""
    if material.detections is None or witnesses is None or witnesses.label is None:
        return None
    return Leftovers(witnesses.label, *material.detections)


def _kept(sight: Sight) -> Kept:
    """Measure how well skater and background were kept in a frame, as far as the material allows."""
    similarity = share = psnr = structure = None
    if sight.people is not None and sight.generated_people is not None:
        similarity, share = compare_skeletons(sight.people, sight.generated_people)
    if sight.source is not None and sight.output is not None:
        outside = _outside(sight)
        psnr, structure = psnr_db(sight.source, sight.output, outside), ssim(sight.source, sight.output, outside)
    return Kept(similarity, share, psnr, structure)


def _outside(sight: Sight) -> Mask:
    """Return where neither object nor skater is."""
    return ~sight.original if sight.skater is None else ~(sight.original | sight.skater)


def _new(sight: Sight) -> Replaced | None:
    """Measure how much of the object is new in a frame; None where source or output is not known."""
    if sight.source is None or sight.output is None:
        return None
    return measure_replaced(sight.source, sight.output, sight.original, _outside(sight))


def _picture(sight: Sight, generated: Mask) -> Frame:
    """Return what stands behind the outlines: the generated frame, or where there is none G and P in grays."""
    if sight.output is not None:
        return sight.output
    gray = sight.original.astype(np.uint8) * np.uint8(60) + generated.astype(np.uint8) * np.uint8(60)
    return np.repeat(gray[..., None], 3, axis=2)
