"""Stage environments: made once, made anew when the lock changes, never broken by a second run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner import envs
from runner.process import ROOT, RunnerError
from tests.helpers import HANG_S, until

LOCK = re.search(r"^ijson==.*?(?=^\S)", (ROOT / "tests" / "requirements.lock").read_text(), re.M | re.S)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with one stage that needs one small package, and the runner's own environment at hand."""
    installer = envs.ensure_env("runner").parent.parent
    assert LOCK
    for stage, text in (("tracker", LOCK.group()), ("runner", (ROOT / "runner" / "requirements.lock").read_text())):
        (tmp_path / stage).mkdir()
        (tmp_path / stage / "requirements.lock").write_text(text)
    (tmp_path / ".envs").mkdir()
    (tmp_path / ".envs" / installer.name).symlink_to(installer)
    monkeypatch.setattr(envs, "ROOT", tmp_path)
    monkeypatch.setattr(envs, "ENVS", tmp_path / ".envs")
    return tmp_path


def imports(python: Path) -> bool:
    return subprocess.run([python, "-c", "import ijson"], check=False, capture_output=True).returncode == 0


def ensure_elsewhere(project: Path, then: str = "") -> subprocess.Popen[str]:
    code = (
        "from pathlib import Path\nfrom runner import envs\n"
        f"envs.ROOT = Path({str(project)!r})\nenvs.ENVS = envs.ROOT / '.envs'\n"
        f"print(envs.ensure_env('tracker'), flush=True)\n{then}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def test_an_environment_is_made_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = envs.ensure_env("tracker")
    assert imports(python)
    assert "setting up the tracker environment" in capsys.readouterr().err
    assert envs.ensure_env("tracker") == python
    assert capsys.readouterr().err == ""


def test_a_changed_lock_makes_a_new_one_whatever_the_dates(project: Path) -> None:
    lock = project / "tracker" / "requirements.lock"
    first = envs.ensure_env("tracker")
    lock.write_text("# another\n" + lock.read_text())
    second = envs.ensure_env("tracker")
    assert second != first and imports(second)


def test_an_old_one_goes_only_when_nobody_uses_it(project: Path) -> None:
    lock = project / "tracker" / "requirements.lock"
    user = ensure_elsewhere(project, "input()")
    assert user.stdout and user.stdin
    old = Path(user.stdout.readline().strip())
    lock.write_text("# another\n" + lock.read_text())
    envs.ensure_env("tracker")
    assert imports(old)
    user.communicate("\n")
    lock.write_text("# yet another\n" + lock.read_text())
    envs.ensure_env("tracker")
    assert not old.exists()


def test_one_that_was_left_half_made_is_made_again(project: Path) -> None:
    python = envs.ensure_env("tracker")
    (python.parent.parent / ".complete").unlink()
    (python.parent / "python").unlink()
    assert imports(envs.ensure_env("tracker"))


def test_two_at_once_make_one_environment_and_both_can_use_it(project: Path) -> None:
    both = [ensure_elsewhere(project) for _ in range(2)]
    outputs = [process.communicate(timeout=HANG_S) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][0] == outputs[1][0]
    assert imports(Path(outputs[0][0].strip()))
    assert sum("(first use) ..." in errors for _, errors in outputs) == 1


def test_a_wrong_hash_is_refused_and_nothing_counts_as_made(project: Path) -> None:
    lock = project / "tracker" / "requirements.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    with pytest.raises(RunnerError, match=r"(?s)tracker/requirements\.lock failed.*sha256:0000.*Computed"):
        envs.ensure_env("tracker")
    assert not list((project / ".envs").glob("tracker-*/.complete"))


def waits_for_a_lock(process: int) -> bool:
    """As the kernel lists it: an arrow before who waits."""
    rows = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any(row[1] == "->" and row[5] == str(process) for row in rows)


def test_a_second_process_waits_for_the_first(project: Path) -> None:
    with envs.locked(project / ".envs" / "tracker.lock"):
        other = ensure_elsewhere(project)
        until("it waits for the lock", lambda: waits_for_a_lock(other.pid) or other.poll() is not None)
        assert other.poll() is None
    assert imports(Path(other.communicate(timeout=HANG_S)[0].strip()))


def test_source_archives_are_built_with_what_the_lock_says_and_sam2_without_cuda(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(envs, "call", lambda command, _, **extra: seen.append(([str(each) for each in command], extra)))
    envs._make_venv_with_uv(project / "new", project / "tracker" / "requirements.lock")
    command, extra = seen[-1]
    lock = str(project / "tracker" / "requirements.lock")
    assert command[command.index("--build-constraints") + 1] == lock and command[-1] == lock
    assert "--require-hashes" in command and extra["SAM2_BUILD_CUDA"] == "0"


@pytest.mark.parametrize("stage", ["tracker", "evaluator", "tests"])
def test_whatever_tracks_has_the_same_sam_2_and_the_tools_that_build_it(stage: str) -> None:
    lock = (ROOT / stage / "requirements.lock").read_text()
    for pin in ("torch==2.10.0", "torchvision==0.25.0", "sam2==1.1.0", "setuptools==84.2.1", "wheel==0.48.0"):
        assert re.search(rf"^{re.escape(pin)} \\$", lock, re.M), pin
