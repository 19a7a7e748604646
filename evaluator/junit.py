"""junit.xml: one case a frame, so that any CI server shows the frames that fail."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from evaluator.gate import FrameScore
from evaluator.result import Result


def _why(score: FrameScore, threshold: float) -> str:
    parts = [f"leak {score.leak:.3f}", f"gap {score.gap:.3f}", f"boundary F {score.boundary_f:.3f}"]
    if score.drift_px is not None:
        parts.append(f"drift {score.drift_px:.1f} px")
    if score.floor_iou is not None:
        parts.append(f"noise floor {score.floor_iou:.4f}")
    return f"IoU {score.iou:.4f} is not above {threshold:g}: " + ", ".join(parts)


def junit_xml(result: Result) -> str:
    """Return the report in the JUnit form that Jenkins, GitLab and GitHub's reporters read.

    An evaluation that was cut short has one more case, an error that says so. What limits the verdict's worth stands
    in the suite's output.
    """
    failed = sum(not score.passed for score in result.scores)
    cut = 0 if result.complete else 1
    counts = {"tests": len(result.scores) + cut, "failures": failed, "errors": cut, "skipped": 0}
    suite = ET.Element("testsuite", {"name": "gate"} | {key: str(value) for key, value in counts.items()})
    for score in result.scores:
        case = ET.SubElement(suite, "testcase", classname="gate", name=f"frame {score.frame:04d}", time="0")
        if not score.passed:
            why = _why(score, result.threshold)
            ET.SubElement(case, "failure", message=why, type="IoU").text = why
    if cut:
        case = ET.SubElement(suite, "testcase", classname="gate", name="every frame scored", time="0")
        ET.SubElement(case, "error", message=result.lines()[-1], type="CutShort")
    ET.SubElement(suite, "system-out").text = "\n".join(result.limits())
    root = ET.Element("testsuites", {"name": "gate"} | {key: str(value) for key, value in counts.items()})
    root.append(suite)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
