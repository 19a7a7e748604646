"""What the root commands themselves do with a stranger's run, before and after a stage: every name, every kind."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from runner import commands, evaluate, reskin, runs
from runner.process import RunnerError
from tests.product.oddities import Oddity, make_outside, seen

FILES = (
    *("run.json", "source.mp4", "mask.mp4", "pose.json", "comfyui.log", ".lock"),
    *(".windows/x", "reskins/.latest", "reskins/drone/run.json", "reskins/drone/output.mp4", "reskins/drone/.lock"),
    *("reskins/drone/pose.json", "reskins/drone/output.json", "reskins/drone/report/iou.json"),
    *("reskins/drone/.pose.0a.partial/.lock", "reskins/drone/.pose.0a.partial/pose/pose.json"),
    "reskins/kite/output.mp4",
)
KINDS = ("link", "folder", "pipe", "socket", "empty", "deep", "many", "hard link", "gone", "sparse")
TARGETS = ("thesis.tex", "folder", "nothing", "itself", "/dev/zero", "..")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two reskins, and what a killed command left in one; no stage is started, each has done its work."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "data" / "runs" / "x"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "run.json").write_text('{"kind": "run", "stages": {}}')
    known = {name: runs.sha256(folder / name) for name in ("reskins/drone/output.mp4", "reskins/drone/pose.json")}
    record = {"kind": "reskin", "stages": {"evaluator": {"inputs": known}}}
    (folder / "reskins" / "drone" / "run.json").write_text(str(record).replace("'", '"'))
    (folder / "reskins" / ".latest").write_text("drone\n")
    runs.remember(folder)

    def start(stage: str, arguments: Sequence[str], **_more: object) -> int:
        if stage == "posegen":
            Path(arguments[arguments.index("--run") + 1], "pose.json").write_text("{}")
        return 0

    monkeypatch.setattr(evaluate, "start_stage", start)
    monkeypatch.setattr(reskin, "start_stage", start)
    return folder


def places(run: Path) -> list[str]:
    return sorted(str(each.relative_to(run)) for each in run.rglob("*"))


def refuses_or_does(command: str, *arguments: object) -> None:
    """Have a root command do its own part; it may refuse with 2 or 3, and nothing else may come of it."""
    does = {"evaluate": evaluate.evaluate, "reskin": reskin.reskin}[command]
    with pytest.raises(SystemExit) as ended:
        commands.run(lambda _: does([str(each) for each in arguments]))
    assert ended.value.code in (0, 2, 3), (command, arguments)


@pytest.mark.parametrize("kind", KINDS)
def test_at_every_name_of_a_run_anything_may_stand(run: Path, tmp_path: Path, kind: str) -> None:
    outside, whole = tmp_path / "outside", tmp_path / "whole"
    make_outside(outside)
    shutil.copytree(run, whole)
    for place in places(whole):
        for value in TARGETS if kind == "link" else (33,):
            shutil.rmtree(run)
            shutil.copytree(whole, run)
            Oddity(place, kind, value).apply(run, outside)
            before = seen(outside)
            for named in (
                ("--run", run),
                ("-original", run / "mask.mp4", "-generated", run / "reskins/drone/output.mp4"),
                (),
            ):
                refuses_or_does("evaluate", *named)
                assert seen(outside) == before, (place, value, named)
            refuses_or_does("reskin", "--run", run, "--prompt", "drone", "--server", "127.0.0.1:1")
            assert seen(outside) == before, (place, value)


def test_a_folder_that_becomes_a_link_while_the_skater_is_looked_for_is_not_written_through(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    make_outside(outside)
    (outside / "folder" / "pose.json").write_text("precious")
    before = seen(outside)
    found = evaluate.start_stage

    def swap(stage: str, arguments: Sequence[str], **more: object) -> int:
        if stage == "posegen":
            assert not Path(arguments[arguments.index("--run") + 1]).is_relative_to(run), "the run is a stranger's"
            (run / "reskins" / "drone").rename(tmp_path / "moved")
            (run / "reskins" / "drone").symlink_to(outside / "folder")
        return found(stage, arguments, **more)

    monkeypatch.setattr(evaluate, "start_stage", swap)
    refuses_or_does("evaluate", "--run", run, "--force")
    assert "the skater's figures will be missing" in capsys.readouterr().err
    assert seen(outside) == before and not (outside / "folder" / "pose.json").is_symlink()
    assert not list((tmp_path / "data").rglob("*.partial/pose"))


@pytest.mark.parametrize("target", ["thesis.tex", "folder"])
def test_a_link_that_is_put_there_after_the_look_is_not_followed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    """Whoever writes in the run at that moment is quicker than the look; the opening is one of its own."""
    outside = tmp_path / "outside"
    make_outside(outside)
    before = seen(outside)
    names = ("run.json", "pose.json", "reskins/drone/run.json", "reskins/.latest", "reskins/drone")
    for name in names:
        kept = tmp_path / "kept"
        (run / name).rename(kept)
        (run / name).symlink_to(outside / target)
        monkeypatch.setattr(runs, "check_way", lambda path: None)
        path = run / name / "output.mp4" if name == "reskins/drone" else run / name
        assert runs.read_manifest(path) is None and runs.newest(run / "reskins", run) != outside
        if name != "reskins/.latest":
            with pytest.raises(RunnerError, match=r"cannot be read|cannot write"):
                runs.sha256(path) if name != "reskins/drone" else runs.new_file(path)
        with contextlib.suppress(OSError):
            runs.put_file(run / "source.mp4", path, run)
        assert seen(outside) == before, name
        (run / name).unlink()
        kept.rename(run / name)


def test_a_name_that_would_begin_a_line_of_its_own_or_steer_the_terminal_is_no_reskins(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = ("x\n::error::Gate: PASS", "\x1b[2Jx", "x\r")
    for name in odd:
        shutil.copytree(run / "reskins" / "kite", run / "reskins" / name)
    (run / "reskins" / ".latest").write_text(odd[1])
    shutil.rmtree(run / "reskins" / "drone")
    assert runs.newest_reskin(run) == "reskins/kite"
    assert capsys.readouterr().out.startswith("reskin: kite (the only one;")
    shutil.rmtree(run / "reskins" / "kite")
    with pytest.raises(RunnerError, match="has no reskin yet"):
        runs.newest_reskin(run)
    for name in odd:
        with pytest.raises(RunnerError, match="control characters") as told:
            evaluate.evaluate(["-original", str(run / "mask.mp4"), "-generated", f"{run}/reskins/{name}/output.mp4"])
        assert told.value.exit_code == 2 and "\n" not in str(told.value) and "\x1b" not in str(told.value)
