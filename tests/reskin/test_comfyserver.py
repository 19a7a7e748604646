"""The server's life: it starts, it says why when it does not, and it never outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from runner.comfy.comfyserver import serve
from runner.process import ROOT, RunnerError
from tests.helpers import HANG_S, until

STAND_IN = """
import http.server, json, os, sys
port = int(sys.argv[sys.argv.index("--port") + 1])
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        said = {"argv": sys.argv, "pid": os.getpid(), "env": dict(os.environ)}
        self.wfile.write(json.dumps({"system": said}).encode())
print("\\x1b[32m[INFO]\\x1b[0m listening", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
"""


def tree(folder: Path, main: str = STAND_IN) -> Path:
    """A source tree whose main.py stands in for ComfyUI's."""
    folder.mkdir()
    (folder / "main.py").write_text(main)
    return folder


def stats(address: str) -> dict[str, object]:
    import json

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/system_stats", timeout=60) as answer:
        return dict(json.load(answer)["system"])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not Path(f"/proc/{pid}/stat").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def gone(pid: int) -> bool:
    """Wait until that process is no more."""
    until(f"process {pid} ends", lambda: not alive(pid))
    return True


def start(tmp_path: Path, main: str = STAND_IN, timeout_s: float = HANG_S):  # type: ignore[no-untyped-def]
    source = tree(tmp_path / "source", main)
    return serve(Path(sys.executable), source, tmp_path / "work", tmp_path / "comfyui.log", timeout_s=timeout_s)


def test_it_serves_on_loopback_and_ends_with_the_block(tmp_path: Path) -> None:
    with start(tmp_path) as address:
        seen = stats(address)
        assert address.startswith("127.0.0.1:")
        assert (tmp_path / "work" / "output").is_dir()
    pid = seen["pid"]
    assert isinstance(pid, int)
    assert gone(pid)
    assert not (tmp_path / "work").exists()


def test_it_is_told_to_stay_by_itself(tmp_path: Path) -> None:
    with start(tmp_path) as address:
        argv = stats(address)["argv"]
    assert isinstance(argv, list)
    flags = ("--disable-all-custom-nodes", "--disable-api-nodes", "--disable-auto-launch", "--front-end-root")
    assert all(flag in argv for flag in flags)
    assert argv[argv.index("--listen") + 1] == "127.0.0.1"
    assert argv[argv.index("--database-url") + 1] == "sqlite:///:memory:"
    assert "--cache-none" not in argv, "models are kept from window to window"
    assert int(argv[argv.index("--max-upload-size") + 1]) > 100
    for name in ("base", "input", "output", "temp", "user"):
        assert argv[argv.index(f"--{name}-directory") + 1] == str((tmp_path / "work" / name).resolve())


def test_it_has_a_clean_environment_and_a_home_that_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where programs, libraries and cards are, and nothing that is a secret or changes what Python does."""
    secrets = ("HF_TOKEN", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "CUDA_SECRET", "OPENAI_API_KEY", "CI_JOB_JWT")
    others = ("HTTP_PROXY", "PYTHONPATH", "PYTHONSAFEPATH", "PYTHONSTARTUP", "SSH_AUTH_SOCK", "PIP_INDEX_URL", "A_B")
    passed = {"CUDA_VISIBLE_DEVICES": "1", "PYTORCH_CUDA_ALLOC_CONF": "x", "OMP_NUM_THREADS": "2", "LC_ALL": "C.UTF-8"}
    for name in (*secrets, *others):
        monkeypatch.setenv(name, "mine")
    for name, value in passed.items():
        monkeypatch.setenv(name, value)
    with start(tmp_path) as address:
        seen = stats(address)["env"]
    assert isinstance(seen, dict)
    assert not set(seen) & {*secrets, *others} and "mine" not in seen.values()
    assert passed.items() <= seen.items() and seen["PATH"] == os.environ["PATH"]
    assert seen["HOME"] == str((tmp_path / "work" / "base").resolve()) and seen["HF_HUB_OFFLINE"] == "1"


def test_nothing_in_its_source_stands_before_pythons_own_library_until_it_is_the_server(tmp_path: Path) -> None:
    source = tree(tmp_path / "source")
    (source / "ctypes.py").write_text("raise SystemExit(9)")
    with serve(Path(sys.executable), source, tmp_path / "work", tmp_path / "log", timeout_s=HANG_S) as address:
        assert stats(address)["pid"]


def test_two_at_once_have_two_ports(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with start(tmp_path / "a") as first, start(tmp_path / "b") as second:
        assert stats(first)["pid"] != stats(second)["pid"]


def test_the_models_folder_is_named_and_is_not_its_own_to_clear(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "vae").mkdir(parents=True)
    (models / "vae" / "wan.safetensors").write_text("weights")
    source = tree(tmp_path / "source")
    with serve(Path(sys.executable), source, tmp_path / "work", tmp_path / "log", models=models) as address:
        argv = stats(address)["argv"]
    assert isinstance(argv, list)
    assert argv[argv.index("--models-directory") + 1] == str(models)
    assert (models / "vae" / "wan.safetensors").exists()


def test_one_that_is_killed_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with start(tmp_path) as address:
        pid = int(str(stats(address)["pid"]))
        os.kill(pid, signal.SIGKILL)
        assert gone(pid)
    assert "ended by itself with code -9 (killed; out of memory?); its log:" in capsys.readouterr().err


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_ends_on_any_exception(tmp_path: Path, error: type[BaseException]) -> None:
    pid = 0
    with pytest.raises(error), start(tmp_path) as address:
        pid = int(str(stats(address)["pid"]))
        raise error
    assert gone(pid)


def test_it_ends_even_when_it_will_not_listen_to_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.comfy.comfyserver.STOP_TIMEOUT_S", 0.5)
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + STAND_IN
    with start(tmp_path, stubborn) as address:
        pid = int(str(stats(address)["pid"]))
    assert gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_does_not_outlive_a_killed_parent(tmp_path: Path, how: signal.Signals) -> None:
    source = tree(tmp_path / "source")
    code = (
        "import sys, time; from pathlib import Path; from runner.comfy.comfyserver import serve\n"
        "source, work, log = map(Path, sys.argv[1:])\n"
        "with serve(Path(sys.executable), source, work, log) as address:\n"
        "    print(address, flush=True); time.sleep(600)\n"
    )
    arguments = [sys.executable, "-c", code, str(source), str(tmp_path / "work"), str(tmp_path / "log")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(str(stats(parent.stdout.readline().strip())["pid"]))
        assert alive(pid)
        parent.send_signal(how)
    assert gone(pid)


def test_a_server_that_dies_says_why(tmp_path: Path) -> None:
    main = "import sys\nprint('\\x1b[31mRuntimeError: no such device\\x1b[0m')\nsys.exit(7)"
    with pytest.raises(RunnerError, match=r"ended with code 7(?s:.)*\nRuntimeError: no such device$") as caught:
        start(tmp_path, main).__enter__()
    assert caught.value.exit_code == 3


def test_a_server_that_never_answers_is_stopped_at_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def noted(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **settings))
        return started[-1]

    popen = subprocess.Popen
    monkeypatch.setattr("runner.comfy.comfyserver.subprocess.Popen", noted)
    with pytest.raises(RunnerError, match="did not answer within 2 s"):
        start(tmp_path, "import time\ntime.sleep(3600)", timeout_s=2).__enter__()
    assert gone(started[0].pid)


def test_a_stranger_on_the_port_is_not_taken_for_our_server(tmp_path: Path) -> None:
    stranger = STAND_IN.replace('"argv": sys.argv', '"argv": []')
    with pytest.raises(RunnerError, match="no free port"):
        start(tmp_path, stranger).__enter__()


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = tree(tmp_path / "source")
    with pytest.raises(RunnerError, match="/nowhere/python does not start"):
        serve(Path("/nowhere/python"), source, tmp_path / "work", tmp_path / "log").__enter__()
