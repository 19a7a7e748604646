"""What a download takes from this machine's settings: proxies for other machines, and whom to trust. Nothing else."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from handoff.errors import MissingError
from handoff.weights.download import download
from runner.process import ROOT
from tests.handoff.weights.helpers import CONTENT, PATIENT, Fault, FileServer, Get, left

PROXIES = ("http_proxy", "https_proxy", "all_proxy")
ELSEWHERE = "https://models.example.invalid/model.bin"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy of the environment that lets nobody through; what it is asked for."""
    asked: list[str] = []

    class Refuse(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        do_GET = do_CONNECT

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("no_proxy", *PROXIES):
            for each in (name, name.upper()):
                monkeypatch.delenv(each, raising=False)
                if name != "no_proxy":
                    monkeypatch.setenv(each, f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def test_a_proxy_is_for_other_machines(
    server: FileServer, target: Path, get: Get, proxy: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    get()
    assert target.read_bytes() == CONTENT and proxy == []
    target.unlink()
    server.faults = [Fault(location=ELSEWHERE)] * 4
    with pytest.raises(MissingError, match=r"in 4 tries: the connection failed .*403"):
        get()
    assert proxy == ["models.example.invalid:443"] * 4, "each place of a redirect is looked at by itself"


@pytest.mark.parametrize("setting", [{"no_proxy": "example.invalid"}, {"http_proxy": "", "https_proxy": ""}])
def test_a_proxy_is_passed_by_where_the_environment_says_so(
    target: Path, proxy: list[str], setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all_proxy alone too, as it has always been: it is a SOCKS proxy's more often than not."""
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.upper(), value)
    with pytest.raises(MissingError, match=r"the connection failed \(\[Errno"):
        download(ELSEWHERE, target, sha256="0" * 64, patience=PATIENT)
    assert proxy == []


def test_no_password_of_this_machine_is_sent(
    server: FileServer, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    get()
    assert {"User-Agent", "Accept-Encoding"} <= server.requests[0].keys()
    assert not {"Authorization", "Cookie"} & server.requests[0].keys()


@pytest.fixture
def secure(server: FileServer, tmp_path: Path) -> tuple[str, Path]:
    """The file's URL over https, and the certificate that its server has."""
    if shutil.which("openssl") is None:
        pytest.skip("this machine has no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.secure = context
    return server.url.replace("http://", "https://"), certificate


def test_a_certificate_counts_where_python_trusts_it(
    server: FileServer, target: Path, secure: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = secure
    with pytest.raises(MissingError, match=r"certificate is not trusted here \(self.signed.*\).*SSL_CERT_FILE"):
        download(url, target, sha256=server.sha256, patience=PATIENT)
    assert server.requests == [] and left(target) == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    download(url, target, sha256=server.sha256, patience=PATIENT)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["/model.bin", None])
def test_redirects_without_end_or_without_a_place_are_not_followed(
    server: FileServer, target: Path, get: Get, place: str | None
) -> None:
    server.always = Fault(status=302, location=place)
    with pytest.raises(MissingError, match=r"redirects in a way that is not followed \(302\)"):
        get()
    assert len(server.requests) == (10 if place else 1) and left(target) == []


def test_a_body_is_taken_as_it_comes_whatever_packing_it_claims(server: FileServer, target: Path, get: Get) -> None:
    server.always = Fault(headers={"Content-Encoding": "gzip"})
    get()
    assert target.read_bytes() == CONTENT and server.requests[0]["Accept-Encoding"] == "identity"


def test_nothing_but_a_download_needs_requests() -> None:
    """Stages that have no requests look weights up too, and whoever has none may check and list."""
    code = (
        "import sys; sys.modules['requests'] = None; import handoff.weights.cli, handoff.weights.store\n"
        "handoff.weights.cli.command(['--list'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "profiles:" in done.stdout, done.stderr
