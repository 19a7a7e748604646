"""A stage is skipped when nothing has changed, done again when anything has, and never half recorded."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from handoff.errors import InputError
from handoff.files import sha256_file, sha256_tree
from handoff.ingest import ingest
from handoff.run import SCHEMA, Run, code_digest, run_stage
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


def test_a_reskin_has_its_work_recorded_in_its_own_folder(run: Run) -> None:
    before, reskin = (run.dir / "run.json").read_bytes(), run.reskin("drone")
    for had_work in (True, False):
        with run_stage(reskin, "reskin", params={}, inputs=[run.source], tools={}) as stage:
            assert stage.unchanged != had_work
            if had_work:
                (reskin.dir / "output.mp4").write_text("painted")
                stage.add_output(reskin.dir / "output.mp4")
    assert (run.dir / "run.json").read_bytes() == before
    manifest = json.loads((reskin.dir / "run.json").read_text())
    assert (manifest["schema"], manifest["kind"], manifest["name"]) == (SCHEMA, "reskin", "drone")
    (output,) = manifest["stages"]["reskin"]["outputs"]
    assert output["path"] == "reskins/drone/output.mp4"
    assert output["sha256"] == sha256_file(reskin.dir / "output.mp4")


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"schema": "two"}'])
def test_a_manifest_that_cannot_be_read_is_an_input_error(run: Run, text: str) -> None:
    (run.dir / "run.json").write_text(text)
    with pytest.raises(InputError, match="extract the clip again"):
        Run.open(run.dir)


def test_a_manifest_of_a_newer_version_is_refused(run: Run) -> None:
    reskin = run.reskin("drone")
    reskin.dir.mkdir(parents=True)
    (reskin.dir / "run.json").write_text('{"schema": 3}')
    with pytest.raises(InputError, match=rf"schema 3 and was written by a newer version.* reads up to {SCHEMA}; use"):
        run.reskin("drone")
    (run.dir / "run.json").write_text('{"schema": 3}')
    with pytest.raises(InputError, match=r"schema 3 and was written by a newer version.*extract the clip again\.$"):
        Run.open(run.dir)


def test_a_folder_without_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run folder.*extract_physics.py -i CLIP"):
        Run.open(tmp_path)


def test_a_reskin_is_told_from_its_run_by_its_manifest(run: Run, tmp_path: Path) -> None:
    reskin = run.reskin("drone")
    with reskin.lock():
        reskin.save()
    found = Run.containing(reskin.dir / "report" / "iou.json")
    assert found is not None and found.dir == run.dir.resolve()
    assert Run.containing(tmp_path / "in.mp4") is None
    with pytest.raises(InputError, match=f"is a reskin, not a run; name its run, {run.dir}"):
        Run.open(reskin.dir)


@pytest.fixture
def old(run: Run) -> Run:
    """The run as versions before this one left it: one run.json, with the records of its reskins."""
    manifest = json.loads((run.dir / "run.json").read_text()) | {"schema": 1}
    del manifest["kind"]
    for stage in ("reskin", "evaluator"):
        manifest["stages"][f"{stage}/drone"] = {"key": "of then", "outputs": [], "notes": {"by": stage}}
    run.path("reskins/drone").mkdir(parents=True)
    (run.dir / "run.json").write_text(json.dumps(manifest))
    return Run.open(run.dir)


def test_an_old_runs_reskin_is_done_again_and_keeps_the_record_that_is_not(old: Run) -> None:
    before, reskin = (old.dir / "run.json").read_bytes(), old.reskin("drone")
    with run_stage(reskin, "evaluator", params={}, inputs=[old.source], tools={}) as stage:
        assert not stage.unchanged
        stage.forget()
    stages = json.loads((reskin.dir / "run.json").read_text())["stages"]
    assert stages["reskin"]["notes"] == {"by": "reskin"} and stages["evaluator"]["key"] != "of then"
    assert (old.dir / "run.json").read_bytes() == before, "it holds the run shared, and so may not write there"


def test_extraction_writes_an_old_run_anew_and_gives_each_reskin_its_records(old: Run) -> None:
    assert work(old)
    manifest = json.loads((old.dir / "run.json").read_text())
    assert manifest["schema"] == SCHEMA and manifest["kind"] == "run"
    assert manifest["stages"].keys() == {"ingest", "posegen"}
    stages = Run.open(old.dir).reskin("drone").manifest["stages"]
    assert {stage: record["notes"]["by"] for stage, record in stages.items()} == {
        "reskin": "reskin",
        "evaluator": "evaluator",
    }


def test_a_changed_help_text_is_no_changed_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somestage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "commands.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_digest(["somestage"])
    (package / "commands.json").write_text('{"help": "other words"}')
    assert code_digest(["somestage"]) == before
    (package / "__init__.py").write_text("VALUE = 1\n")
    assert code_digest(["somestage"]) != before
