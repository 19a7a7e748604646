"""The evaluator's main job: track again in a generated clip, and score what was found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluator.floor import floor_ious, output_crf
from evaluator.material import Material
from evaluator.report import FILES, JSON_FILE, read_json
from evaluator.result import Result
from evaluator.retrack import Setup, retrack
from evaluator.session import Say, Session
from evaluator.trust import Trust, trust_of
from handoff.errors import StorageError, UsageError
from handoff.run import MANIFEST, Run
from handoff.stage import run_stage, tool_versions


@dataclass(frozen=True)
class Wishes:
    """What was asked for. formats: names of `evaluator.report.FILES`."""

    threshold: float
    formats: frozenset[str]
    calibrate: bool = False
    force: bool = False


def run_of(path: Path) -> Run | None:
    """Return the run that a file lies in, or None."""
    for parent in path.resolve().parents:
        if (parent / MANIFEST).is_file():
            return Run.open(parent)
    return None


def check_writable(folder: Path) -> None:
    """Raise StorageError now, not after an hour of tracking, where the report's folder cannot be made or written.

    Nothing is written to find out: where nothing has changed, nothing in the run may.
    """
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        raise StorageError(f"cannot write {folder}: a file is in the way ({there}); move it, or choose another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StorageError(
            f"cannot write {folder}: permission denied, or the file system is read-only; choose a folder that you may "
            "write with --output."
        )


@dataclass(frozen=True)
class Job:
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
        return trust_of(self.material.run, self.material.original)

    def source_clip(self) -> Path:
        """The clip before the reskin; raise UsageError where it is not known."""
        if self.material.source is None:
            raise UsageError("--calibrate needs the source clip, so the original mask must lie in its run folder.")
        return self.material.source

    def check(self) -> None:
        """Raise UsageError, MissingError or StorageError now, not after an hour of tracking."""
        if self.wishes.calibrate:
            self.source_clip()
            output_crf(self.material.generated)
        check_writable(self.report)

    def result(self) -> Result:
        """Do it, as a stage of the run where the clip lies in one; there it is skipped when nothing has changed."""
        run, generated, pose = self.material.run, self.material.generated, self.material.generated_pose
        name = generated.resolve().parent.name
        if run is None or run.relative(generated) != f"reskins/{name}/{generated.name}":
            return self._evaluate()
        if not os.access(run.dir, os.W_OK) and not self.report.resolve().is_relative_to(run.dir.resolve()):
            self.say(f"{run.dir} cannot be written: run.json will not know of this evaluation, and it is always done")
            return self._evaluate()
        params: dict[str, Any] = {
            **self.setup.as_json(),
            "threshold": self.wishes.threshold,
            "calibrate": self.wishes.calibrate,
            "formats": sorted(self.wishes.formats),
            "report": run.relative(self.report),
            "trust": self.trust.as_json(),  # a --verify since then is in no file that is read
        }
        tools = {"tracker": self.setup.backend.description}
        tools |= tool_versions("numpy", "opencv-python-headless", "av", *self.setup.backend.versions)
        inputs, force = self.material.inputs, self.wishes.force
        with run_stage(
            run, f"evaluator/{name}", params=params, inputs=inputs, tools=tools, code=("tracker",), force=force
        ) as stage:
            if stage.unchanged:
                result = read_json(self.report / JSON_FILE)
                for score in result.scores:
                    self.say(score.line())
                return result
            stage.forget()
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

    def _evaluate(self) -> Result:
        material, wishes, setup = self.material, self.wishes, self.setup
        session = Session(material, wishes.threshold, self.report, wishes.formats, self.say)
        how = {**material.as_json(), "description": setup.backend.description, **setup.as_json()}
        trust = self.trust
        try:
            session.score(retrack(material.generated, setup, material.info))
            if wishes.calibrate:
                session.conclude(how, trust)  # the gate's own part stands, whatever becomes of the floor
                how["floor_crf"] = self._calibrate(session)
        except BaseException:
            session.conclude_part(how, trust)
            raise
        return session.conclude(how, trust)

    def _calibrate(self, session: Session) -> int:
        material, source = self.material, self.source_clip()
        crf = output_crf(material.generated)
        self.say(f"noise floor: tracking in the source itself, encoded with CRF {crf}")
        floor = floor_ious(material.original, source, material.info, self.setup, crf, self.report)
        session.calibrate(floor)
        return crf
