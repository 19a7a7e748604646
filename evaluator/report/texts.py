"""The text reports: iou.json, iou.csv, junit.xml and summary.md, each from a `Result` and from nothing else.

iou.json has the verdict and every frame's score, for programs; its schema stands in docs/how-it-works/gate.md, and
`read_json` reads it back. iou.csv is a line a frame. junit.xml is a case for each part of the verdict and one a frame,
so that any CI server shows what fails and where. summary.md is the result on one screen, in the Markdown that CI
servers show as a job's summary. All but iou.csv begin with the verdict's sentence.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from evaluator.gate import FrameScore, Verdict
from evaluator.report import CSV, FILES, JSON, JUNIT, SUMMARY
from evaluator.report.attempts import TOLD
from evaluator.report.result import ACCEPTED, KINDS, Result
from evaluator.trust import Trust
from handoff.detections.coco import CLASSES
from handoff.errors import InputError, storage_errors
from handoff.files import write_text
from handoff.jsonfile import (
    LINE,
    listing,
    mapping,
    number,
    one_of,
    or_null,
    parse_json,
    read_bytes,
    record,
    truth,
    whole,
)
from handoff.links import check_way
from tracker.witness.ruling import STANDING, Standing

SCHEMA = 3


def to_json(result: Result) -> str:
    """Return iou.json: "schema", "verdict", "how", "summary", "frames"."""
    frames = [_row(score) for score in result.scores]
    verdict = {
        "passed": result.passed,
        "sentence": result.sentence,
        "reasons": [asdict(each) for each in result.reasons],
        "unmeasured": result.unmeasured,
        "accepted": result.accepted,
    }
    data = {"schema": SCHEMA, "verdict": verdict, "how": result.how, "summary": _summary(result), "frames": frames}
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _row(score: FrameScore) -> dict[str, Any]:
    return asdict(score) | {"state": score.state}


def _summary(result: Result) -> dict[str, Any]:
    """Return iou.json's "summary"; what there is none of without a single frame is None."""
    verdict: dict[str, Any] = dict.fromkeys(each.name for each in fields(Verdict))
    verdict |= {"frames": 0, "threshold": result.threshold, "failed": 0, "min_replaced": result.min_replaced}
    floor = {"below": result.below_floor, "at_or_above": result.at_floor, "floor_fails": result.failing_floor}
    return (asdict(result.verdict) if result.scores else verdict) | {
        "passed": result.passed,
        "complete": result.complete,
        "mean_seen": result.mean_seen,
        "expected_frames": result.expected,
        "accept_mask": result.accept_mask,
        "figures": result.figures(),
        "failing_frames": floor if result.calibrated else None,
        "trust": result.trust.as_json(),
        "told": result.told,
    }


def read_json(path: Path) -> Result:
    """Read back what `to_json` gave; raise InputError when it is something else.

    The verdict is not read: `Result` has it of the figures.
    """
    return _parse(_read(path), path)


def read_kept(path: Path, sha256: str | None) -> Result | None:
    """Read back what `to_json` gave; None where the very bytes that are read have another SHA-256."""
    document = _read(path)
    return _parse(document, path) if hashlib.sha256(document).hexdigest() == sha256 else None


def _read(path: Path) -> bytes:
    return read_bytes(path, advice=_ADVICE, largest=_LARGEST)


def _parse(document: bytes, path: Path) -> Result:
    data = parse_json(document, str(path), _SHAPE, advice=_ADVICE, largest=_LARGEST, most=_LARGEST // 16)
    summary, trust = data["summary"], data["summary"]["trust"]
    scores = [FrameScore(**{each.name: frame[each.name] for each in fields(FrameScore)}) for frame in data["frames"]]
    try:
        standing = Standing.from_json(trust["standing"]) if trust["standing"] else None
    except InputError as error:
        raise InputError(f"{path} cannot be used: {error}; evaluate again with --force.") from error
    known = Trust(trust["known"], trust["suspicious"], trust["absent"], trust["cycle"], standing)
    asked = {key: summary[key] for key in ("threshold", "min_replaced", "told", "accept_mask")}
    return Result(scores, expected=summary["expected_frames"], how=data["how"], trust=known, **asked)


_ADVICE = "evaluate again with --force"
_LARGEST = 256 * 2**20
"""Bytes: about 500 a frame."""
_TYPES = {
    "int": whole(0),
    "float": number(),
    "float | None": or_null(number()),
    "bool": truth,
    "bool | None": or_null(truth),
}
_SCORE = record({each.name: _TYPES[str(each.type)] for each in fields(FrameScore)})
_SPANS = listing(listing(whole(0), 2, 2))
_CYCLE = record({"frames": whole(0), "mean": or_null(number(0, 1)), "doubtful": listing(whole(0))})
_TRUST = record(
    {
        "known": truth,
        "suspicious": mapping(_SPANS, r"[a-z:-]{1,60}", "a status"),
        "absent": _SPANS,
        "cycle": or_null(_CYCLE),
        "standing": or_null(STANDING),
    }
)
_BORDER = record({"frame": whole(0), "jump": number(0)})
_COLOUR = record({"borders": listing(_BORDER, 1), "elsewhere": or_null(number(0))})
_SEEN = record({"frames": whole(0), "seen": whole(0), "score": or_null(number(0, 1))})
_DETECTOR = record({"class": one_of(*CLASSES), "before": _SEEN, "after": _SEEN})
_TOLD = record({}, {"colour": or_null(_COLOUR), "detector": or_null(_DETECTOR), "takes": TOLD})
_SHAPE = record(
    {
        "schema": one_of(SCHEMA),
        "how": record(
            {"original": LINE, "generated": LINE},
            {"other_tracker": or_null(LINE), "second_judge": or_null(record({"description": LINE}))},
        ),
        "summary": record(
            {
                "threshold": number(0, 1),
                "min_replaced": number(0, 1),
                "accept_mask": truth,
                "expected_frames": whole(1),
                "trust": _TRUST,
                "told": _TOLD,
            }
        ),
        "frames": listing(_SCORE),
    }
)


def to_csv(result: Result) -> str:
    """Return iou.csv, one line a frame; an empty cell where a figure is not defined or was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*(field.name for field in fields(FrameScore)), "state"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(score) for score in result.scores)
    return text.getvalue()


def _why(score: FrameScore, threshold: float, min_replaced: float) -> str:
    if score.renewed is False and score.iou > threshold:
        return _not_new(score, min_replaced)
    parts = [f"leak {score.leak:.3f}", f"gap {score.gap:.3f}", f"boundary F {score.boundary_f:.3f}"]
    if score.drift_px is not None:
        parts.append(f"drift {score.drift_px:.1f} px")
    if score.floor_iou is not None:
        parts.append(f"noise floor {score.floor_iou:.4f}")
    if score.renewed is False:
        parts.append(_not_new(score, min_replaced))
    return f"IoU {score.iou:.4f} is not above {threshold:g}: " + ", ".join(parts)


def _kind(score: FrameScore) -> str:
    return "IoU" if score.renewed is not False else "replaced"


def _not_new(score: FrameScore, min_replaced: float) -> str:
    new, bare = score.replaced or 0.0, score.unpainted or 0.0
    return f"{score.state}, {new:.3f} of the object is new and {bare:.3f} flat gray; {min_replaced:g} has to be new"


def junit_xml(result: Result) -> str:
    """Return the report in the JUnit form that Jenkins, GitLab and GitHub's reporters read.

    The suite "verdict" has a case for each part of the verdict: a failure with its reason, or skipped, saying why it
    was not measured. An evaluation that was cut short has one more case there, an error that says so. The suite
    "frames" has a case a frame. The verdict's sentence is the first property of all, and begins the output, where what
    limits the verdict's worth comes after it.
    """
    verdict, frames = ET.Element("testsuite", name="verdict"), ET.Element("testsuite", name="frames")
    ET.SubElement(ET.SubElement(verdict, "properties"), "property", name="verdict", value=result.sentence)
    reasons = {each.kind: each for each in result.reasons}
    for kind in KINDS:
        case = ET.SubElement(verdict, "testcase", classname="verdict", name=kind, time="0")
        if kind in reasons:
            ET.SubElement(case, "failure", message=reasons[kind].text, type=kind).text = reasons[kind].text
        elif not result.complete:
            ET.SubElement(case, "skipped", message=result.cut_short)
        elif kind in result.unmeasured:
            ET.SubElement(case, "skipped", message=result.unmeasured[kind])
        elif kind == "original mask" and result.accepted:
            ET.SubElement(case, "system-out").text = ACCEPTED
    if not result.complete:
        case = ET.SubElement(verdict, "testcase", classname="verdict", name="every frame scored", time="0")
        ET.SubElement(case, "error", message=result.sentence, type="CutShort")
    for score in result.scores:
        case = ET.SubElement(frames, "testcase", classname="frames", name=f"frame {score.frame:04d}", time="0")
        if not score.passed:
            why = _why(score, result.threshold, result.min_replaced)
            ET.SubElement(case, "failure", message=why, type=_kind(score)).text = why
    ET.SubElement(verdict, "system-out").text = "\n".join([result.sentence, *result.limits()])
    root = ET.Element("testsuites", name="gate")
    root.extend((verdict, frames))
    for each in (verdict, frames, root):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            each.set(name, str(sum(1 for _ in each.iter(tag))))
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


MOST_ROWS = 20
_NAMES = {
    "boundary_f": ("boundary F", ".4f"),
    "leak": ("leak (of P outside G)", ".4f"),
    "gap": ("gap (of G not covered)", ".4f"),
    "clip": ("clip (of P on the skater)", ".4f"),
    "drift_px": ("drift of the centroid, px", ".2f"),
    "area_ratio": ("area, P to G", ".3f"),
    "one_px_iou": ("IoU that one pixel of error leaves", ".4f"),
    "floor_iou": ("noise floor: IoU of the source itself", ".4f"),
    "second_iou": ("second judge: IoU", ".4f"),
    "oks": ("skater: OKS", ".3f"),
    "pck": ("skater: PCK@0.2", ".3f"),
    "psnr_db": ("background: PSNR, dB", ".2f"),
    "ssim": ("background: SSIM", ".4f"),
    "replaced": ("new (of G, against the source)", ".3f"),
    "unpainted": ("unpainted (of G, flat gray)", ".3f"),
}


def _figures(result: Result) -> list[str]:
    verdict = result.verdict
    rows = [
        "| figure | mean | worst | at frame |",
        "| --- | ---: | ---: | ---: |",
        f"| **IoU** | {verdict.mean:.4f} | {verdict.minimum:.4f} | {verdict.minimum_frame} |",
    ]
    if result.mean_seen is not None and result.mean_seen != verdict.mean:
        rows.append(f"| IoU where there is an object | {result.mean_seen:.4f} | | |")
    for key, found in result.figures().items():
        name, form = _NAMES[key]
        rows.append(f"| {name} | {found['mean']:{form}} | {found['worst']:{form}} | {found['frame']} |")
    return rows


def _failures(result: Result) -> list[str]:
    failed = [score for score in result.scores if not score.passed]
    if not failed:
        return []
    names = ("failing frame", "", "IoU", "new", "second judge", "floor", "leak", "gap", "clip")
    rows = ["", f"| {' | '.join(names)} |", f"| ---: | --- |{' ---: |' * (len(names) - 2)}"]
    for score in failed[:MOST_ROWS]:
        found = (score.iou, score.replaced, score.second_iou, score.floor_iou, score.leak, score.gap, score.clip)
        cells = ["" if value is None else f"{value:.4f}" for value in found]
        rows.append(f"| {score.frame} | {score.state} | {' | '.join(cells)} |")
    if len(failed) > MOST_ROWS:
        rows.append(f"\n{len(failed) - MOST_ROWS} more failing frames are in iou.csv.")
    return rows


def summary_md(result: Result) -> str:
    """Return the summary: the verdict's sentence first, and what limits its worth right under it."""
    how = f"{result.how['original']} against {result.how['generated']}"
    if "description" in result.how:
        how += f", tracked by: {result.how['description']}"
    lines = [f"## {result.sentence}", "", how, "", *(f"- {line}" for line in result.limits())]
    if not result.scores:
        return "\n".join([*lines, ""])
    verdict = result.verdict
    spread = (
        f"Recall at {result.threshold:g}: {verdict.recall:.4f}; decay: {verdict.decay:+.4f}; "
        f"J&F over all frames: {verdict.j_and_f:.4f}"
    )
    return "\n".join([*lines, "", *_figures(result), "", spread, *_failures(result), ""])


_TEXTS: dict[str, Callable[[Result], str]] = {
    JSON: to_json,
    CSV: to_csv,
    JUNIT: junit_xml,
    SUMMARY: summary_md,
}


def write_texts(folder: Path, result: Result, formats: frozenset[str]) -> None:
    """Write the chosen text files."""
    for name, make in _TEXTS.items():
        if name in formats:
            write_text(folder / FILES[name], make(result))


def remove_reports(folder: Path) -> None:
    """Remove the files of an earlier evaluation; StorageError where the folder cannot be written."""
    check_way(folder)
    with storage_errors(folder):
        for name in FILES.values():
            (folder / name).unlink(missing_ok=True)
