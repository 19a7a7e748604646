"""A stage that the runner starts: what it imports, what its exit code means, what becomes of it when it is ended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner import stages
from runner.process import FAILED, ROOT, RunnerError, stage_environment
from tests.helpers import HANG_S, until

STAGE = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path("report").write_text("cut short")
    sys.exit(130)
signal.signal(signal.SIGTERM, end)
pathlib.Path("at-work").touch()
time.sleep(3600)
"""
COMMAND = """
import sys
from pathlib import Path
from runner import process, stages
process.ROOT = Path.cwd()  # where the module of this test lies
sys.exit(stages.run_module(Path(sys.executable), "stage", []))
"""


def test_sigterm_to_a_command_lets_the_stage_write_its_report_before_the_command_ends(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(STAGE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", COMMAND], cwd=tmp_path, env=environment) as root:
        try:
            until("the stage is at work", (tmp_path / "at-work").exists)
            root.send_signal(signal.SIGTERM)
            assert root.wait(HANG_S) == 130
            assert (tmp_path / "report").read_text() == "cut short"
        finally:
            root.kill()


ENDING = """
import os, signal, sys
from pathlib import Path
from runner import process, stages
process.ROOT = Path.cwd()
fetch = os.waitpid
def fetch_and_be_interrupted(*arguments):
    found = fetch(*arguments)
    signal.raise_signal(signal.SIGINT)
    return found
os.waitpid = fetch_and_be_interrupted
sys.exit(stages.run_module(Path(sys.executable), "stage", []))
"""


def test_ctrl_c_just_when_a_stage_ends_does_not_make_its_exit_code_0(tmp_path: Path) -> None:
    """0 would be a gate that passes. The code is fetched once; a wait that is interrupted then knows it no longer."""
    for code, ends in ((2, 2), (101, 101), (1, 130)):  # 1 is Python's own, which was interrupted as it began
        (tmp_path / "stage.py").write_text(f"import sys; sys.exit({code})")
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        assert subprocess.run([sys.executable, "-c", ENDING], cwd=tmp_path, env=environment).returncode == ends
    (tmp_path / "stage.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    assert subprocess.run([sys.executable, "-c", ENDING], cwd=tmp_path, env=environment).returncode == 130


BEGINNING = """
import signal, subprocess, sys
from pathlib import Path
from runner import process, stages
process.ROOT = Path.cwd()
if "ignored" in sys.argv:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
class Interrupted(subprocess.Popen):
    def __init__(self, *arguments, **more):
        signal.raise_signal(signal.SIGINT)
        super().__init__(*arguments, **more)
subprocess.Popen = Interrupted
code = stages.run_module(Path(sys.executable), "stage", [])
signal.raise_signal(signal.SIGINT)
sys.exit(code)
"""


def test_ctrl_c_before_a_stage_is_there_reaches_it_and_then_is_this_processs_again(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text("import time; time.sleep(2); open('done', 'w')")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [sys.executable, "-c", BEGINNING]
    done = subprocess.run(started, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGINT, "by the last signal"
    assert "KeyboardInterrupt" in done.stderr and not (tmp_path / "done").exists()
    assert subprocess.run([*started, "ignored"], cwd=tmp_path, env=environment).returncode == 0, "as under nohup"
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("stage", ["posegen", "tracker", "reskin", "evaluator", "handoff.weights", "tracker.grid"])
def test_ctrl_c_while_a_stage_is_loaded_is_one_sentence(stage: str, tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    started = [sys.executable, "-P", "-m", stage]
    done = subprocess.run(started, cwd=tmp_path, env=environment, capture_output=True, text=True)
    sentence = "error: interrupted; nothing was done, run the same command to go on.\n"
    assert (done.returncode, done.stderr) == (130, sentence)


STRANGERS = ("click", "queue", "numpy", "runner", "handoff", "stage", "json", "sitecustomize", "usercustomize")


def test_nothing_in_the_current_folder_or_the_users_is_imported(tmp_path: Path) -> None:
    """By a stage, and by what makes its environment."""
    here, ours, home = (tmp_path / name for name in ("here", "ours", "home"))
    site = home / ".local/lib/python3.11/site-packages"
    for folder in (here, ours, site):
        folder.mkdir(parents=True)
    for name in STRANGERS:
        for folder in (here, site):
            (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r} + ' ')")
    (ours / "stage.py").write_text("import sys; [__import__(name) for name in sys.argv[1:]]; sys.exit(9)")
    (ours / "click.py").touch()
    code = "import sys\nfrom pathlib import Path\nfrom runner import process, stages, envs\n"
    code += "process.ROOT = Path(sys.argv[1])\n"
    code += "envs.call([sys.executable, *process.ALONE, '-m', 'venv', '--help'], 'venv')\n"
    code += "sys.exit(stages.run_module(Path(sys.executable), 'stage', ['click', 'queue', 'json', 'sqlite3.dump']))"
    done = subprocess.run(
        [sys.executable, "-P", "-s", "-c", code, ours],
        cwd=here,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9, done.stderr
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


CODE = ("handoff", "posegen", "tracker", "reskin", "evaluator", "runner", "selector", "comfyui", "demo")


def test_whatever_the_product_starts_by_m_leaves_the_current_folder_out() -> None:
    lines = [line for name in CODE for path in (ROOT / name).rglob("*.py") for line in path.read_text().splitlines()]
    started = [line for line in lines if re.search(r'"-m"|"-c", _', line)]
    assert len(started) >= 5 and all(re.search(r'\*ALONE|"-P", "-s"|"-I"', line) for line in started), started
    for path in (*ROOT.glob("*/Dockerfile"), *ROOT.glob("compose*.yaml"), ROOT / "Makefile", ROOT / ".ci/engine"):
        assert not re.findall(r'(?i)python[0-9.)]*["\',\s]*(?:- )?["\']?-[mc]\b.*', path.read_text()), path


def local(monkeypatch: pytest.MonkeyPatch, python: Path | str) -> None:
    """Have every stage run in this Python."""
    monkeypatch.setattr(stages, "runner", lambda: "local")
    monkeypatch.setattr(stages, "ensure_env", lambda _: Path(python))


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\nexit 1\n",  # a Python that does not find its library ends like this, before any code of ours
        "#!/bin/sh\necho 'No module named evaluator' >&2; exit 1\n",
        f"#!/bin/sh\nexec {sys.executable} -c 'raise ImportError'\n",
    ],
)
def test_a_stage_that_ends_with_1_by_itself_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    local(monkeypatch, program(tmp_path / "env" / "bin" / "python", text))
    with pytest.raises(RunnerError, match=r"evaluator ended with 1 by itself .* is no verdict.* remove ") as told:
        stages.start_stage("evaluator", [])
    assert told.value.exit_code == 3 and str(tmp_path / "env") in str(told.value)


def test_a_gate_that_fails_is_1_and_whatever_else_a_stage_says_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = '#!/bin/sh\nfor last; do :; done; [ "$last" = gate ] && exit $SKATE_FAILED_AS\n'
    text += '[ "$last" = 137 ] && kill -9 $$; exit $last\n'
    local(monkeypatch, program(tmp_path / "bin" / "python", text))
    assert stages.start_stage("evaluator", ["gate"]) == 1
    for code in (0, 2, 3, 4, 70, 130):
        assert stages.start_stage("evaluator", [str(code)]) == code
    assert not capfd.readouterr().err
    assert stages.start_stage("evaluator", ["137"]) == 137
    assert capfd.readouterr().err == "error: the stage was killed from outside, or ran out of memory; run it again\n"


@pytest.mark.parametrize("text", [None, "#!/nowhere/python\n"])
def test_a_python_that_cannot_be_started_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    python = tmp_path / "env" / "bin" / "python"
    if text:
        program(python, text)
    local(monkeypatch, python)
    with pytest.raises(RunnerError, match=r"cannot be started \(No such file .*\); remove .*env, and") as told:
        stages.start_stage("evaluator", [])
    assert told.value.exit_code == 3


def test_the_gates_own_command_says_1_as_it_is_told(tmp_path: Path) -> None:
    code = "import click, sys; from handoff.command import main; main(click.command()(lambda: int({code})))"
    for word, said in ((None, 1), ("", 1), ("0", 1), ("x", 1), (str(FAILED), FAILED)):
        environment = {**os.environ, **({} if word is None else {"SKATE_FAILED_AS": word})}
        for value, ended in ((1, said), (0, 0), (3, 3)):
            command = [sys.executable, "-c", code.format(code=value)]
            assert subprocess.run(command, cwd=ROOT, env=environment).returncode == ended


@pytest.mark.parametrize(
    ("module", "text", "code", "said"),
    [
        ("click", "raise ImportError('lib.so: cannot open shared object file', name='click')", 3, "cannot run in"),
        ("click", "def broken(:", 70, r"cannot be loaded \(SyntaxError"),
        ("click", "raise OSError('libmissing.so')", 70, r"cannot be loaded \(OSError"),
        ("handoff.command", None, 70, r"cannot be loaded \(ModuleNotFoundError"),
    ],
)
@pytest.mark.parametrize("stage", ["posegen", "tracker", "reskin", "evaluator"])
def test_a_stage_that_cannot_be_loaded_never_ends_with_1(
    tmp_path: Path, stage: str, module: str, text: str | None, code: int, said: str
) -> None:
    if text is not None:
        (tmp_path / f"{module}.py").write_text(text)
    block = f"import sys; sys.modules[{module!r}] = None; " if text is None else "import sys; "
    run = f"{block}sys.path.insert(0, {str(tmp_path)!r}); import runpy; runpy.run_module({stage!r}, None, '__main__')"
    done = subprocess.run([sys.executable, "-c", run], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert re.search(f"^error: python -m {stage} {said}", done.stderr, re.M)


@pytest.mark.parametrize("environments", ["stages.ensure_env = lambda stage: Path(sys.executable)", "pass"])
def test_a_checkout_that_python_cannot_have_on_its_path_is_said_to_be_so(tmp_path: Path, environments: str) -> None:
    """Whether its environments are there or not."""
    checkout = tmp_path / "a:b"
    shutil.copytree(ROOT / "runner", checkout / "runner")
    shutil.copytree(ROOT / "handoff", checkout / "handoff")
    (checkout / "tracker").mkdir()
    shutil.copy(ROOT / "tracker" / "requirements.lock", checkout / "tracker")
    shutil.copy(ROOT / "extract_physics.py", checkout)
    (tmp_path / "clip.mp4").touch()
    code = "import sys\nfrom pathlib import Path\nfrom runner import extract, stages\nfrom runner.commands import run\n"
    code += f"{environments}\nrun(extract.extract)\n"
    done = subprocess.run(
        [sys.executable, "-c", code, "-i", tmp_path / "clip.mp4", "--bbox", "1,2,3,4"],
        cwd=checkout,
        env=os.environ | {"RUNNER": "local", "DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert done.stderr == f"error: the project lies in {checkout}, and Python's path is parted at each ':'; move it.\n"


@pytest.mark.parametrize("name", ["libcuda.so.1", "libx.so", "glibc-hwcaps/x86-64-v4/libcuda.so.1", "tls/libcuda.so.1"])
def test_a_library_in_the_current_folder_is_not_loaded_by_a_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """NVIDIA's packages have the system's loader look there: `import torch` ran what was called libcuda.so.1."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "runner", lambda: "local")
    monkeypatch.setattr(stages, "ensure_env", lambda stage: Path(sys.executable))
    monkeypatch.setattr(stages, "run_module", lambda *arguments, **variables: 0)
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "libcuda.so.1").touch()
    (tmp_path / "library.so.txt").touch()
    assert stages.start_stage("tracker", []) == 0
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    for stage in ("posegen", "tracker", "evaluator"):
        with pytest.raises(RunnerError, match=re.escape(repr(name))) as refused:
            stages.start_stage(stage, [])
        assert refused.value.exit_code == 2
    assert stages.start_stage("reskin", []) == 0


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("posegen", "libcuda.so.1"),
        ("tracker", "glibc-hwcaps/x86-64-v4/libcuda.so.1"),
        ("tracker", "tls/libcuda.so.1"),
        ("evaluator", "libx.so"),
    ],
)
def test_a_stage_that_is_started_by_hand_refuses_it_too(tmp_path: Path, stage: str, name: str) -> None:
    """Before anything is loaded that would have the loader look there; its help loads nothing."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", stage, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=stage_environment(), capture_output=True, text=True)

    (tmp_path / "library.so.txt").touch()
    assert "current folder" not in run("--run", "nowhere").stderr
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    refused = run("--run", "nowhere")
    assert refused.returncode == 2 and f"the current folder has {name!r}" in refused.stderr
    assert run("--help").returncode == 0
