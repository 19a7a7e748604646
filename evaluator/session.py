"""One evaluation: every frame past the gate, the overlay and the worst frames, in one pass and constant memory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from evaluator.chart import write_chart
from evaluator.gate import FrameScore, Gate, Kept
from evaluator.material import Material, Sight
from evaluator.overlay import OverlayWriter
from evaluator.picture import psnr_db, ssim
from evaluator.report import CHART, FILES, OVERLAY, remove_reports, write_texts
from evaluator.result import Result
from evaluator.skeleton import compare
from evaluator.trust import Trust
from evaluator.worst import WorstFrames
from handoff.masks import Mask
from handoff.progress import progress
from handoff.threads import Ahead, Behind, opencv_on_one_thread
from handoff.video import Frame

_DECODED, _WAITING = 2, 4  # frames that are read ahead of the tracker, and that wait behind it to be scored
# the tracker goes first; by a little only: it waits for what is scored, and behind others' work on a busy machine that
# takes twice as long with 10 (measured on two cores, with two other processes on them)
_NICE = 2

Say = Callable[[str], object]


def kept(sight: Sight) -> Kept:
    """Measure how well skater and background were kept in a frame, as far as the material allows."""
    similarity = share = psnr = structure = None
    if sight.people is not None and sight.generated_people is not None:
        similarity, share = compare(sight.people, sight.generated_people)
    if sight.source is not None and sight.output is not None:
        outside = ~sight.original if sight.skater is None else ~(sight.original | sight.skater)
        psnr, structure = psnr_db(sight.source, sight.output, outside), ssim(sight.source, sight.output, outside)
    return Kept(similarity, share, psnr, structure)


def _picture(sight: Sight, generated: Mask) -> Frame:
    """Return what stands behind the outlines: the generated frame, or where there is none G and P in grays."""
    if sight.output is not None:
        return sight.output
    gray = sight.original.astype(np.uint8) * np.uint8(60) + generated.astype(np.uint8) * np.uint8(60)
    return np.repeat(gray[..., None], 3, axis=2)


class Session:
    """Score a clip; what was scored before an interruption or an error stays in `scores`.

    reports: names of `evaluator.report.FILES`. say: takes the console line of each frame. Those of an earlier
    evaluation in `folder` are removed: however this one ends, even by SIGKILL, they are not taken for its own.
    """

    def __init__(
        self, material: Material, threshold: float, folder: Path | None, reports: frozenset[str], say: Say
    ) -> None:
        self._material, self._gate = material, Gate(threshold)
        self._folder, self._reports, self._say = folder, reports, say
        self._worst = WorstFrames()
        self._floor: list[float] = []
        if folder is not None:
            remove_reports(folder)

    @property
    def scores(self) -> list[FrameScore]:
        """The frames so far, each with its noise floor where that is known."""
        pairs = zip(self._gate.scores, self._floor, strict=False)
        known = [dataclasses.replace(score, floor_iou=floor) for score, floor in pairs]
        return known + self._gate.scores[len(known) :]

    def score(self, found: Iterator[Mask]) -> None:
        """Hold P of every frame against G. The tracker goes on while the clips are decoded and frames are measured."""
        with contextlib.ExitStack() as stack:
            # OpenCV's pool serves one call at a time: shared, it makes tracker and scoring wait for each other
            stack.enter_context(opencv_on_one_thread())
            sights = stack.enter_context(contextlib.closing(Ahead(self._material.read(), _DECODED, nice=_NICE)))
            writer = stack.enter_context(self._overlay()) if OVERLAY in self._reports and self._folder else None

            def one(item: tuple[Sight, Mask]) -> None:
                self._one(*item, writer)

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

    def _overlay(self) -> OverlayWriter:
        info, folder = self._material.info, self._folder or Path()
        known = self._material.source is not None
        return OverlayWriter(folder / FILES[OVERLAY], info.fps, info.width, info.height, with_source=known)

    def _one(self, sight: Sight, generated: Mask, writer: OverlayWriter | None) -> None:
        score = self._gate.feed_frame(sight.original, generated, sight.skater, kept(sight))
        self._say(score.line())
        picture = _picture(sight, generated)
        if CHART in self._reports:
            self._worst.offer(picture, sight.original, generated, score)
        if writer is not None:
            writer.write(sight.source, picture, sight.original, generated, score)

    def calibrate(self, ious: Iterator[float]) -> None:
        """Take the noise floor, frame by frame."""
        for iou in ious:
            self._floor.append(iou)

    def conclude_part(self, how: dict[str, Any], trust: Trust) -> None:
        """Write the reports of what was scored until something stopped the work, which is still to be raised."""
        try:
            result = self.conclude(how, trust)
        except Exception as error:
            self._say(f"cut short, and there is no report of it: {error}")
            return
        if self._folder is not None:
            what = f"{len(result.scores)} of {result.expected} frames"
            self._say(f"cut short: the report in {self._folder} is of {what}")

    def conclude(self, how: dict[str, Any], trust: Trust) -> Result:
        """Return what came of it and write the reports; of a part of the clip where it was cut short."""
        result = Result(self.scores, self._gate.threshold, self._material.info.frames, how, trust)
        if self._folder is not None:
            write_texts(self._folder, result, self._reports)
            if CHART in self._reports and result.scores:
                write_chart(self._folder / FILES[CHART], result, self._worst.thumbnails)
        return result
