"""A verdict never stands beside a clip that it is not of, whenever a reskin that is made anew is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from handoff.errors import BusyError
from handoff.files import sha256_file, write_text
from handoff.run import Reskin, Run, run_stage
from reskin import stage
from reskin.cli import command
from reskin.jobs import Job
from reskin.painting import Joining
from reskin.plan import Plan
from reskin.windows import plan_overlapping
from tests.helpers import records
from tests.reskin.helpers import OneGray
from tests.steps import at_every_step

MakeRun = Callable[..., Run]


class Server:
    """In the place of `ComfyOrchestrator`; nothing is asked of it but whether it is there."""

    server = SimpleNamespace(version=lambda: "0.3")

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def check(self, *arguments: object) -> str:
        return "0.3"


class Itself:
    """In the place of `OneServer`: the painter is asked itself."""

    def __init__(self, painter: OneGray, *how: object) -> None:
        self.generate, self.resumed, self.painted = painter.generate, 0, dict[int, object]()

    def __enter__(self) -> Itself:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def paint(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Paints a run of four frames with the real command, each time in another gray, with no server."""
    run, grays = make_run(4), iter(range(40, 240, 40))

    def plan(*arguments: object) -> object:
        gray = next(grays)
        windows = plan_overlapping(4, 4, 0)
        return Plan(OneGray([gray], [gray]), [{}], windows, Joining(), "gray", {"gray": gray})  # type: ignore[arg-type]

    monkeypatch.setattr(stage, "ComfyOrchestrator", Server)
    monkeypatch.setattr(stage, "plan_painting", plan)
    monkeypatch.setattr(stage, "OneServer", Itself)

    def call(*options: str, prompt: str = "drone, samurai") -> Run:
        given = ["--run", str(run.dir), "--prompt", prompt, "--workflow", "draft", "--server", "127.0.0.1:1", *options]
        assert command.main(given, standalone_mode=False) == 0
        return run

    return call


def judge(own: Reskin) -> None:
    """Leave what an evaluation of the clip leaves, in report/ and in another folder; all of it names the clip."""
    clip = own.dir / "output.mp4"
    with run_stage(own, "evaluator", params={}, inputs=[clip], tools={}) as judged:
        for name in ("report/iou.json", "report/junit.xml", "again/iou.json", "pose.json", "detections.json"):
            write_text(own.dir / name, sha256_file(clip))
            judged.add_output(own.dir / name)
        judged.note("passed", True)


def check(own: Reskin) -> str:
    """Hold that nothing there is of another clip than the one that is there, and return that one's digest."""
    clip = sha256_file(own.dir / "output.mp4")
    for name in ("report/iou.json", "report/junit.xml", "again/iou.json", "pose.json", "detections.json"):
        path = own.dir / name
        assert not path.exists() or path.read_text() == clip, f"{name} is of another clip"
    recorded = json.loads((own.dir / "run.json").read_text())["stages"]
    if "evaluator" in recorded:
        judged = recorded["evaluator"]["inputs"][f"reskins/{own.name}/output.mp4"]
        assert judged == clip, "the verdict's record is of another clip"
    if (own.dir / "output.json").exists() and "reskin" in recorded:
        assert recorded["reskin"]["outputs"][0]["sha256"] == clip
    return clip


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        (("--force",), "drone, samurai"),
        (("--seed", "7"), "drone, samurai"),
        (("--name", "drone-samurai"), "kite, samurai"),
    ],
    ids=["--force", "another seed", "another prompt"],
)
def test_report_and_record_of_the_verdict_go_before_the_new_clip_stands_there(
    paint: Callable[..., Run], options: tuple[str, ...], prompt: str
) -> None:
    own = paint().reskin("drone-samurai")
    judge(own)
    old, seen = check(own), list[str]()
    with at_every_step(lambda: seen.append(check(own))):
        paint(*options, prompt=prompt)
    new = sha256_file(own.dir / "output.mp4")
    assert new != old and set(seen) == {old, new} and len(seen) > 20
    assert set(records(own.run.dir)) == {"ingest", "reskin/drone-samurai"}
    left = {path.name for path in own.dir.iterdir()}
    assert left == {".lock", "again", "output.json", "output.mp4", "run.json"}
    assert not list((own.dir / "again").iterdir())


def test_one_that_was_stopped_is_made_anew_without_the_verdict_that_was_made_meanwhile(
    paint: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(graph: object) -> str:
        raise LookupError("stopped")

    with monkeypatch.context() as patch, pytest.raises(LookupError):
        patch.setattr(stage, "graph_sha256", stopped)
        paint()
    own = Run.open(tmp_path / "run").reskin("drone-samurai")
    assert (own.dir / "output.mp4").exists() and "reskin" not in own.manifest["stages"]
    judge(own)
    old, seen = check(own), list[str]()
    with at_every_step(lambda: seen.append(check(own))):
        paint()
    assert set(seen) == {old, sha256_file(own.dir / "output.mp4")} and len(set(seen)) == 2
    assert "evaluator/drone-samurai" not in records(own.run.dir)


PAIRS = [("red, cat", "red cat"), ("red cat", "red, cat"), ("忍者", "侍"), ("C++ drone", "c drone"), ("Drone", "drone")]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_prompt_leaves_the_folder_of_another_one_alone(paint: Callable[..., Run], first: str, second: str) -> None:
    run = paint(prompt=first)
    (own,) = [run.reskin(path.name) for path in run.path("reskins").glob("[!.]*")]
    judge(own)
    before = check(own)
    paint(prompt=second)
    paint(prompt=first)  # nothing to do: each is found again
    paint(prompt=second)
    assert check(own) == before and f"evaluator/{own.name}" in records(run.dir)
    made = {record["params"]["prompt"] for name, record in records(run.dir).items() if name.startswith("reskin/")}
    assert made == {first, second} and len(list(run.path("reskins").glob("[!.]*"))) == 2


def test_a_folder_that_another_command_took_meanwhile_is_left_to_it(
    paint: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(jobs: list[Job], *rest: object) -> None:
        paint(prompt="red, cat")  # between the plan and the work
        queue(jobs, *rest)  # type: ignore[arg-type]

    queue = stage.run_queue
    with monkeypatch.context() as patch, pytest.raises(BusyError, match="reskins/red-cat was made of another prompt"):
        patch.setattr(stage, "run_queue", lambda *given: (patch.undo(), late(*given)))
        paint(prompt="red cat")
