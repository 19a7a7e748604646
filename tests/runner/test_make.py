"""make hands on what it is given as it was typed: nothing in a value is run or expanded, and only lists are parted."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.process import ROOT

RECORDER = """#!{python}
import json, os, sys
sys.path.insert(0, {root!r})
from runner import tools
def note(name):
    def called(arguments):
        with open({record!r}, "a") as file:
            environment = {{each: os.environ.get(each) for each in ("DATA_DIR", "MAKEFLAGS", "FAILS")}}
            print(json.dumps([name, arguments, environment]), file=file)
        return int(os.environ.get("FAILS") or 0)
    return called
tools.OWN = {{name: note(name) for name in tools.OWN}}
tools.ensure_env = lambda stage: stage
tools.run_module = lambda python, name, arguments: note(name)(arguments)
assert sys.argv[1:3] == ["-s", "runner"], sys.argv
sys.argv[1:] = sys.argv[3:]
tools.run(tools.tool)
"""
Call = tuple[str, list[str], dict[str, str | None]]


@dataclass(frozen=True)
class Make:
    """make in the checkout, with a Python that writes down what it is to run."""

    folder: Path

    def __call__(self, target: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Call it as a user does, and not as a part of the make that runs this test."""
        ours = ("MAKE", "MFLAGS", "TESTS", "ARGS", "PROMPT", "VIDEO", "RUN", "TRIES")
        plain = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        command = ["make", "--no-print-directory", target, *words]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=plain | {"PYTHON": str(self.folder / "a python;touch x")} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[Call]:
        record = self.folder / "record"
        return [tuple(json.loads(line)) for line in record.read_text().splitlines()] if record.exists() else []


@pytest.fixture
def make(tmp_path: Path) -> Make:
    program = tmp_path / "a python;touch x"
    program.write_text(RECORDER.format(python=sys.executable, root=str(ROOT), record=str(tmp_path / "record")))
    program.chmod(0o755)
    return Make(tmp_path)


@pytest.fixture(params=["command line", "environment"])
def give(request: pytest.FixtureRequest, make: Make) -> Callable[..., subprocess.CompletedProcess[str]]:
    """make with values that stand on its command line, or that it has of its environment."""

    def call(target: str, **values: str) -> subprocess.CompletedProcess[str]:
        if request.param == "environment":
            return make(target, **values)
        return make(target, *(f"{name}={value}" for name, value in values.items()))

    return call


Give = Callable[..., subprocess.CompletedProcess[str]]
TEXTS = [
    "a $100 drone",
    "$(shell touch {mark})drone",
    "${{shell touch {mark}}} $$ $@ $(PYTHON)",
    "'; touch {mark}; '",
    '"; touch {mark}; "',
    "`touch {mark}` $(touch {mark}) & | > {mark} < #",
    "two\nlines\n\ttouch {mark}",
    "a \\\\ back \\' slash",
    "--prompt=-x, ,(a),  b",
    "drone  *  ? ~ $HOME %s {{}} !1",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_value_arrives_as_it_was_typed(make: Make, give: Give, text: str) -> None:
    mark = make.folder / "mark"
    text = text.format(mark=mark)
    done = give("pipeline", VIDEO=text, PROMPT=text, RUN=text, OBJECT=text, BBOX=text, FRAME=text, DATA_DIR=text)
    assert done.returncode == 0, done.stderr
    run = ["--run", text]
    assert [(name, arguments) for name, arguments, _ in make.calls] == [
        ("extract", ["-i", text, *run, "--object", text, "--bbox", text, "--frame", text]),
        ("reskin", ["--prompt", text, "--mask", "mask.mp4", "--pose", "pose.json", *run]),
        ("evaluate", ["-original", "mask.mp4", "-generated", "output.mp4", *run]),
    ]
    assert all(environment["DATA_DIR"] == text for _, _, environment in make.calls)
    assert give("frame", VIDEO=text, FRAME=text).returncode == 0
    assert make.calls[-1][:2] == ("frame", ["-i", text, "--frame", text])
    assert not mark.exists(), "something in a value was run"


@pytest.mark.parametrize("text", TEXTS)
def test_a_list_is_parted_into_words_and_nothing_in_it_is_expanded(make: Make, give: Give, text: str) -> None:
    mark = make.folder / "mark"
    text = shlex.quote(text.format(mark=mark)) + f" $(shell touch {mark}) `touch${{IFS}}{mark}` ;touch {mark} *"
    words = shlex.split(text)
    assert give("build", STAGES=text).returncode == 0
    assert give("doctor", PROFILE=text).returncode == 0
    assert give("weights", PROFILE=text, ARGS=text, CHECK="1").returncode == 0
    assert give("test", TESTS=text, ARGS=text).returncode == 0
    assert give("reskin", PROMPT="a", ARGS=text).returncode == 0
    assert [(name, arguments) for name, arguments, _ in make.calls] == [
        ("docker", ["build", *words]),
        ("doctor", words),
        ("weights", ["--check", *(part for word in words for part in ("--profile", word)), *words]),
        ("pytest", [*words, *words]),
        ("reskin", ["--prompt", "a", "--mask", "mask.mp4", "--pose", "pose.json", *words]),
    ]
    assert not mark.exists(), "something in a value was run"


def test_a_name_of_the_makefiles_own_cannot_be_given(make: Make) -> None:
    """A recipe is made of them, so what stood in one would be run: python=... for PYTHON=..., say."""
    names = [line.split()[1] for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("override ")]
    assert {"python", "extract", "args", "workers"} <= set(names)
    marked = [f"{name}=touch {make.folder / name};" for name in names]
    for target in ("extract", "reskin", "evaluate", "pipeline", "test"):
        done = make(target, "VIDEO=v", "PROMPT=p", *marked)
        assert done.returncode == 0, done.stderr
    assert not [name for name in names if (make.folder / name).exists()] and len(make.calls) == 7


def test_what_stands_on_the_command_line_does_not_go_on_to_another_make(make: Make) -> None:
    """Who calls make below this one would have it expanded there."""
    assert make("reskin", f"PROMPT=$(shell touch {make.folder / 'mark'})a").returncode == 0
    [(_, arguments, environment)] = make.calls
    assert arguments[1].startswith("$(shell touch ") and "PROMPT" not in str(environment["MAKEFLAGS"])


def test_a_list_with_an_open_quote_is_refused(make: Make, give: Give) -> None:
    done = give("evaluate", ARGS="--formats 'json")
    assert done.returncode == 2 and not make.calls
    assert "error: ARGS cannot be parted into words (No closing quotation): --formats 'json\n" in done.stderr


def test_a_pipeline_without_a_prompt_does_not_begin(make: Make) -> None:
    done = make("pipeline", "VIDEO=a.mp4")
    assert done.returncode == 2 and not make.calls
    assert 'error: say what to paint: make pipeline PROMPT="cyberpunk drone, samurai"\n' in done.stderr


def test_tries_paint_again_what_fails_and_without_them_it_is_painted_once(make: Make) -> None:
    assert make("reskin", "PROMPT=a").returncode == 0
    assert make("pipeline", "VIDEO=a.mp4", "PROMPT=a", "TRIES=4").returncode == 0
    painted = [arguments for name, arguments, _ in make.calls if name == "reskin"]
    assert "--until-pass" not in painted[0]
    assert painted[1][-2:] == ["--until-pass", "4"]
    assert [name for name, *_ in make.calls] == ["reskin", "extract", "reskin"], "the loop has judged what it made"
    assert make("pipeline", "VIDEO=a.mp4", "PROMPT=a").returncode == 0
    assert [name for name, *_ in make.calls[3:]] == ["extract", "reskin", "evaluate"]


def test_a_pipeline_ends_where_a_command_does_and_make_ends_with_2_and_says_the_commands_code(make: Make) -> None:
    for code in (1, 2, 3, 70):
        done = make("evaluate", FAILS=str(code))
        assert done.returncode == 2 and f"Error {code}\n" in done.stderr
    assert make("pipeline", "VIDEO=a.mp4", "PROMPT=b", FAILS="3").returncode == 2
    assert [name for name, *_ in make.calls] == ["evaluate"] * 4 + ["extract"]


TOGETHER = ["--dist", "loadgroup", "--no-loadscope-reorder"]
WORKERS = ["-n", "auto", "--maxprocesses=4", *TOGETHER]
MORE = ["-n", str(min(len(os.sched_getaffinity(0)) + 1, 6)), *TOGETHER]
"""Where much is waited for: a worker more than there are cores."""


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["test"], ["tests", "--ignore=tests/containers", "-m", "not slow", *WORKERS, "-q"]),
        (["test", "TESTS=tests/demo"], ["tests/demo", "-q"]),
        (["test-slow"], ["tests", "--ignore=tests/containers", "-m", "slow", *MORE, "-q"]),
        (["test-all"], ["tests", "-q"]),
    ],
)
def test_make_test_leaves_out_what_is_slow_and_a_named_part_is_run_whole(
    make: Make, words: list[str], options: list[str]
) -> None:
    assert make(*words, "ARGS=-q").returncode == 0
    assert [(name, arguments) for name, arguments, _ in make.calls] == [("pytest", options)]


def test_of_several_workers_one_has_all_tests_of_a_file() -> None:
    one = "tests/runner/test_tools.py"
    command = [sys.executable, "-m", "pytest", *WORKERS, "-n2", "-v", "-k", "which_environments", one]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    passed = re.findall(r"^\[(gw\d)\] .* PASSED (.*?)\s*$", done.stdout, re.MULTILINE)
    assert len(passed) == 6 and len({worker for worker, _ in passed}) == 1, done.stdout
    assert all(name.endswith(f"@{one}") for _, name in passed)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["demo"], ("demo", [])),
        (["frame", "VIDEO=a.mp4", "RUN=b"], ("frame", ["-i", "a.mp4", "--frame", "0"])),
        (["frame", "RUN=b c", "FRAME=3"], ("frame", ["--run", "b c", "--frame", "3"])),
        (["up"], ("docker", ["up"])),
        (["up", "PUBLISH=1"], ("docker", ["up", "--publish"])),
        (["down"], ("docker", ["down"])),
        (["weights", "PROFILE=tracker pose"], ("weights", ["--profile", "tracker", "--profile", "pose"])),
        (["lock"], ("locks", [])),
        (["reference"], ("docs.make_reference", [])),
        (["bench-tracker", "ARGS=--frames 3"], ("bench.tracker", ["--frames", "3"])),
        (["bench-sweep", "ARGS=--cells 4"], ("bench.sweep", ["--cells", "4"])),
    ],
)
def test_a_target_runs_its_command(make: Make, words: list[str], call: tuple[str, list[str]]) -> None:
    assert make(*words).returncode == 0
    assert [(name, arguments) for name, arguments, _ in make.calls] == [call]
