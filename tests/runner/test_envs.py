"""Stage environments: made once, made anew when the lock changes, never broken by a second run."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import envs
from runner.comfy import comfysource
from runner.holds import locked
from runner.process import ROOT, RunnerError
from tests.helpers import HANG_S, until
from tests.preload import preloaded

LOCK = re.search(r"^iniconfig==.*?(?=^\S)", (ROOT / "tests" / "requirements.lock").read_text(), re.M | re.S)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with one stage that needs one small package, and the runner's own environment at hand."""
    return make_project(tmp_path, monkeypatch)


def make_project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    installer = envs.ensure_env("runner").parent.parent
    assert LOCK
    for stage, text in (("tracker", LOCK.group()), ("runner", (ROOT / "runner" / "requirements.lock").read_text())):
        (folder / stage).mkdir()
        (folder / stage / "requirements.lock").write_text(text)
    (folder / ".envs").mkdir()
    (folder / ".envs" / installer.name).symlink_to(installer)
    monkeypatch.setattr(envs, "ROOT", folder)
    monkeypatch.setattr(envs, "ENVS", folder / ".envs")
    return folder


def imports(python: Path) -> bool:
    return subprocess.run([python, "-c", "import iniconfig"], check=False, capture_output=True).returncode == 0


def ensure_elsewhere(project: Path, then: str = "", environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    code = (
        "from pathlib import Path\nfrom runner import envs\n"
        f"envs.ROOT = Path({str(project)!r})\nenvs.ENVS = envs.ROOT / '.envs'\n"
        f"print(envs.ensure_env('tracker'), flush=True)\n{then}"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE,
        text=True, env=environment,
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
    with locked(project / ".envs" / "tracker.lock"):
        other = ensure_elsewhere(project)
        until("it waits for the lock", lambda: waits_for_a_lock(other.pid) or other.poll() is not None)
        assert other.poll() is None
    assert imports(Path(other.communicate(timeout=HANG_S)[0].strip()))


def test_source_archives_are_built_with_what_the_lock_says_and_sam2_without_cuda(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(
        envs, "call", lambda command, _, lock, **extra: seen.append(([str(each) for each in command], extra))
    )
    envs._make_venv_with_uv(project / "new", project / "tracker" / "requirements.lock", None)
    command, extra = seen[-1]
    lock = str(project / "tracker" / "requirements.lock")
    assert command[command.index("--build-constraints") + 1] == lock and command[-1] == lock
    assert "--require-hashes" in command and extra["SAM2_BUILD_CUDA"] == "0"


SLOW_UV = """#!{python}
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[-1] if sys.argv[1] == "venv" else sys.argv[sys.argv.index("--python") + 1])
if sys.argv[1] == "venv":
    (folder / "bin").mkdir()
    (folder / "bin" / "python").touch()
    sys.exit()
signal.signal(signal.SIGTERM, {handler})
said = pathlib.Path({said!r})
said.with_suffix(".partial").write_text(str(os.getpid()))
said.with_suffix(".partial").rename(said)
while not said.with_suffix(".end").exists():
    time.sleep(0.01)
said.with_suffix(".wrote").touch()
"""


@pytest.fixture
def slow_uv(project: Path, request: pytest.FixtureRequest) -> Path:
    """A stand-in for uv that installs until it is told to end; the file with its process number, once it does."""
    said = project / "uv.pid"
    runner = next((project / ".envs").glob("runner-*"))
    real = runner.resolve()
    runner.unlink()
    (runner / "bin").mkdir(parents=True)
    (runner / "bin" / "python").symlink_to(real / "bin" / "python")
    (runner / ".complete").touch()
    uv = runner / "bin" / "uv"
    uv.write_text(SLOW_UV.format(python=sys.executable, said=str(said), handler=request.param))
    uv.chmod(0o755)
    return said


def ended(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("slow_uv", ["signal.SIG_DFL"], indirect=True)
def test_uv_ends_with_a_command_that_is_killed(project: Path, slow_uv: Path) -> None:
    with ensure_elsewhere(project) as command:
        until("uv installs", lambda: slow_uv.exists() or command.poll() is not None)
        command.send_signal(signal.SIGKILL)
    try:
        until("uv ends", lambda: ended(int(slow_uv.read_text())))
    finally:
        slow_uv.with_suffix(".end").touch()


@pytest.mark.parametrize("slow_uv", ["signal.SIG_IGN"], indirect=True)
def test_a_uv_that_outlives_its_command_still_has_the_lock(project: Path, slow_uv: Path) -> None:
    with ensure_elsewhere(project) as command:
        until("uv installs", lambda: slow_uv.exists() or command.poll() is not None)
        command.send_signal(signal.SIGKILL)
    uv = int(slow_uv.read_text())
    slow_uv.unlink()
    try:
        with ensure_elsewhere(project) as next_one:
            until("it waits for the lock", lambda: waits_for_a_lock(next_one.pid) or next_one.poll() is not None)
            assert next_one.poll() is None and not ended(uv) and not slow_uv.exists(), "it did not wait"
            slow_uv.with_suffix(".end").touch()
            until("the first uv ends", lambda: ended(uv))
            until("the next one installs", slow_uv.exists)
            assert next_one.communicate(timeout=HANG_S)[1].count("is not in") == 1, "the stand-in installs nothing"
    finally:
        slow_uv.with_suffix(".end").touch()


def test_an_old_one_that_is_half_removed_does_not_count(project: Path) -> None:
    """SIGKILL after any number of the files: those of the old environment that are left are not its whole."""
    lock = project / "tracker" / "requirements.lock"
    text = lock.read_text()
    old = envs.ensure_env("tracker").parent.parent
    lock.write_text("# another\n" + text)
    code = (
        "import os, shutil, signal\nfrom pathlib import Path\nfrom runner import envs\n"
        f"envs.ROOT = Path({str(project)!r})\nenvs.ENVS = envs.ROOT / '.envs'\n"
        "def half(folder, ignore_errors):\n"
        "    real(next(folder.glob('lib/python*/site-packages/iniconfig')))\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "real, shutil.rmtree = shutil.rmtree, half\nenvs._remove_old('tracker', envs.ENVS / 'other')\n"
    )
    while envs._held:  # this process uses it no more
        os.close(envs._held.pop())
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert old.exists() and not (old / ".complete").exists()
    lock.write_text(text)
    assert imports(envs.ensure_env("tracker"))


ELSEWHERE = {
    "PIP_TARGET": "{}", "PIP_PREFIX": "{}", "PIP_ROOT": "{}", "PIP_USER": "1", "PIP_CONSTRAINT": "{}/none.txt",
    "PIP_REQUIRE_VIRTUALENV": "1", "PIP_DRY_RUN": "1", "PIP_NO_DEPS": "0", "UV_TARGET": "{}", "UV_PREFIX": "{}",
    "UV_PYTHON": "3.9", "UV_SYSTEM_PYTHON": "1", "UV_CONSTRAINT": "{}/none.txt", "UV_EXCLUDE_NEWER": "2001-01-01",
    "UV_NO_BINARY": "1", "UV_PROJECT_ENVIRONMENT": "{}", "UV_DRY_RUN": "1", "VIRTUAL_ENV": "{}", "CONDA_PREFIX": "{}",
    "PYTHONHOME": "{}", "PYTHONPATH": "{}", "PYTHONSTARTUP": "{}/none.py", "PYTHONUSERBASE": "{}",
    "__PYVENV_LAUNCHER__": "{}", "GIT_DIR": "{}",
}  # fmt: skip


def test_nothing_in_the_environment_says_what_is_installed_or_where_to(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "pip.py").write_text("raise SystemExit('a file in the current folder was executed')\n")
    (elsewhere / "uv.toml").write_text('[pip]\ntarget = "elsewhere"\n')
    (project / ".envs" / next((project / ".envs").glob("runner-*")).name).unlink()  # pip makes it
    before = sorted(elsewhere.rglob("*"))
    with monkeypatch.context() as here:
        for name, value in ELSEWHERE.items():
            here.setenv(name, value.format(elsewhere))
        here.chdir(elsewhere)
        python = envs.ensure_env("tracker")
        assert not set(ELSEWHERE) & set(envs.set_up_environment())
    assert imports(python) and (envs.ensure_env("runner").parent / "uv").exists()
    assert sorted(elsewhere.rglob("*")) == before


def test_the_way_to_packages_is_passed_on_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [
        "PATH", "HOME", "TMPDIR", "LC_ALL", "LD_LIBRARY_PATH", "XDG_CACHE_HOME", "HTTPS_PROXY", "https_proxy",
        "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
        "PIP_CERT", "PIP_TRUSTED_HOST", "PIP_CACHE_DIR", "PIP_CONFIG_FILE", "PIP_FIND_LINKS", "UV_INDEX_URL",
        "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_COMPANY_USERNAME", "UV_INDEX_COMPANY_PASSWORD", "UV_CACHE_DIR",
        "UV_CONFIG_FILE", "UV_INSECURE_HOST", "UV_OFFLINE", "NETRC",
    ]  # fmt: skip
    for name in kept:
        monkeypatch.setenv(name, "value")
    others = ["HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "LD_PRELOAD", "UV_PUBLISH_TOKEN"]
    for name in others:
        monkeypatch.setenv(name, "secret")
    given = envs.set_up_environment()
    assert [given.get(name) for name in kept] == ["value"] * len(kept)
    assert not set(others) & set(given)


def test_the_page_of_environment_variables_lists_what_installers_are_given() -> None:
    page = (ROOT / "docs" / "reference" / "environment.md").read_text()
    start, end = page.index("* The system: `PATH`"), page.index("They run in the project's folder")
    listed = set(re.findall(r"`([A-Z_]+[A-Z])`", page[start:end]))
    assert all(envs._PASSED_ON.fullmatch(name) for name in listed), listed
    for prefix in ("PIP", "UV"):
        group = re.search(rf"\|{prefix}_\(([A-Z_|]+)\)", envs._PASSED_ON.pattern)
        assert group and {f"{prefix}_{name}" for name in group[1].split("|")} <= listed


def test_packages_that_a_configuration_file_sends_elsewhere_are_missed(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uv.toml").write_text(f'[pip]\ntarget = "{tmp_path}/elsewhere"\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    with pytest.raises(
        RunnerError, match=r"iniconfig==\S+ is not in .*/\.envs/tracker-.* configuration file of pip or uv"
    ):
        envs.ensure_env("tracker")
    assert not list((project / ".envs").glob("tracker-*/.complete"))


def test_no_settings_are_looked_for_in_the_folders_above_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/tmp/uv.toml, of anybody, above a checkout in /tmp, could name another index and more packages to build with."""
    uv = envs.ensure_env("runner").parent / "uv"
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "uv.toml").write_text("this is no TOML")
    monkeypatch.setattr(envs, "ROOT", project)
    with pytest.raises(RunnerError, match=r"uv\.toml"):
        envs.call([uv, "venv", "--python", sys.executable, tmp_path / "venv"], "uv venv")
    shutil.copy(ROOT / "pyproject.toml", project)
    envs.call([uv, "venv", "--python", sys.executable, tmp_path / "venv"], "uv venv")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.sshCommand", "theirs"], check=True)
    monkeypatch.setattr(comfysource, "ROOT", project)
    assert comfysource._git("config", "--get", "core.sshCommand", timeout_s=HANG_S) is None
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    assert comfysource._git("rev-parse", "--git-dir", timeout_s=HANG_S) == ".git\n"


def test_everything_is_on_the_disk_before_the_stamp(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    target = project / "env"
    target.mkdir()

    class Library:
        def syncfs(self, descriptor: int) -> int:
            assert os.path.samestat(os.fstat(descriptor), target.stat())
            seen.append(f"syncfs, stamp {(target / '.complete').exists()}")
            return -1

    monkeypatch.setattr(envs.ctypes, "CDLL", lambda _: Library())
    monkeypatch.setattr(envs.os, "sync", lambda: seen.append(f"sync, stamp {(target / '.complete').exists()}"))
    monkeypatch.setattr(envs, "fsync", lambda path: seen.append(f"fsync {path.name}"))
    envs._stamp(target)
    assert seen == ["syncfs, stamp False", "sync, stamp False", "fsync .complete", "fsync env"]


def test_one_whose_python_is_gone_is_made_again(project: Path) -> None:
    python = envs.ensure_env("tracker")
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    assert imports(envs.ensure_env("tracker"))


AS_NOBODY = """
import os, pathlib, sys
from runner import envs
from runner.comfy import comfysource
envs.ROOT = pathlib.Path(sys.argv[1])
envs.ENVS = envs.ROOT / ".envs"
os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
try:
    print(envs.ensure_env("tracker"), len(envs._held), flush=True)
    sys.stdin.read()
except envs.RunnerError as error:
    print(error.exit_code, error)
"""


@pytest.fixture
def owned_by_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project that other users may read and not write; pytest's own folders may not be read."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    with tempfile.TemporaryDirectory(prefix="skate-project-") as folder:
        Path(folder).chmod(0o755)
        yield make_project(Path(folder), monkeypatch)


def as_nobody(project: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", AS_NOBODY, str(project)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def anybodys(python: Path) -> None:
    """The Python of these tests may lie in root's home."""
    python.unlink()
    python.symlink_to("/bin/sh")


def test_another_users_environment_is_used_and_kept_while_it_is(owned_by_root: Path) -> None:
    lock = owned_by_root / "tracker" / "requirements.lock"
    with ensure_elsewhere(owned_by_root) as owner:
        python = owner.communicate(timeout=HANG_S)[0].strip()
    anybodys(Path(python))
    with as_nobody(owned_by_root) as user:
        assert user.stdout and user.stdout.readline() == f"{python} 1\n"
        lock.write_text("# another\n" + lock.read_text())
        with ensure_elsewhere(owned_by_root) as owner:
            owner.communicate(timeout=HANG_S)
        assert Path(python).exists(), "it was removed under its user"
        user.communicate()


def test_another_users_environment_without_its_hidden_files_is_used_all_the_same(owned_by_root: Path) -> None:
    """A copy may lack them, and nobody but its owner can make them."""
    with ensure_elsewhere(owned_by_root) as owner:
        python = Path(owner.communicate(timeout=HANG_S)[0].strip())
    anybodys(python)
    (owned_by_root / ".envs" / "tracker.lock").unlink()
    (python.parent.parent / ".in-use").unlink()
    with as_nobody(owned_by_root) as user:
        assert user.communicate()[0] == f"{python} 0\n"


@pytest.mark.parametrize(
    ("there", "why"),
    [("nothing", "{}"), ("half", "{}"), ("hidden", "{}/.complete"), ("python hidden", "{}/bin/python")],
)
def test_another_users_environment_that_cannot_be_used_is_a_sentence(owned_by_root: Path, there: str, why: str) -> None:
    folder = owned_by_root / ".envs" / f"tracker-{envs._key(owned_by_root / 'tracker' / 'requirements.lock')}"
    if there != "nothing":
        folder.mkdir(mode=0o700 if there == "hidden" else 0o755)
    if there == "python hidden":
        (folder / ".complete").touch()
        (folder / "bin").mkdir()
        (owned_by_root / "private").mkdir(mode=0o700)
        (folder / "bin" / "python").symlink_to(owned_by_root / "private" / "python")
    with as_nobody(owned_by_root) as user:
        said = user.communicate()[0]
    assert said == (
        f"3 this user can neither use nor make the tracker environment, {folder} ({why.format(folder)}: Permission "
        "denied); have its owner run the same command once, with a Python that everybody may read, or use a copy of "
        "the project of your own.\n"
    )


def test_environments_on_nfs_and_without_locks(project: Path, tmp_path: Path) -> None:
    for locks, warnings in (("nfs", 0), (errno.ENOLCK, 1)):
        with ensure_elsewhere(project, environment=preloaded(tmp_path, locks=locks, folders=errno.EINVAL)) as command:
            output, errors = command.communicate(timeout=HANG_S)
        assert command.returncode == 0 and imports(Path(output.strip())), errors
        assert errors.count("has no locks; do not start two commands there at once") == warnings


@pytest.mark.parametrize("stage", ["tracker", "evaluator", "tests"])
def test_whatever_tracks_has_the_same_sam_2_and_the_tools_that_build_it(stage: str) -> None:
    lock = (ROOT / stage / "requirements.lock").read_text()
    for pin in ("torch==2.10.0", "torchvision==0.25.0", "sam2==1.1.0", "setuptools==84.2.1", "wheel==0.48.0"):
        assert re.search(rf"^{re.escape(pin)} \\$", lock, re.M), pin
