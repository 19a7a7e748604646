"""The root commands: which run, which file, which Python; what is missing is said in one sentence."""

from __future__ import annotations

import fcntl
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from runner import extract as extracting
from runner import runs
from runner.process import ROOT, RunnerError


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_run(data: Path, name: str, *files: str) -> Path:
    folder = data / "runs" / name
    for file in ("run.json", *files):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{}")
    runs.remember(folder)
    return folder


def test_a_run_is_named_after_its_clip() -> None:
    assert runs.name_for(Path("/a/My clip (1).MP4")) == "My-clip-1"
    assert runs.name_for(Path("...mp4")) == "clip"


def test_clips_in_another_script_have_a_run_each() -> None:
    names = [
        runs.name_for(Path(f"{stem}.mp4")) for stem in ("忍者", "侍", "Ollie 忍者", "Ollie", "clip", "скейт", "🛹")
    ]
    assert len(set(names)) == len(names) and names[3:5] == ["Ollie", "clip"]
    assert all(re.fullmatch(r"(clip|Ollie)(-[0-9a-f]{8})?", name) for name in names)


@pytest.mark.parametrize("name", [".", "..", "", " ", " a", "a ", ".hidden", "a\nb", "a/\x07", "\udcff", "a/\udcff"])
def test_a_name_that_no_run_can_have_is_refused(name: str) -> None:
    with pytest.raises(RunnerError, match=r"cannot be the name of a run|control characters") as told:
        runs.run_folder(name)
    assert told.value.exit_code == 2


@pytest.mark.parametrize("name", ["con", "a b", "忍者", "v1.2", "x" * 255, "侍" * 85])
def test_any_other_is_kept_and_found_again(name: str, data: Path) -> None:
    folder = runs.run_folder(name)
    assert folder == data / "runs" / name
    folder.mkdir(parents=True)
    runs.remember(folder)
    assert runs.newest_run() == folder


LONG = ["x" * 256, "x" * 300, "侍" * 100, "here/" + "x" * 300 + "/run", "a/" * 2000 + "run"]


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize(
    "arguments",
    [
        ("extract_physics.py", "-i", "clip.mp4", "--run"),
        ("extract_physics.py", "-i"),
        ("generate_reskin.py", "--prompt", "a", "--run"),
        ("generate_reskin.py", "--prompt", "a", "--mask"),
        ("evaluate_iou.py", "--run"),
        ("evaluate_iou.py", "--output"),
        ("extract_tracking.py", "--video", "clip.mp4", "--output"),
        ("runner/tools.py", "frame", "-i", "clip.mp4", "-o"),
        ("runner/tools.py", "frame", "--run"),
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
def test_a_name_that_is_too_long_is_refused_before_any_work(
    arguments: tuple[str, ...],
    name: str,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (data / "clip.mp4").write_text("")
    program, *given = arguments
    monkeypatch.setattr(sys, "argv", [program, *given, name])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / program), run_name="__main__")
    said = capsys.readouterr().err
    assert end.value.code == 2 and re.fullmatch(
        r"error: the (name|path) '.*' has \d+ bytes, .* give a shorter one\.\n", said
    )
    assert [path.name for path in data.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("variable", ["DATA_DIR", "MODELS_DIR"])
def test_so_is_that_of_a_folder_in_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "x" * 300)
    with pytest.raises(RunnerError, match="has 300 bytes") as told:
        runs.models_dir()
    assert told.value.exit_code == 2


def test_a_name_is_a_run_in_the_data_folder_and_a_path_is_itself(data: Path) -> None:
    assert runs.run_folder("ollie") == data / "runs" / "ollie"
    assert runs.run_folder("here/ollie") == Path("here/ollie")
    with pytest.raises(RunnerError):
        runs.run_folder(".latest")


def test_a_bare_file_name_means_the_newest_run_unless_the_file_is_here(data: Path) -> None:
    make_run(data, "old", "mask.mp4")
    new = make_run(data, "new", "mask.mp4")
    assert runs.find("mask.mp4", None) == new / "mask.mp4"
    assert runs.find("mask.mp4", data / "runs" / "old") == data / "runs" / "old" / "mask.mp4"
    (data / "mask.mp4").write_text("mine")
    assert runs.find("mask.mp4", None) == Path("mask.mp4")


@pytest.mark.parametrize("said", ["..", ".", "", "../../etc", "/etc", "new/../../..", "\xff\xfe", "a\nb", "new/"])
def test_what_says_which_is_the_newest_names_a_folder_beside_it_or_none(data: Path, said: str) -> None:
    new = make_run(data, "new", "mask.mp4")
    assert runs.newest(data / "runs") == new
    (data / "runs" / ".latest").write_text(said, encoding="latin-1")
    assert runs.newest(data / "runs") in (None, new)


def test_the_run_of_a_file_is_the_folder_with_the_manifest(data: Path) -> None:
    folder = make_run(data, "a", "reskins/x/output.mp4")
    output = folder / "reskins" / "x" / "output.mp4"
    assert runs.run_of(output) == folder
    output.with_name("run.json").write_text('{"kind": "reskin"}')
    assert runs.run_of(output) == folder, "a reskin has a manifest, and is no run"
    assert runs.run_of(data / "elsewhere.mp4") is None


def test_without_any_run_the_command_to_begin_with_is_named() -> None:
    with pytest.raises(RunnerError, match=r"no run in .* yet; make one with extract_physics\.py"):
        runs.newest_run()


def call(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, env=os.environ | environment
    )


def test_a_mask_outside_any_run_is_refused_by_reskin(data: Path) -> None:
    (data / "mask.mp4").write_text("")
    (data / "pose.json").write_text("")
    done = call(str(ROOT / "generate_reskin.py"), "--prompt", "a", "--mask", "mask.mp4", "--pose", "pose.json")
    assert done.returncode == 2 and "not in a run folder" in done.stderr


def test_make_alone_lists_the_targets_and_a_missing_variable_is_named() -> None:
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in (
        "demo",
        "extract",
        "reskin",
        "evaluate",
        "pipeline",
        "test",
        "lint",
        "frame",
        "build",
        "up",
        "down",
        "bench-tracker",
        "bench-witness",
    ):
        assert f"make {target}" in listing
    for target, variable in (("extract", "VIDEO=clip.mp4"), ("frame", "VIDEO=clip.mp4"), ("reskin", "PROMPT=")):
        done = subprocess.run(["make", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2 and variable in done.stderr


def test_the_runner_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, runner.demo, runner.tools, runner.locks; print({m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(eval(done.stdout))
    assert not {name for name in loaded if name not in sys.stdlib_module_names and name not in ("runner", "__main__")}


@pytest.fixture
def stages(data: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What extract runs, in order: each stage with its arguments."""
    seen: list[list[str]] = []

    def record(stage: str, arguments: list[str], *, writes: list[Path]) -> int:
        assert writes == [data / "runs" / "x"]  # what a container may write
        seen.append([stage, *arguments])
        return 0

    monkeypatch.setattr(extracting, "ensure_env", lambda stage: Path(stage))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("SELECTOR_PYTHON", "")
    monkeypatch.setattr(extracting, "start_stage", record)
    return seen


@pytest.fixture
def run(data: Path) -> list[str]:
    folder = data / "runs" / "x"
    folder.mkdir(parents=True)
    (data / "x.mp4").write_text("")
    return ["--run", str(folder)]


def test_extract_passes_the_trackers_options_on_and_draws_a_box_only_once(
    run: list[str], stages: list[list[str]]
) -> None:
    rest = ["--model", "tiny", "--correct", "9:1,2,3,4"]
    assert extracting.extract(["-i", "x.mp4", "--select", "--frame", "7", *rest]) == 0
    assert os.environ["SELECTOR_PYTHON"] == "selector"
    assert stages == [
        ["tracker", "-i", "x.mp4", *run, "--select", "--frame", "7", *rest, "--check"],
        ["posegen", *run],
        ["tracker", *run, "--frame", "7", *rest],
    ]
    stages.clear()
    assert extracting.extract(["-i", "x.mp4", "--point", "5,6"]) == 0
    assert stages[0] == ["tracker", "-i", "x.mp4", *run, "--point", "5,6", "--check"]


def test_without_a_box_the_object_is_looked_for_before_anything_long(run: list[str], stages: list[list[str]]) -> None:
    assert extracting.extract(["-i", "x.mp4"]) == 0
    assert stages == [
        ["posegen", "-i", "x.mp4", *run, "--prompt-only"],
        ["tracker", *run, "--check"],
        ["posegen", *run],
        ["tracker", *run],
    ]


def test_force_detects_only_once(run: list[str], stages: list[list[str]]) -> None:
    assert extracting.extract(["-i", "x.mp4", "--force"]) == 0
    assert [stage for stage in stages if "--force" in stage and "--keep-detections" not in stage] == [
        ["posegen", "-i", "x.mp4", *run, "--force", "--prompt-only"],
        ["tracker", *run, "--force"],
    ]
    assert ["posegen", *run, "--force", "--keep-detections"] in stages


def test_every_option_reaches_its_own_stage(run: list[str], stages: list[list[str]]) -> None:
    ours = ["--object", "surfboard", "--person", "4:10,20", "--every", "3", "--detector", "s", "--smooth", "none"]
    given = [*ours, "--pose-backend", "rtmw", "--pose-model", "rtmw-m", "--draw", "openpose"]
    assert extracting.extract(["-i", "x.mp4", *given, "--backend", "sam2", "--model", "tiny", "--device", "cpu"]) == 0
    pose = {part for stage in stages if stage[0] == "posegen" for part in stage[1:]}
    tracker = {part for stage in stages if stage[0] == "tracker" for part in stage[1:]}
    assert {*ours, "--pose-backend", "rtmw", "--pose-model", "rtmw-m", "--draw", "openpose", "--device", "cpu"} <= pose
    assert not {"sam2", "tiny", "--backend", "--model"} & pose
    assert tracker == {*run, "--backend", "sam2", "--model", "tiny", "--device", "cpu", "--check"}


def test_a_box_and_an_object_to_look_for_are_not_taken_together(run: list[str], stages: list[list[str]]) -> None:
    for place in (["--bbox", "1,2,30,40"], ["--point=5,6"], ["--select"]):
        with pytest.raises(RunnerError, match="--object looks for the box that --bbox") as caught:
            extracting.extract(["-i", "x.mp4", "--object", "surfboard", *place])
        assert caught.value.exit_code == 2
    assert not stages


def test_select_without_a_display_is_refused_before_any_environment_is_made(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(extracting, "ensure_env", lambda stage: pytest.fail(f"made {stage}"))
    (data / "x.mp4").write_text("")
    with pytest.raises(RunnerError, match=r"DISPLAY is not set.*make frame VIDEO=clip\.mp4 FRAME=n") as raised:
        extracting.extract(["-i", "x.mp4", "--select"])
    assert raised.value.exit_code == 3 and [path.name for path in data.iterdir()] == ["x.mp4"]


@pytest.fixture
def failing(data: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the stages leave in run.json, one a step; the step after the last one fails with 2."""
    steps: list[dict[str, object]] = []
    left = iter(steps)

    def work(stage: str, arguments: list[str], *, writes: list[Path]) -> int:
        (folder,) = writes
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".lock").touch()
        done = next(left, None)
        if done is None:
            return 2
        (folder / "run.json").write_text(json.dumps({"stages": done}))
        return 0

    (data / "x.mp4").write_text("")
    monkeypatch.setattr(extracting, "start_stage", work)
    return steps


def test_an_extract_that_fails_before_any_stage_is_done_leaves_no_run(
    data: Path, failing: list[dict[str, object]]
) -> None:
    before = make_run(data, "before")
    assert extracting.extract(["-i", "x.mp4"]) == 2
    assert not (data / "runs" / "x").exists()
    failing.append({"ingest": {}})
    assert extracting.extract(["-i", "x.mp4", "--bbox", "1,2,3,4"]) == 2
    assert not (data / "runs" / "x").exists() and runs.newest_run() == before


def test_an_extract_that_fails_keeps_what_a_stage_has_done_and_a_folder_that_was_there(
    data: Path, failing: list[dict[str, object]]
) -> None:
    failing.append({"ingest": {}, "detect": {}})
    assert extracting.extract(["-i", "x.mp4"]) == 2
    assert runs.newest_run() == data / "runs" / "x"
    (data / "runs" / "mine").mkdir()
    assert extracting.extract(["-i", "x.mp4", "--run", "mine"]) == 2
    assert (data / "runs" / "mine").is_dir()


def write_source(folder: Path, clip: Path) -> None:
    source = {"path": str(clip), "sha256": runs.sha256(clip) if clip.exists() else "gone"}
    (folder / "run.json").write_text(json.dumps({"source": source, "stages": {"ingest": {}}}))


@pytest.mark.parametrize("at", [["camB"], ["camA", "camB"], ["camA", "camA", "camA", "camB"]])
def test_an_extract_whose_run_is_begun_anew_of_another_clip_meanwhile_does_not_end_well(
    data: Path, monkeypatch: pytest.MonkeyPatch, at: list[str]
) -> None:
    cameras = iter([*at, *["camA"] * 8])

    def work(stage: str, arguments: list[str], *, writes: list[Path]) -> int:
        writes[0].mkdir(parents=True, exist_ok=True)
        write_source(writes[0], data.resolve() / next(cameras) / "x.mp4")
        return 0

    for camera in ("camA", "camB"):
        (data / camera).mkdir()
        (data / camera / "x.mp4").write_text(f"the clip of {camera}")
    monkeypatch.setattr(extracting, "start_stage", work)
    with pytest.raises(RunnerError, match=r"began the run .*x anew of another clip; .* --run NAME") as told:
        extracting.extract(["-i", "camA/x.mp4"])
    assert told.value.exit_code == 2 and (data / "runs" / "x").is_dir()
    assert extracting.extract(["-i", "camA/x.mp4"]) == 0


@pytest.mark.parametrize(("camera", "left"), [("camA", True), ("camB", False)])
def test_an_extract_that_fails_keeps_the_run_that_another_one_made_of_another_clip_meanwhile(
    data: Path, monkeypatch: pytest.MonkeyPatch, camera: str, left: bool
) -> None:
    def refused(stage: str, arguments: list[str], *, writes: list[Path]) -> int:
        make_run(data, "x")
        write_source(data / "runs" / "x", data.resolve() / camera / "x.mp4")
        return 2

    (data / "camB").mkdir()
    (data / "camB" / "x.mp4").write_text("")
    monkeypatch.setattr(extracting, "start_stage", refused)
    assert extracting.extract(["-i", "camB/x.mp4"]) == 2
    assert (data / "runs" / "x").is_dir() is left


def test_an_extract_that_is_interrupted_can_be_gone_on_with(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(stage: str, arguments: list[str], *, writes: list[Path]) -> int:
        writes[0].mkdir(parents=True)
        return 130

    (data / "x.mp4").write_text("")
    monkeypatch.setattr(extracting, "start_stage", interrupted)
    assert extracting.extract(["-i", "x.mp4"]) == 130
    assert (data / "runs" / "x").is_dir()


def test_a_run_that_another_process_works_on_is_not_taken_away(data: Path) -> None:
    folder = data / "runs" / "x"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert not runs.remove_unused(folder) and folder.is_dir()
    assert runs.remove_unused(folder) and not folder.exists()
