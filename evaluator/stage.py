"""What one evaluation does: track again, pass every frame through the gate, write the reports.

`Evaluation` is that of a generated clip: `check` refuses, `result` does it, as a stage of the run where there is one.
`compare_masks` holds one mask sequence against another: no tracking, and no run needed. Both score with `Scoring`
(evaluator/scoring.py): one pass over everything, in constant memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from evaluator.inputs import Material, check_original, check_run
from evaluator.recollection import NAME, Recollection
from evaluator.remarks import Windows, output_windows
from evaluator.report import FILES, JSON, OVERLAY
from evaluator.report.attempts import Attempts
from evaluator.report.result import Result
from evaluator.report.texts import read_json, read_kept, remove_reports, write_texts
from evaluator.retrack import Setup, floor_ious, output_crf, retrack, second_ious
from evaluator.scoring import Say, Scoring, Wishes, drop_reports
from evaluator.seal import has_seal, seal
from evaluator.trust import Trust, cycle_ious, trust_of
from handoff.clip.likeness import check_like_source
from handoff.errors import BusyError, InputError, StorageError, UsageError
from handoff.files import sha256_path
from handoff.links import check_way
from handoff.masks import measure_masks, read_masks
from handoff.places import read_prompts
from handoff.run import RESKINS, Reskin, Run, Stage, code_digest, outputs_of, run_stage, tool_versions
from handoff.video import ClipInfo
from tracker.witness.ruling import Witnesses


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

    report: the folder. say: takes console lines. second: how a second judge tracks once more (--second-judge).
    """

    material: Material
    setup: Setup
    report: Path
    wishes: Wishes
    say: Say
    second: Setup | None = None

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
            "accept_mask": self.wishes.accept_mask,
            "second_judge": self.second.judge_as_json() if self.second else None,
            "formats": sorted(self.wishes.formats),
            "report": reskin.relative(self.report),
            "trust": self.trust.as_json(),  # a --verify since then is in no file that is read
            "windows": self._windows(),  # nor is what output.json says
            "prompt": self._prompt(reskin.run),  # prompts.json may be written by a stage that nothing here depends on
        }
        if self.wishes.calibrate:
            params["floor_crf"] = output_crf(self.material.generated)
        tools = {"tracker": self.setup.backend.description}
        more_tools = [*self.setup.backend.versions, *(self.second.backend.versions if self.second else ())]
        tools |= tool_versions("numpy", "opencv-python-headless", "av", "matplotlib", *more_tools)
        more: dict[str, Any] = {"code": ("tracker",), "outside": self.report, "force": self.wishes.force}
        gathered, inputs, takes = reskin.run.manifest, self.material.inputs, self._takes
        kept: Result | None = None

        def believed(work: str) -> bool:
            nonlocal kept
            kept = self._kept(work, reskin) if self._is_ours(work) else None
            return kept is not None and kept.told.get("takes") == takes  # which grow after a verdict

        try:
            with run_stage(
                reskin, "evaluator", params=params, inputs=inputs, tools=tools, believed=believed, **more
            ) as stage:
                if reskin.run.manifest != gathered:
                    raise BusyError(f"{reskin.run.dir} was extracted anew meanwhile; run the same command again.")
                result = self._say_again(kept, takes) if kept else self._judge(stage)
                if kept and not stage.unchanged:
                    self._write_again(stage, result)
        except StorageError:
            drop_reports(self.report)  # run.json does not know of them
            raise
        if not stage.unchanged:
            self._seal(stage.work)
        return result

    @functools.cached_property
    def _takes(self) -> dict[str, Any] | None:
        """Return what is told of the takes that the clip was chosen from; it decides nothing, so a refusal is said."""
        try:
            found = Attempts.beside(self.material.generated, sha256_path)
        except InputError as error:
            self.say(str(error))
            return None
        return found[0].told() if found else None

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

    def _kept(self, work: str, reskin: Reskin) -> Result | None:
        """Return what the report of this machine's own evaluation says; None where it was exchanged by now.

        The bytes that were sealed are the ones that are read, so nobody can put others in between.
        """
        path = self.report / FILES[JSON]
        kept = read_kept(path, outputs_of(work).get(reskin.relative(path)))
        if kept is None:
            self.say(f"{path} was exchanged while it was looked at; {self.material.generated} is judged anew")
        return kept

    def _say_again(self, kept: Result, takes: dict[str, Any] | None) -> Result:
        """Return a kept result, judged by its figures, with what is told of takes by now."""
        wishes, frames = self.wishes, self.material.info.frames
        result = kept.judged_again(wishes.threshold, frames, wishes.min_replaced, accept_mask=wishes.accept_mask)
        for score in result.scores:
            self.say(score.line())
        told = {name: value for name, value in result.told.items() if name != "takes"}
        return dataclasses.replace(result, told=told | ({"takes": takes} if takes else {}))

    def _write_again(self, stage: Stage, result: Result) -> None:
        """Write a kept result's texts, in which other takes are told; its pictures are what they were."""
        stage.forget()
        write_texts(self.report, result, self.wishes.formats)
        self._record(stage, result)

    def _judge(self, stage: Stage) -> Result:
        """Track and score, and name for run.json what was written and what came of it."""
        stage.forget()
        self._remove_stale()
        result = self._evaluate()
        self._record(stage, result)
        return result

    def _record(self, stage: Stage, result: Result) -> None:
        generated = self.material.generated
        for each in sorted(self.wishes.formats):
            stage.add_output(self.report / FILES[each])
        for path in (self.material.generated_pose, self.material.generated_detections):
            if path is not None and path.resolve().parent == generated.resolve().parent:
                stage.add_output(path)  # made for this evaluation
        verdict = result.verdict
        stage.note("mean_iou", verdict.mean)
        stage.note("minimum_iou", verdict.minimum)
        stage.note("passed", result.passed)
        stage.note("sentence", result.sentence)

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
        if self.second:
            how["second_judge"] = {"description": self.second.judge, **self.second.judge_as_json()}
        witnesses = witnesses_of(material.run, material.original, material.info)
        more = (self.trust, witnesses, self._windows(), self._takes)
        with Scoring(material, wishes, self.report, self.say, how, *more) as session:
            with self._recollection() as recall:
                found = retrack(material.generated, setup, material.info, recall)
                session.score(found, recall.see if recall else None)
            if self.second:  # what stops this, or the floor, leaves the report of the gate's own part
                self._ask_second(session, self.second)
            if wishes.calibrate:
                how["floor_crf"] = self._calibrate(session)
        return session.conclude()

    @contextlib.contextmanager
    def _recollection(self) -> Iterator[Recollection | None]:
        """Yield what the last evaluation of this reskin tracked; None where nothing is known, or is to be."""
        reskin, setup = self._reskin(), self.setup
        if self.wishes.force and reskin is not None:
            shutil.rmtree(reskin.dir / NAME, ignore_errors=True)
        wanted = self.wishes.keep_track or (reskin is not None and (reskin.dir / NAME).is_dir())
        if reskin is None or not wanted or not self._is_recorded(reskin):
            yield None
            return
        versions = tool_versions("numpy", "opencv-python-headless", "av", *setup.backend.versions)
        code = code_digest(("evaluator", "handoff", "tracker"))
        basis = [setup.as_json(), setup.backend.params, str(self.material.info), versions, code]
        key = hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()
        starts = [start for start, _ in self._windows()]
        material, keep = self.material, self.wishes.keep_track
        files = reskin.dir, key, material.generated, material.info
        with Recollection(*files, starts, self.say, keep=keep) as recollection:
            yield recollection

    def _ask_second(self, session: Scoring, second: Setup) -> None:
        material = self.material
        self.say(f"second judge: tracking once more with {second.judge}")
        session.take_second(second_ious(material.original, material.generated, material.info, second))

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
