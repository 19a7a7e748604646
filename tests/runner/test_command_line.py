"""The root commands' options are the stages' own: shown, handed on by name, refused at once where there is none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from handoff.helptext import help_of
from runner import evaluate, extract, reskin
from runner.commands import INTERNAL, RUN_AND_CLIP, CommandLine, Given, Option, beside, options_of
from runner.process import ROOT, RunnerError
from tests.helpers import HANG_S
from tests.runner.helpers import other_pythons

BARE = (sys.executable, "-S")
"""A Python with the standard library and nothing else: no click, no OpenCV."""
PROGRAMS = ("extract_physics", "generate_reskin", "evaluate_iou")
STRANGERS = ("click", "queue", "numpy", "runner", "handoff", "argparse", "json", "tracker", "torch", "sitecustomize")
"""Names of modules that a folder may hold which is not ours."""
LINES = {"extract_physics.py": extract, "generate_reskin.py": reskin, "evaluate_iou.py": evaluate}
STAGES = {
    "extract_physics.py": ("tracker", "posegen"),
    "generate_reskin.py": ("reskin",),
    "evaluate_iou.py": ("evaluator",),
}


def bare(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BARE, *command], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def parse(*arguments: str) -> Given:
    options = [
        Option(("-i", "--input"), "", "CLIP", required=True),
        Option(("--frame",), "", "N", goes={"tracker": "--frame"}),
        Option(
            ("--device",), "", "WHERE", choices=("auto", "cpu"), goes={"tracker": "--device", "posegen": "--device"}
        ),
        Option(("--pose-model",), "", "NAME", goes={"posegen": "--model"}),
        Option(("--fast",), "", goes={"tracker": "--fast"}),
    ]
    return CommandLine("x.py", "", options).parse(arguments)


def test_each_option_goes_to_its_stages_in_its_order_and_by_the_name_that_it_has_there() -> None:
    given = parse("-i", "a=b.mp4", "--pose-model", "m", "--device=cpu", "--fast", "--frame", "-3")
    assert given.of("tracker") == ["--device", "cpu", "--fast", "--frame", "-3"]
    assert given.of("posegen") == ["--model", "m", "--device", "cpu"]
    assert given.value("--input") == "a=b.mp4" and given.has("-i") and not given.has("--point")
    assert parse("--input=a=b.mp4").values("-i") == ["a=b.mp4"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-i", "x", "--devise", "cpu"], r"there is no option --devise \(did you mean --device\?\); x\.py --help"),
        (["-i", "x", "--zzz=1"], r"there is no option --zzz; x\.py --help lists every option"),
        (["x.mp4"], r"'x\.mp4' stands where an option should"),
        (["--frame", "3"], r"--input CLIP is missing"),
        (["-i", ""], r"-i is empty; give a name: -i CLIP"),
        (["-i", "x", "--frame"], r"--frame needs a value: --frame N"),
        (["-i", "x", "--fast=1"], r"--fast takes no value, and was given '1'"),
        (["-i", "x", "--device", "gpu"], r"--device is one of auto, cpu, not 'gpu'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(arguments: list[str], said: str) -> None:
    with pytest.raises(RunnerError, match=said) as told:
        parse(*arguments)
    assert told.value.exit_code == 2


def test_an_option_one_of_whose_names_is_taken_has_the_other() -> None:
    both = Option(("--pose-model", "--model"), "", "NAME", goes={"posegen": "--pose-model"})
    (left,) = beside([Option(("--model",), "", "NAME")], [both])
    assert (left.names, dict(left.goes)) == (("--pose-model",), {"posegen": "--pose-model"})


@pytest.mark.parametrize("program", LINES)
def test_no_two_options_of_a_root_command_have_one_name_and_none_has_no_name(program: str) -> None:
    options = LINES[program].command_line().options
    names = [name for option in options for name in option.names]
    assert all(option.names for option in options) and len(names) == len(set(names))


@pytest.mark.parametrize("program", LINES)
def test_a_root_command_has_every_option_of_its_stages_that_is_a_users(program: str) -> None:
    line = LINES[program].command_line()
    there = {name for option in line.options for name in option.names}
    for stage in STAGES[program]:
        for option in options_of(stage):
            names = {*option.names, *(f"--pose-{name.removeprefix('--')}" for name in option.names)}
            internal = option.hidden or set(option.names) & set(INTERNAL)
            assert bool(names & there) != bool(internal), option.names
    spellings = [name for option in line.options for name in option.names]
    assert len(spellings) == len(set(spellings)) and {"--run", "--force"} <= set(spellings)
    assert set(RUN_AND_CLIP) >= {"--run", "--force"}


@pytest.mark.parametrize("program", LINES)
def test_help_shows_every_option_on_a_bare_python_and_makes_nothing(program: str, tmp_path: Path) -> None:
    done = bare(str(ROOT / program), "--help", PATH=str(tmp_path), RUNNER="docker", DATA_DIR=str(tmp_path / "data"))
    assert (done.returncode, done.stderr) == (0, "")
    for option in LINES[program].command_line().options:
        assert option.name in done.stdout
    assert not any(name in done.stdout for name in ("--keep-detections", "--again-as", "--prompt-only"))
    assert not (tmp_path / "data").exists()


def test_what_to_paint_is_the_first_option_of_generate_reskin() -> None:
    shown = bare(str(ROOT / "generate_reskin.py"), "--help").stdout
    options = [line.split()[0] for line in shown.splitlines() if line.startswith("  -")]
    assert options[:3] == ["-h,", "--prompt", "--prompts-file"]


@pytest.mark.parametrize("stage", ["posegen", "tracker", "reskin", "evaluator", "handoff.weights", "tracker.grid"])
def test_a_bare_python_shows_a_stages_help_and_says_what_to_do_for_the_rest(stage: str) -> None:
    done = bare("-m", stage, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, help_of(stage) + "\n", "")
    done = bare("-m", stage)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)
    assert f"error: python -m {stage} cannot run in this Python (No module named " in done.stderr
    assert "environment" in done.stderr


@pytest.mark.parametrize(("tool", "command"), [("frame", "tracker.grid"), ("weights", "handoff.weights")])
def test_the_help_of_make_frame_and_make_weights_needs_no_environment(tool: str, command: str) -> None:
    assert bare("-m", "runner.tools", tool, "--help").stdout == help_of(command) + "\n"


DOCKER = """#!/bin/sh
case "$*" in
  "version "*) echo 27.5.1;;
  "compose version"*) echo 2.32.4;;
  *) exit 1;;
esac
"""


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("extract_physics.py", ["-i", "x.mp4", "--bakend", "sam2"]),
        ("extract_physics.py", ["-i", "x.mp4", "--backend", "sam3"]),
        ("extract_physics.py", ["-i", "nowhere.mp4"]),
        ("extract_physics.py", ["-i", "x.mp4"]),  # there are no images
        ("extract_physics.py", ["-i", "x.mp4", "--select"]),
        ("generate_reskin.py", ["--prompt"]),
        ("generate_reskin.py", ["--mask", "nowhere/mask.mp4", "--prompt", "a"]),
        ("evaluate_iou.py", ["--thresold", "1"]),
    ],
)
def test_a_refusal_comes_before_any_word_about_docker_and_gpus(
    tmp_path: Path, program: str, arguments: list[str]
) -> None:
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    (tmp_path / "x.mp4").write_text("")
    told = {"PATH": f"{docker.parent}:{os.environ['PATH']}", "RUNNER": "docker", "DATA_DIR": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, ROOT / program, *arguments],
        cwd=tmp_path,
        env=os.environ | told,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (2, 3) and done.stderr.startswith("error: "), done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_seen_enough_of_the_help_breaks_nothing() -> None:
    """As `python -m tracker --help | head -1` does."""
    child = subprocess.Popen(
        [sys.executable, "-S", "-m", "tracker", "--help"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait() == 0


@pytest.mark.parametrize("program", [f"{name}.py" for name in (*PROGRAMS, "extract_tracking")] + ["runner"])
def test_another_python_is_not_taken_for_a_failed_gate(program: str) -> None:
    """2.7, whose parser knows no annotations, and 3.6 and 3.7 too; `runner` is what make starts."""
    for python in other_pythons():
        command = [python, program, "--help"]
        environment = {"PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        assert re.fullmatch(r"error: Python 3\.11 is needed, this is [23]\.\d+\.\S+ and .*\n", done.stderr)


def test_another_python_goes_on_in_a_python3_11_that_is_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "python3.11").mkdir()  # a folder is no program
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3.11").symlink_to(sys.executable)
    path = f"{tmp_path / 'none'}:{tmp_path / 'bin'}"
    for python in other_pythons():
        for command in (["evaluate_iou.py", "--help"], ["runner", "frame", "--help"]):
            done = subprocess.run(
                [python, *command], cwd=ROOT, env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True
            )
            assert done.returncode == 0 and b"--help" in done.stdout, done.stderr


@pytest.mark.parametrize("options", [(), ("-P",), ("-I",)])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_command_finds_its_own_code_and_nobody_elses(tmp_path: Path, program: str, options: tuple[str, ...]) -> None:
    """Wherever it is called, by whatever name, and where Python is told to keep a script's folder off its path."""
    for name in STRANGERS:
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('ran').touch(); raise SystemExit(1)")
    link = tmp_path / "command"
    link.symlink_to(ROOT / f"{program}.py")
    folder = tmp_path / "here"
    folder.mkdir()
    for name in STRANGERS:
        shutil.copy(tmp_path / f"{name}.py", folder)
    done = subprocess.run([sys.executable, *options, link, "--help"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "usage: " in done.stdout, done.stderr
    assert not (folder / "ran").exists()


def test_an_empty_entry_of_pythonpath_is_not_the_current_folder(tmp_path: Path) -> None:
    """Left by PYTHONPATH=$PYTHONPATH:/opt/more where that was not set; Python's own start cannot be helped."""
    for name in STRANGERS:
        if name != "sitecustomize":
            (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('ran').touch(); raise SystemExit(1)")
    environment = os.environ | {"PYTHONPATH": f":{tmp_path / 'more'}", "PYTHONDONTWRITEBYTECODE": "1"}
    for command in ("evaluate_iou.py", "generate_reskin.py", "extract_physics.py", "runner"):
        line = [sys.executable, str(ROOT / command), *(["frame"] if command == "runner" else []), "--help"]
        done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0 and not (tmp_path / "ran").exists(), done.stderr


@pytest.mark.parametrize("variable", ["PYTHONINSPECT=1", "PYTHONIOENCODING=ascii", "PYTHONIOENCODING=utf-8:strict"])
def test_no_variable_of_python_changes_what_a_command_ends_with(tmp_path: Path, variable: str) -> None:
    """PYTHONINSPECT has Python ask for more at the end, and end with 1 then: as if the gate had failed."""
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "mask.mp4").write_text("no mask")
    here = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xc3\xbc"))
    here.mkdir()
    (here / "mask.mp4").write_text("no mask")
    name, value = variable.split("=")
    done = subprocess.run(
        [sys.executable, "-s", str(ROOT / "evaluate_iou.py"), "-generated", "none.mp4"],
        cwd=here, env=os.environ | {name: value, "RUNNER": "local"}, stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2 and b"Traceback" not in done.stderr, done.stderr
    assert done.stdout.startswith(b"original: ") and done.stderr.count(b"error: ") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["evaluate_iou.py", "evaluator"])
def test_what_cannot_be_printed_on_a_full_disk_is_room_that_is_missing(tmp_path: Path, command: str) -> None:
    """As in `evaluate_iou.py > log`: by a root command, and by a stage."""
    for name in ("mask.mp4", "output.mp4"):
        (tmp_path / name).write_text("no clip")
    line = [str(ROOT / command)] if command.endswith(".py") else ["-m", command, "--help"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, *line], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=HANG_S, check=False,
        )  # fmt: skip
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert re.search("(no|No) space left on", done.stderr)
