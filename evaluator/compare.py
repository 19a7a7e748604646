"""One mask sequence against another: no tracking, and no run needed."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from evaluator.job import Wishes, check_writable, run_of
from evaluator.material import Material, check_run
from evaluator.report import OVERLAY
from evaluator.result import Result
from evaluator.sequence import check_original, read_mask_sequence, scan
from evaluator.session import Say, Session
from evaluator.trust import Trust, trust_of
from handoff.errors import InputError
from handoff.video import ClipInfo


def _trust_where_known(original: Path) -> Trust:
    """Return what the run that a mask lies in says of it; nothing where it is not the mask that the run made."""
    try:
        run = run_of(original)
        if run is not None:
            check_run(run, original)
    except InputError:  # two masks need no run, and so no sound one
        return Trust()
    return trust_of(run, original)


def compare_masks(original: Path, generated: Path, wishes: Wishes, report: Path | None, say: Say) -> Result:
    """Score one mask sequence against another: no tracking, no run. InputError where they do not fit together."""
    made = scan(generated)
    check_original(original, made, str(generated))
    info = ClipInfo(made.width, made.height, Fraction(25), made.frames)
    material = Material(original, generated, info)
    if report:
        check_writable(report)
    session = Session(material, wishes.threshold, report, wishes.formats - {OVERLAY}, say)
    how, trust = material.as_json(), _trust_where_known(original)
    try:
        session.score(read_mask_sequence(generated))
    except BaseException:
        session.conclude_part(how, trust)
        raise
    return session.conclude(how, trust)
