"""What one evaluation does: track again, pass every frame through the gate, write the reports.

`Evaluation` is that of a generated clip: `check` refuses, `result` does it, as a stage of the run where there is one.
`compare_masks` holds one mask sequence against another: no tracking, and no run needed. Both score with `Scoring`: one
pass over everything, in constant memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from evaluator import MIN_REPLACED
from evaluator.figures import compare_skeletons, psnr_db, ssim
from evaluator.gate import FrameScore, Gate, Kept
from evaluator.inputs import Material, Sight, check_original, check_run
from evaluator.remarks import ColourJumps, Windows, output_windows
from evaluator.replaced import Replaced, measure_replaced
from evaluator.report import CHART, FILES, JSON, OVERLAY
from evaluator.report.chart import write_chart
from evaluator.report.pictures import OverlayWriter, WorstFrames
from evaluator.report.result import Result
from evaluator.report.texts import read_json, remove_reports, write_texts
from evaluator.retrack import Setup, floor_ious, output_crf, retrack
from evaluator.seal import has_seal, seal
from evaluator.trust import Trust, cycle_ious, trust_of
from handoff.clip.likeness import check_like_source
from handoff.command import progress
from handoff.errors import BusyError, InputError, StorageError, UsageError
from handoff.files import sha256_path
from handoff.links import check_way
from handoff.masks import Mask, measure_masks, read_masks
from handoff.places import read_prompts
from handoff.run import RESKINS, Reskin, Run, Stage, run_stage, tool_versions
from handoff.threads import Ahead, Behind, opencv_on_one_thread
from handoff.video import ClipInfo, Frame
from tracker.witness.ruling import Witnesses

_DECODED, _WAITING = 2, 4  # frames that are read ahead of the tracker, and that wait behind it to be scored
# the tracker goes first; by a little only: it waits for what is scored, and behind others' work on a busy machine that
# takes twice as long with 10 (measured on two cores, with two other processes on them)
_NICE = 2

Say = Callable[[str], object]


@dataclass(frozen=True)
class Wishes:
    """What was asked for. formats: names of `evaluator.report.FILES`. min_replaced: 0 asks for nothing new."""

    threshold: float
    formats: frozenset[str]
    calibrate: bool = False
    force: bool = False
    min_replaced: float = MIN_REPLACED


def check_writable(folder: Path) -> None:
    """Raise StorageError now, not after an hour of tracking, where the report's folder cannot be made or written.

    Nothing is written to find out: where nothing has changed, nothing in the run may. LinkError where it is a link.
    """
    check_way(folder / FILES[JSON])
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise StorageError(f"cannot write {folder}: a file is in the way ({there}); move it, or choose another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot write {folder}: permission denied, or the file system is read-only; choose a folder that you may "
            "write with --output."
        )


@dataclass(frozen=True)
class Evaluation:
    """Track again in a generated clip, and score it.

    report: the folder. say: takes console lines.
    """

    material: Material
    setup: Setup
    report: Path
    wishes: Wishes
    say: Say

    @property
    def trust(self) -> Trust:
        """How far the original mask can be trusted."""
        return trust_of(self.material.run, self.material.original, self.material.info.frames)

    def source_clip(self) -> Path:
        """The clip before the reskin; raise UsageError where it is not known."""
        if self.material.source is None:
            raise UsageError("--calibrate needs the source clip, so the original mask must lie in its run folder.")
        return self.material.source

    def check(self) -> None:
        """Raise UsageError (BusyError too), MissingError or StorageError now, not after an hour of tracking."""
        if self.wishes.calibrate:
            self.source_clip()
            output_crf(self.material.generated)
        check_writable(self.report)
        reskin = self._reskin()
        if reskin is not None and self._is_recorded(reskin):
            with reskin.lock():  # refused here where another process is at work on it
                pass

    def _reskin(self) -> Reskin | None:
        """Return the reskin that the clip is, None where it lies in no run."""
        run, generated = self.material.run, self.material.generated
        name = generated.resolve().parent.name
        if run is None or run.relative(generated) != f"{RESKINS}/{name}/{generated.name}":
            return None
        return run.reskin(name)

    def _is_recorded(self, reskin: Reskin) -> bool:
        """Say whether the reskin's folder takes a record; a run that is only read is judged without a lock."""
        written = all(os.access(folder, os.W_OK) for folder in (reskin.run.dir, reskin.dir))
        return written or self.report.resolve().is_relative_to(reskin.run.dir.resolve())

    def result(self) -> Result:
        """Do it, as a stage's work on the reskin that the clip is; there it is skipped when nothing has changed."""
        reskin = self._reskin()
        if reskin is None:
            return self._evaluate()
        if not self._is_recorded(reskin):
            self.say(
                f"{reskin.dir} cannot be written: run.json will not know of this evaluation, and it is always done"
            )
            return self._evaluate()
        params: dict[str, Any] = {
            **self.setup.as_json(),
            "threshold": self.wishes.threshold,
            "min_replaced": self.wishes.min_replaced,
            "calibrate": self.wishes.calibrate,
            "formats": sorted(self.wishes.formats),
            "report": reskin.relative(self.report),
            "trust": self.trust.as_json(),  # a --verify since then is in no file that is read
            "windows": self._windows(),  # nor is what output.json says
            "prompt": self._prompt(reskin.run),  # prompts.json may be written by a stage that nothing here depends on
        }
        if self.wishes.calibrate:
            params["floor_crf"] = output_crf(self.material.generated)
        tools = {"tracker": self.setup.backend.description}
        tools |= tool_versions("numpy", "opencv-python-headless", "av", *self.setup.backend.versions)
        more: dict[str, Any] = {"code": ("tracker",), "outside": self.report, "force": self.wishes.force}
        gathered, inputs = reskin.run.manifest, self.material.inputs
        try:
            with run_stage(
                reskin, "evaluator", params=params, inputs=inputs, tools=tools, believed=self._is_ours, **more
            ) as stage:
                if reskin.run.manifest != gathered:
                    raise BusyError(f"{reskin.run.dir} was extracted anew meanwhile; run the same command again.")
                result = self._kept() if stage.unchanged else self._judge(stage)
        except StorageError:
            _drop_reports(self.report)  # run.json does not know of them
            raise
        if not stage.unchanged:
            self._seal(stage.work)
        return result

    def _windows(self) -> Windows:
        return output_windows(self.material.generated, self.material.info.frames)

    def _prompt(self, run: Run) -> dict[str, Any] | None:
        prompt = read_prompts(run).get("object")
        return prompt.as_json() if prompt else None

    def _is_ours(self, work: str) -> bool:
        """Say whether this machine made the verdict that run.json has; where it did not, it is made anew."""
        try:
            if has_seal(work):
                return True
            why = "has a verdict that was not made here"
        except StorageError as error:
            why = f"has a verdict, and nothing says who made it: {error}"
        self.say(f"{self.material.generated} {why}; it is judged anew")
        return False

    def _seal(self, work: str) -> None:
        try:
            seal(work)
        except StorageError as error:
            self.say(f"{error} So the next evaluation is always done.")

    def _kept(self) -> Result:
        """Return what the report of this machine's own evaluation says, judged by its figures."""
        kept = read_json(self.report / FILES[JSON])
        result = kept.judged_again(self.wishes.threshold, self.material.info.frames, self.wishes.min_replaced)
        for score in result.scores:
            self.say(score.line())
        return result

    def _judge(self, stage: Stage) -> Result:
        """Track and score, and name for run.json what was written and what came of it."""
        generated, pose = self.material.generated, self.material.generated_pose
        stage.forget()
        self._remove_stale()
        result = self._evaluate()
        for each in sorted(self.wishes.formats):
            stage.add_output(self.report / FILES[each])
        if pose is not None and pose.resolve().parent == generated.resolve().parent:
            stage.add_output(pose)  # made for this evaluation
        verdict = result.verdict
        stage.note("mean_iou", verdict.mean)
        stage.note("minimum_iou", verdict.minimum)
        stage.note("passed", result.passed)
        return result

    def _remove_stale(self) -> None:
        """Remove the reports beside the clip that are of another one, where this report goes elsewhere."""
        beside = self.material.generated.parent / "report"
        if not (beside / FILES[JSON]).is_file():
            return
        try:
            judged = read_json(beside / FILES[JSON]).how["sha256"]["generated"]
        except (InputError, KeyError, TypeError):
            judged = None
        if judged != sha256_path(self.material.generated):
            remove_reports(beside)

    def _evaluate(self) -> Result:
        material, wishes, setup = self.material, self.wishes, self.setup
        how = {**material.as_json(), "description": setup.backend.description, **setup.as_json()}
        witnesses = witnesses_of(material.run, material.original, material.info)
        more = (self.trust, witnesses, self._windows())
        with Scoring(material, wishes, self.report, self.say, how, *more) as session:
            session.score(retrack(material.generated, setup, material.info))
            if wishes.calibrate:
                session.conclude()  # the gate's own part stands, whatever becomes of the floor
                how["floor_crf"] = self._calibrate(session)
        return session.conclude()

    def _calibrate(self, session: Scoring) -> int:
        material, source = self.material, self.source_clip()
        crf = output_crf(material.generated)
        self.say(f"noise floor: tracking in the source itself, encoded with CRF {crf}")
        floor = floor_ious(material.original, source, material.info, self.setup, crf, self.report)
        session.calibrate(floor)
        return crf


def compare_masks(original: Path, generated: Path, wishes: Wishes, report: Path | None, say: Say) -> Result:
    """Score one mask sequence against another: no tracking, no run. InputError where they do not fit together."""
    for each in (original, generated):
        check_like_source(each, mask=True)
    made = measure_masks(generated)
    check_original(original, made, str(generated))
    info = ClipInfo(made.width, made.height, Fraction(25), made.frames)
    material = Material(original, generated, info)
    if report:
        check_writable(report)
    how, (trust, witnesses) = material.as_json(), _where_known(original, info)
    wishes = dataclasses.replace(wishes, formats=wishes.formats - {OVERLAY})
    with Scoring(material, wishes, report, say, how, trust, witnesses) as session:
        session.score(read_masks(generated))
    return session.conclude()


def _where_known(original: Path, info: ClipInfo) -> tuple[Trust, Witnesses | None]:
    """Return what the run that a mask lies in says of it, and its witnesses; nothing where the run is of another clip,
    or the mask not the one that it made.
    """
    try:
        run = Run.containing(original)
        if run is None or (run.info.width, run.info.height, run.info.frames) != (info.width, info.height, info.frames):
            return trust_of(run, original, info.frames), None
        check_run(run, original, *Witnesses.files(run))
        return trust_of(run, original, info.frames), witnesses_of(run, original, run.info)
    except InputError:  # two masks need no run, and so no sound one
        return Trust(), None


def witnesses_of(run: Run | None, original: Path, info: ClipInfo) -> Witnesses | None:
    """Return the witnesses of a run, to hear about an original mask; None where there is no run."""
    return Witnesses(run, info, cycle_ious(run, original, info.frames)) if run else None


class Scoring:
    """Score a clip; what was scored before an interruption or an error stays in `scores`.

    As a context manager it writes reports of what there is where something stops the work, and none where they cannot
    all be written. The reports of an earlier evaluation in `folder` are removed first: however this one ends, even by
    SIGKILL, they are not taken for its own.

    say: takes the console line of each frame. how, trust: what a report says beside the scores. witnesses: are heard
    about G meanwhile. windows: that the clip was painted in.
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
    ) -> None:
        self._material, self._gate = material, Gate(wishes.threshold, wishes.min_replaced)
        self._folder, self._reports, self._say = folder, wishes.formats, say
        self._how, self._trust, self._windows, self._witnesses = how, trust, windows, witnesses
        self._colours = ColourJumps()
        self._worst = WorstFrames()
        self._floor: list[float] = []
        self._scored = False
        if folder is not None:
            remove_reports(folder)

    def __enter__(self) -> Scoring:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageError) and self._folder is not None:
            _drop_reports(self._folder)
        elif kind is not None:
            self._conclude_part()

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
        self._scored = True

    def _overlay(self) -> OverlayWriter:
        info, folder = self._material.info, self._folder or Path()
        known = self._material.source is not None
        return OverlayWriter(folder / FILES[OVERLAY], info.fps, info.width, info.height, with_source=known)

    def _one(self, sight: Sight, generated: Mask, writer: OverlayWriter | None) -> None:
        score = self._gate.feed_frame(sight.original, generated, sight.skater, _kept(sight), _new(sight))
        self._say(score.line())
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

    def conclude(self) -> Result:
        """Return what came of it and write the reports; of a part of the clip where it was cut short."""
        gate, frames, trust = self._gate, self._material.info.frames, self._trust
        if self._witnesses is not None:
            trust = dataclasses.replace(trust, standing=self._witnesses.conclude())
        told = {"colour": self._colours.as_json(self._windows)}
        result = Result(self.scores, gate.threshold, frames, self._how, trust, gate.min_replaced, told)
        if self._folder is not None:
            try:
                write_texts(self._folder, result, self._reports)
                if CHART in self._reports and result.scores:
                    write_chart(self._folder / FILES[CHART], result, self._worst.thumbnails)
            except BaseException:
                _drop_reports(self._folder)  # a part of them is no verdict
                raise
        return result

    def _conclude_part(self) -> None:
        """Write the reports of what was scored until something stopped the work, which is still to be raised.

        Where all was scored and the overlay is not whole, that would read as a verdict: then there is none.
        """
        try:
            if not self._scored and len(self._gate.scores) == self._material.info.frames:
                _drop_reports(self._folder or Path())
                raise StorageError("every frame was scored, and what came of it was not written.")
            result = self.conclude()
        except Exception as error:
            self._say(f"cut short, and there is no report of it: {error}")
            return
        if self._folder is not None:
            what = f"{len(result.scores)} of {result.expected} frames"
            self._say(f"cut short: the report in {self._folder} is of {what}")


def _drop_reports(folder: Path) -> None:
    """Remove the reports as far as that can be done: what stopped the work is what is to be said."""
    with contextlib.suppress(StorageError):
        remove_reports(folder)


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
