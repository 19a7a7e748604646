"""A stage is skipped when nothing has changed, done again when anything has, and never half recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.errors import InputError, UsageError
from handoff.files import atomic_dir, atomic_file, sha256_tree
from handoff.ingest import ingest
from handoff.run import Run, run_stage
from tests.helpers import moving_square, write_clip


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return ingest(write_clip(tmp_path / "in.mp4", moving_square(4)), tmp_path / "run")


def work(run: Run, *, text: str = "result", fail: bool = False, **changes: object) -> bool:
    """Do a small stage; return whether it had work."""
    settings = {"params": {"a": 1}, "inputs": [run.source], "tools": {"tool": "1"}} | changes
    with run_stage(run, "posegen", **settings) as stage:
        if stage.unchanged:
            return False
        (run.dir / "out.txt").write_text(text)
        (run.dir / "folder").mkdir(exist_ok=True)
        (run.dir / "folder" / "a.txt").write_text(text)
        if fail:
            raise ZeroDivisionError
        stage.add_output(run.dir / "out.txt")
        stage.add_output(run.dir / "folder")
        stage.note("figure", 3)
    return True


def test_the_second_time_there_is_nothing_to_do(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert work(run)
    manifest = (run.dir / "run.json").read_bytes()
    assert not work(run)
    assert "nothing to do" in capsys.readouterr().out
    assert (run.dir / "run.json").read_bytes() == manifest


def test_every_output_is_listed_with_its_digest(run: Run) -> None:
    work(run)
    stage = json.loads((run.dir / "run.json").read_text())["stages"]["posegen"]
    assert [each["path"] for each in stage["outputs"]] == ["out.txt", "folder"]
    assert stage["outputs"][1]["sha256"] == sha256_tree(run.dir / "folder")
    assert stage["notes"] == {"figure": 3}


def test_a_folders_digest_is_what_sha256sum_gives(run: Run) -> None:
    work(run)
    command = "sha256sum * | sha256sum"
    shell = subprocess.run(["sh", "-c", command], cwd=run.dir / "folder", capture_output=True, text=True, check=True)
    assert shell.stdout.split()[0] == sha256_tree(run.dir / "folder")


@pytest.mark.parametrize("changes", [{"params": {"a": 2}}, {"tools": {"tool": "2"}}, {"force": True}])
def test_another_parameter_tool_or_force_does_it_again(run: Run, changes: dict[str, object]) -> None:
    work(run)
    assert work(run, **changes)


def test_a_changed_input_a_changed_output_or_a_lost_output_does_it_again(run: Run) -> None:
    extra = run.dir / "extra.txt"
    extra.write_text("1")
    inputs = [run.source, extra]
    assert work(run, inputs=inputs)
    extra.write_text("2")
    assert work(run, inputs=inputs)
    (run.dir / "folder" / "a.txt").write_text("damaged")
    assert work(run, inputs=inputs)
    (run.dir / "out.txt").unlink()
    assert work(run, inputs=inputs)
    assert not work(run, inputs=inputs)


def test_a_stage_that_fails_is_not_recorded(run: Run) -> None:
    with pytest.raises(ZeroDivisionError):
        work(run, fail=True)
    assert "posegen" not in Run.open(run.dir).manifest["stages"]
    assert work(run)


def test_another_source_under_the_same_name_is_refused(run: Run, tmp_path: Path) -> None:
    run.source.write_bytes(write_clip(tmp_path / "other.mp4", moving_square(5)).read_bytes())
    with pytest.raises(InputError, match="not the clip this run was made from"):
        work(run)


def test_two_processes_cannot_work_on_one_run(run: Run) -> None:
    code = f"from handoff.run import lock_run; from pathlib import Path; lock_run(Path({str(run.dir)!r})).__enter__()"
    with run.lock():
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "another process is working on the run" in other.stderr
    with run.lock():
        pass


def test_what_a_killed_process_left_is_cleared_away(run: Run) -> None:
    (run.dir / ".mask.mp4.123.partial").write_text("half")
    (run.dir / ".mask.124.partial").mkdir()
    (run.dir / ".mask.124.partial" / "frame").write_text("half")
    with run.lock():
        pass
    assert not list(run.dir.glob(".*.partial"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', "not json"])
def test_a_manifest_that_cannot_be_read_is_an_input_error(run: Run, text: str) -> None:
    (run.dir / "run.json").write_text(text)
    with pytest.raises(InputError, match="extract the clip again"):
        Run.open(run.dir)


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run folder.*extract_physics.py -i CLIP"):
        Run.open(tmp_path)


def test_atomic_file_and_folder_replace_the_old_only_on_success(tmp_path: Path) -> None:
    file, folder = tmp_path / "f", tmp_path / "d"
    file.write_text("old")
    folder.mkdir()
    (folder / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(file) as partial, atomic_dir(folder) as half:
        partial.write_text("new")
        (half / "new").write_text("new")
        raise ZeroDivisionError
    assert file.read_text() == "old" and [each.name for each in folder.iterdir()] == ["old"]
    with atomic_file(file) as partial, atomic_dir(folder) as half:
        partial.write_text("new")
        (half / "new").write_text("new")
    assert file.read_text() == "new" and [each.name for each in folder.iterdir()] == ["new"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["d", "f"]


def test_usage_error_names_the_lock(run: Run) -> None:
    with run.lock(), pytest.raises(UsageError, match="wait until it ends"), run.lock():
        pass
