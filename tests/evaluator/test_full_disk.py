"""No room for a report: exit code 3, one sentence, and nothing that says PASS. A limit on files' sizes stands in."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result

from evaluator.cli import command
from handoff.command import main
from handoff.run import Run
from tests.evaluator.helpers import REPORTS
from tests.helpers import records

Command = Callable[..., Result]


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Refuse what would make a file larger, as a full disk does (EFBIG in place of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", sorted(REPORTS | {"run.json"}))
def test_where_a_report_does_not_fit_there_is_no_report(
    gate: Command, run: Run, report: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--threshold", "0.5"]
    if name in ("iou.csv", "junit.xml", "summary.md"):  # else iou.json, which is larger, would be refused first
        options += ["--format", {"iou.csv": "csv", "junit.xml": "junit", "summary.md": "summary"}[name]]
    assert gate(*options).return_value == 0
    place = report.parent if name == "run.json" else report
    size = (place / name).stat().st_size
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(run.path("reskins/drone/output.mp4"))]
    with no_file_above(size // 2), pytest.raises(SystemExit) as end:
        main(command, [*files, *options, "--force"])
    said = capsys.readouterr()
    assert end.value.code == 3, said.err
    (sentence,) = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert "cannot write" in sentence and "Traceback" not in said.err
    assert not list(report.iterdir()) and "Gate: PASS" not in said.out
    assert "evaluator/drone" not in records(run.dir)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 0.999])
def test_an_overlay_that_does_not_fit_leaves_no_verdict_wherever_it_ends(
    gate: Command, run: Run, report: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--threshold", "0.5", "--format", "json", "--format", "overlay"]
    assert gate(*options).return_value == 0
    size = (report / "overlay.mp4").stat().st_size
    files = ["-original", str(run.path("mask.mp4")), "-generated", str(run.path("reskins/drone/output.mp4"))]
    with no_file_above(int(size * share)), pytest.raises(SystemExit) as end:
        main(command, [*files, *options, "--force", "--output", str(report)])
    said = capsys.readouterr()
    assert end.value.code == 3 and "overlay.mp4" in said.err and "Traceback" not in said.err, said.err
    assert not list(report.iterdir()) and "Gate: PASS" not in said.out
