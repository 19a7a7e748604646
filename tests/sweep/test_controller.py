"""What stands in SLURM's commands' place asks again while nobody answers, and passes on what is an answer."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.cluster import controller, slurm

RUN = "skate_toy_0123abcd_01234567-89ab-cdef-0123-456789abcdef"
AWAY = "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
QUERY = ["--format=%i|%T", "--states=all", "--noheader", "--name", RUN]
SUBMIT = ["--parsable", "--job-name", RUN, "--output", "x.log", "--comment", "rule_paint_wildcards_a-1", "--wrap=true"]

Make = Callable[[str, str], Path]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make one of SLURM's commands: a shell script that counts its calls in NAME.calls, a line each."""
    folder = tmp_path / "real"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(controller, "PAUSE_S", 0.05)

    def make(name: str, body: str) -> Path:
        (folder / name).write_text(f'#!/bin/sh\necho "$*" >> {folder}/{name}.calls\n{body}\n')
        (folder / name).chmod(0o755)
        return folder / f"{name}.calls"

    make("scontrol", "printf 'MaxArraySize            = 1001\\nMinJobAge               = 30 sec\\n'")
    return make


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Be one of the commands, in this process; return its exit code and what it printed."""

    def call(program: str, *arguments: str, given: str = "", patience_s: float = 60) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode())))
        code = controller.main(str(tmp_path / "state"), patience_s, program, list(arguments))
        sys.stdout.flush()
        return code, *capfd.readouterr()

    monkeypatch.setattr(controller.signal, "signal", lambda *_: None)
    return call


def later(times: int, then: str, otherwise: str = AWAY) -> str:
    """A script that does one thing the first few times, and another then."""
    return f"if [ $(wc -l < $0.calls) -gt {times} ]; then {then}; else {otherwise}; fi"


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_it_asks_again_until_the_controller_answers(real: Make, run: Run, tmp_path: Path) -> None:
    log = real("squeue", later(2, "echo '7|RUNNING'"))
    slurm.wrappers(tmp_path / "state")
    assert run("squeue", *QUERY) == (0, "7|RUNNING\n", "")
    assert len(calls(log)) == 3
    assert not (tmp_path / "state" / "silent").exists()


@pytest.mark.parametrize(
    "words",
    [
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "slurm_load_jobs error: Zero Bytes were transmitted or received",
        "sbatch: error: Batch job submission failed: Connection refused",
        "squeue: fatal: Could not establish a configuration source",
        "slurm_load_jobs error: Slurm backup controller in standby mode",
        'squeue: error: Munge encode failed: Failed to access "/run/munge/munge.socket.2": No such file or directory',
    ],
)
def test_nobody_there_is_not_an_answer(words: str, real: Make, tmp_path: Path) -> None:
    real("squeue", f"echo '{words}' >&2; exit 1")
    assert controller.ask(["squeue"]).silent


def test_what_the_user_has_set_for_squeue_hides_no_job(real: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "cpu")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    real("squeue", "echo ${SQUEUE_PARTITION-all} $SBATCH_ACCOUNT")
    assert controller.ask(["squeue"]).out == b"all mine\n"


def test_a_no_is_an_answer_and_is_passed_on_at_once(real: Make, run: Run, tmp_path: Path) -> None:
    log = real("sbatch", "echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 3")
    slurm.wrappers(tmp_path / "state")
    assert run("sbatch", *SUBMIT) == (3, "", "sbatch: error: invalid partition specified: gpu\n")
    assert len(calls(log)) == 1


def test_a_command_that_hangs_is_ended_and_asked_again(
    real: Make, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "HUNG_S", 0.5)
    log = real("squeue", later(1, "echo '7|RUNNING'", "exec sleep 60"))
    slurm.wrappers(tmp_path / "state")
    began = time.monotonic()
    assert run("squeue", *QUERY)[:2] == (0, "7|RUNNING\n")
    assert len(calls(log)) == 2 and time.monotonic() - began < 20


def test_a_query_ends_before_the_plugin_turns_away_and_the_patience_counts_on(
    real: Make, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "CALL_S", 0.4)
    monkeypatch.setattr(controller, "LEAST_S", 0.1)
    log = real("squeue", AWAY)
    slurm.wrappers(tmp_path / "state")
    state = tmp_path / "state"
    assert run("squeue", *QUERY)[0] == 1
    since = float((state / "silent").read_text())
    assert slurm.gave_up(state) is None
    assert run("squeue", *QUERY)[0] == 1
    assert float((state / "silent").read_text()) == since
    assert run("squeue", *QUERY, patience_s=0.1)[0] == 1
    assert slurm.gave_up(state) == "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    asked = len(calls(log))
    assert "Unable to contact" in run("squeue", *QUERY)[2] and len(calls(log)) == asked  # nobody asks any more
    slurm.wrappers(state)  # the next sweep begins anew
    assert slurm.gave_up(state) is None


def test_silence_long_ago_does_not_count(real: Make, run: Run, tmp_path: Path) -> None:
    real("squeue", later(1, "echo '7|RUNNING'"))
    slurm.wrappers(tmp_path / "state")
    note = tmp_path / "state" / "silent"
    note.write_text("1000.0")
    os.utime(note, (1000, 1000))
    assert run("squeue", *QUERY)[0] == 0 and slurm.gave_up(tmp_path / "state") is None


def test_a_job_that_the_controller_has_forgotten_has_ended(real: Make, run: Run, tmp_path: Path) -> None:
    real("sbatch", later(2, "echo '12;other'", "echo $((9 + $(wc -l < $0.calls)))"))
    slurm.wrappers(tmp_path / "state")
    assert [run("sbatch", *SUBMIT)[1] for _ in range(3)] == ["10\n", "11\n", "12;other\n"]
    real("squeue", "echo '11|RUNNING'")
    assert run("squeue", *QUERY)[1] == "11|RUNNING\n10|UNKNOWN\n"
    real("squeue", "echo '10_[2-4]|PENDING'; echo '11_1|COMPLETED'")
    assert run("squeue", *QUERY)[1] == "10_[2-4]|PENDING\n11_1|COMPLETED\n"
    real("squeue", "true")
    assert run("squeue", *QUERY[:-1], RUN.replace("toy", "other"))[1] == ""
    assert run("squeue", "--format=%i|%j", "--name", RUN)[1] == ""


def test_a_job_that_its_node_could_not_start_is_cancelled(real: Make, run: Run, tmp_path: Path) -> None:
    cancelled = real("scancel", "true")
    held = "launch failed requeued held"
    asked = real("squeue", f"echo '7|PENDING|{held}'; echo '8|PENDING|JobHeldUser'; echo '9|RUNNING|None'")
    slurm.wrappers(tmp_path / "state")
    assert run("squeue", *QUERY)[1] == "7|CANCELLED\n8|PENDING\n9|RUNNING\n"
    assert calls(cancelled) == ["7"] and calls(asked)[0].startswith("--format=%i|%T|%r ")


def test_a_job_is_given_again_whole_and_not_one_that_was_taken(real: Make, run: Run, tmp_path: Path) -> None:
    words = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
    slow = f"cat > /dev/null; echo '{words}' >&2; exit 1"
    real("squeue", "true")
    log = real("sbatch", later(2, "cat > $0.script; echo 31", slow))
    slurm.wrappers(tmp_path / "state")
    assert run("sbatch", *SUBMIT, "/dev/stdin", given="#!/bin/sh\npaint\n") == (0, "31\n", "")
    assert len(calls(log)) == 3 and log.with_name("sbatch.script").read_text() == "#!/bin/sh\npaint\n"
    log = real("sbatch", slow)
    asked = real(
        "squeue",
        "echo '31|rule_paint_wildcards_a-1'; echo '32|rule_paint_wildcards_a-2'; echo '33|rule_paint_wildcards_a-1'",
    )
    before = len(calls(log))
    assert run("sbatch", *SUBMIT) == (0, "33\n", "")  # 31 is an earlier one of the same batch
    assert len(calls(log)) == before + 1
    assert calls(asked)[-1] == f"--noheader --states=all --name {RUN} --format=%A|%k"


def test_nothing_is_submitted_when_the_sweep_ends(real: Make, run: Run, tmp_path: Path) -> None:
    log = real("sbatch", "echo 10")
    slurm.wrappers(tmp_path / "state")
    slurm.close(tmp_path / "state")
    code, out, err = run("sbatch", *SUBMIT)
    assert code == 1 and out == "" and "the sweep is ending" in err and not calls(log)


def test_the_commands_are_found_first_and_find_the_real_ones(real: Make, tmp_path: Path) -> None:
    log = real("squeue", "echo '7|RUNNING'; exit 0")
    real("sbatch", "cat; echo; echo $#")
    folder = tmp_path / "a folder 'of' $HOME"
    commands = slurm.wrappers(folder)
    assert sorted(each.name for each in commands.iterdir()) == sorted(
        each
        for each in controller.PROGRAMS
        if each in ("squeue", "sbatch", "scontrol") or controller.behind(each, commands)
    )
    environment = os.environ | {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "/nowhere",
        "PYTHONHOME": "/",
    }
    said = subprocess.run(["squeue", *QUERY], env=environment, capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "7|RUNNING\n", "") and "--noheader" in calls(log)[0]
    said = subprocess.run(["sbatch", "a b", "", "$c"], env=environment, input="script", capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "script\n3\n")
    said = subprocess.run(["scontrol", "show", "config"], env=environment, capture_output=True, text=True)
    assert said.stdout == "MaxArraySize            = 1001\nMinJobAge               = 86400 sec\n"
