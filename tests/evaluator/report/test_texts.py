"""The reports of a real evaluation: what each file says, and which are written."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from click.testing import Result

from handoff.run import Run
from handoff.video import probe
from tests.evaluator.helpers import FRAMES, REPORTS, read_report

Command = Callable[..., Result]


def test_every_report_says_the_same(gate: Command, report: Path, run: Run) -> None:
    result = gate("--threshold", "0.97")
    data = read_report(report)
    assert {path.name for path in report.iterdir()} == REPORTS
    assert data["schema"] == 3 and [each["frame"] for each in data["frames"]] == list(range(FRAMES))
    failed = [each["frame"] for each in data["frames"] if not each["passed"]]
    assert failed == [each["frame"] for each in data["frames"] if each["iou"] <= 0.97]
    assert result.return_value == (1 if failed else 0) and data["summary"]["passed"] == (not failed)
    assert data["summary"]["failed"] == len(failed)

    rows = list(csv.DictReader((report / "iou.csv").read_text().splitlines()))
    assert [float(row["iou"]) for row in rows] == [each["iou"] for each in data["frames"]]
    assert [float(row["boundary_f"]) for row in rows] == [each["boundary_f"] for each in data["frames"]]

    verdict, suite = ET.parse(report / "junit.xml").getroot().iter("testsuite")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == (str(FRAMES), str(len(failed)), "0")
    cases = {case.get("name"): case.find("failure") is not None for case in suite.iter("testcase")}
    assert cases == {f"frame {index:04d}": index in failed for index in range(FRAMES)}
    assert [case.get("name") for case in verdict.iter("testcase")] == ["original mask", "iou", "replaced"]

    text = (report / "summary.md").read_text()
    assert f"{data['summary']['mean']:.4f}" in text and "embedded tracker" in text and "Original mask" in text

    sentence = data["verdict"]["sentence"]
    assert text.splitlines()[0] == f"## {sentence}" and sentence in result.output.splitlines()
    assert verdict[0][0].get("value") == sentence == (verdict.findtext("system-out") or "").splitlines()[0]
    assert list(data)[:2] == ["schema", "verdict"] and data["verdict"]["passed"] == (not failed)
    assert [each["frames"] for each in data["verdict"]["reasons"]] == ([failed] if failed else [])

    chart = cv2.imread(str(report / "iou.png"))
    assert chart.shape[1] == 1200 and len(np.unique(chart)) > 50
    info = probe(report / "overlay.mp4")
    assert (info.frames, info.width, info.fps) == (FRAMES, 320, run.info.fps)


def test_format_picks_and_removes_what_an_earlier_evaluation_left(gate: Command, report: Path) -> None:
    gate()
    gate("--format", "junit", "--format", "summary")
    assert {path.name for path in report.iterdir()} == {"iou.json", "junit.xml", "summary.md"}
