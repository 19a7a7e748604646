"""evaluate_iou.py around its stages: which reskin, whose device, and when the skater is looked for again."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from handoff.files import remove_partials
from runner import evaluate as evaluating
from runner import runs
from runner.process import RunnerError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run by the embedded tracker with a skeleton and one reskin, as a CI artifact has it: no hidden files."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "x"
    (folder / "reskins" / "drone").mkdir(parents=True)
    for name in ("mask.mp4", "pose.json", "reskins/drone/output.mp4"):
        (folder / name).write_text(name)
    manifest(folder, tracker="embedded", pose="embedded")
    return folder


def manifest(folder: Path, tracker: str, pose: str, inputs: dict[str, str] | None = None) -> None:
    stages: dict[str, Any] = {
        "tracker": {"params": {"backend": tracker}},
        "posegen": {"params": {"backend": pose}, "tools": {"name": "RTMW-l"}},
    }
    (folder / "run.json").write_text(json.dumps({"stages": stages}))
    judged = {"kind": "reskin", "stages": {"evaluator": {"inputs": inputs or {}}}}
    (folder / "reskins" / "drone" / "run.json").write_text(json.dumps(judged))


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, in order: each stage with its arguments; the pose stage writes its file."""
    seen: list[list[str]] = []

    def record(stage: str, arguments: list[str], *, reads: Sequence[Path] = (), writes: list[Path]) -> int:
        seen.append([stage, *arguments])
        if stage == "posegen":
            scratch = Path(arguments[arguments.index("--run") + 1])
            (scratch / "pose.json").write_text("found again")
        return 0

    monkeypatch.setattr(evaluating, "start_stage", record)
    return seen


def values(stage: list[str], option: str) -> str | None:
    return stage[stage.index(option) + 1] if option in stage else None


def test_without_its_hidden_file_the_only_reskin_is_the_newest(
    run: Path, stages: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluating.evaluate(["--run", "x"]) == 0
    assert values(stages[-1], "-generated") == str(run / "reskins" / "drone" / "output.mp4")
    assert "reskin: drone (the only one;" in capsys.readouterr().out


def test_of_several_reskins_it_is_the_one_with_the_newest_output_unless_the_hidden_file_names_another(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, age_s in (("cat", 50), ("zebra", 100)):
        output = run / "reskins" / name / "output.mp4"
        output.parent.mkdir()
        output.write_text("")
        os.utime(output, (1e9 - age_s, 1e9 - age_s))
    os.utime(run / "reskins" / "drone" / "output.mp4", (1e9 - 75, 1e9 - 75))
    (run / "reskins" / "unfinished").mkdir()
    assert runs.newest_reskin(run) == "reskins/cat"
    assert "reskin: cat (the newest of 3 by the time of output.mp4;" in capsys.readouterr().out
    runs.remember(run / "reskins" / "zebra")
    assert runs.newest_reskin(run) == "reskins/zebra" and not capsys.readouterr().out
    for path in run.glob("reskins/*/output.mp4"):
        path.unlink()
    (run / "reskins" / ".latest").unlink()
    with pytest.raises(RunnerError, match="has no reskin yet"):
        runs.newest_reskin(run)


@pytest.mark.parametrize("tracker", ["embedded", "sam2"])
def test_a_device_reaches_the_evaluator_which_knows_the_runs_tracker_and_the_pose_network(
    run: Path, stages: list[list[str]], tracker: str
) -> None:
    manifest(run, tracker=tracker, pose="rtmw")
    assert evaluating.evaluate(["--run", "x", "--device", "cuda"]) == 0
    assert {stage[0]: values(stage, "--device") for stage in stages} == {"evaluator": "cuda", "posegen": "cuda"}


def test_where_no_file_is_named_it_first_says_which_ones_it_takes(
    run: Path, stages: list[list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    record = evaluating.start_stage

    def after(*arguments: Any, **more: Any) -> int:
        said.append(capsys.readouterr().out)
        return record(*arguments, **more)

    monkeypatch.setattr(evaluating, "start_stage", after)
    runs.remember(run)
    runs.remember(run / "reskins" / "drone")
    assert evaluating.evaluate(["--no-pose"]) == 0
    generated = run / "reskins" / "drone" / "output.mp4"
    assert said == [f"original: {run / 'mask.mp4'} (the newest run, x)\ngenerated: {generated} (the newest run, x)\n"]
    assert values(stages[-1], "-original") == str(run / "mask.mp4")
    assert values(stages[-1], "-generated") == str(generated)
    assert evaluating.evaluate(["--run", "x", "--no-pose", "-original", "mask.mp4"]) == 0
    assert said[1] == f"mask.mp4: {run / 'mask.mp4'}\ngenerated: {generated} (run x)\n"
    assert evaluating.evaluate(["-original", str(run / "mask.mp4"), "-generated", str(generated), "--no-pose"]) == 0
    assert said[2] == ""


def test_where_no_run_was_made_yet_a_bare_command_says_how_to_make_one(
    tmp_path: Path, stages: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunnerError, match=r"there is no run in .* yet; make one with extract_physics"):
        evaluating.evaluate([])
    assert stages == []


@pytest.mark.parametrize("error", [RunnerError("pip cannot reach its index"), OSError(28, "No space left on device")])
def test_an_environment_that_cannot_be_made_for_the_skeleton_does_not_stop_the_gate(
    run: Path,
    stages: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    record = evaluating.start_stage

    def broken(stage: str, arguments: list[str], **shown: Any) -> int:
        if stage == "posegen":
            raise error
        return record(stage, arguments, **shown)

    monkeypatch.setattr(evaluating, "start_stage", broken)
    assert evaluating.evaluate(["--run", "x"]) == 0
    assert stages[-1][0] == "evaluator" and "--generated-pose" not in stages[-1] and "--check" not in stages[-1]
    said = capsys.readouterr().err
    assert f"warning: {error}" in said and "the skater's figures will be missing" in said


def test_the_skater_is_looked_for_again_where_the_runs_own_skeleton_is_another_one(
    run: Path, stages: list[list[str]]
) -> None:
    def evaluated() -> list[str]:
        stages.clear()
        assert evaluating.evaluate(["--run", "x"]) == 0
        return [stage[0] for stage in stages]

    assert evaluated() == ["evaluator", "posegen", "evaluator"], "checked, found, evaluated"
    inputs = {name: runs.sha256(run / name) for name in ("pose.json", "reskins/drone/output.mp4")}
    inputs["reskins/drone/pose.json"] = runs.sha256(run / "reskins" / "drone" / "pose.json")
    manifest(run, tracker="embedded", pose="embedded", inputs=inputs)
    assert evaluated() == ["evaluator"]
    (run / "pose.json").write_text("made anew with another model")
    assert evaluated() == ["evaluator", "posegen", "evaluator"]


def test_what_a_detector_saw_in_the_clip_stays_beside_it_and_goes_to_the_gate(
    run: Path, stages: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is cleared away where no detector was asked the next time."""
    record, seen = evaluating.start_stage, run / "reskins" / "drone" / "detections.json"

    def looking(stage: str, arguments: list[str], **shown: Any) -> int:
        if stage == "posegen":
            (Path(arguments[arguments.index("--run") + 1]) / "detections.json").write_text("a skateboard")
        return record(stage, arguments, **shown)

    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "start_stage", looking)
        assert evaluating.evaluate(["--run", "x"]) == 0
    assert values(stages[-1], "--generated-detections") == str(seen) and seen.read_text() == "a skateboard"
    names = ("pose.json", "reskins/drone/output.mp4", "reskins/drone/pose.json", "reskins/drone/detections.json")
    manifest(run, tracker="embedded", pose="embedded", inputs={name: runs.sha256(run / name) for name in names})
    stages.clear()
    assert evaluating.evaluate(["--run", "x"]) == 0
    assert [stage[0] for stage in stages] == ["evaluator"]
    assert values(stages[-1], "--generated-detections") == str(seen)
    seen.write_text("of another clip")
    assert evaluating.evaluate(["--run", "x"]) == 0
    assert not seen.exists() and "--generated-detections" not in stages[-1] and "--generated-pose" in stages[-1]


@pytest.mark.parametrize("name", ["pose.json", "detections.json"])
def test_what_was_found_in_the_clip_is_no_link_out_of_the_run(
    run: Path, stages: list[list[str]], tmp_path: Path, name: str
) -> None:
    (tmp_path / "private").write_text("of somebody")
    (run / "reskins" / "drone" / name).symlink_to(tmp_path / "private")
    with pytest.raises(RunnerError, match=rf"reskins/drone/{name} is a link") as refused:
        evaluating.evaluate(["--run", "x"])
    assert refused.value.exit_code == 2 and stages == []
    assert (tmp_path / "private").read_text() == "of somebody"


def test_without_a_skeleton_of_the_source_nobody_is_looked_for(run: Path, stages: list[list[str]]) -> None:
    (run / "pose.json").unlink()
    assert evaluating.evaluate(["--run", "x"]) == 0
    assert [stage[0] for stage in stages] == ["evaluator"] and "--generated-pose" not in stages[0]


def test_while_a_skeleton_is_looked_for_nobody_clears_away_its_folder(
    run: Path, stages: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command tidies up in the middle; what is left of a killed one goes, what is in use stays."""
    left = run / "reskins" / "drone" / ".pose.0a.partial"
    left.mkdir()

    record = evaluating.start_stage

    def tidied(stage: str, arguments: list[str], **shown: Any) -> int:
        if stage != "posegen":
            return record(stage, arguments, **shown)
        remove_partials(run)
        (Path(arguments[arguments.index("--run") + 1]) / "pose.json").write_text("found again")
        return 0

    monkeypatch.setattr(evaluating, "start_stage", tidied)
    assert evaluating.evaluate(["--run", "x"]) == 0
    assert "--generated-pose" in stages[-1]
    assert (run / "reskins" / "drone" / "pose.json").read_text() == "found again"
    assert not list(run.rglob("*.partial"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "null",
        "[" * 100_000,
        '{"stages": []}',
        '{"stages": {"evaluator": []}}',
        "\xff",
        '{"stages": {"evaluator": {"inputs": 1}}}',
    ],
)
def test_a_run_json_that_is_none_says_nothing_here_and_is_refused_by_its_stage(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    assert runs.run_of(tmp_path / "mask.mp4") == tmp_path
    assert evaluating._known(tmp_path) == {}
    assert runs.stages_of(tmp_path) in ([], ["evaluator"])


def test_a_run_json_that_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    assert runs.read_manifest(tmp_path / "run.json") is None
    assert runs.read_manifest(Path("/dev/zero")) is None
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(runs.LARGEST + 1)
    assert runs.read_manifest(tmp_path / "large.json") is None


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/", "x\0y", "x" * 300, "\udcff", "x\n\n", "\x1b[2Jx"])
def test_a_pointer_that_names_no_folder_beside_it_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "runs" / "own").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "runs" / ".latest").write_bytes(os.fsencode(name))
    assert runs.newest(tmp_path / "runs") is None
