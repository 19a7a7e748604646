"""Servers in trouble, servers that say no, redirects, disks without room: what is refused, and how it is said."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from handoff.errors import InputError, MissingError, StorageError
from handoff.files import DigestError
from handoff.weights.download import Part, Patience, download
from tests.handoff.weights.helpers import CONTENT, PATIENT, Fault, FileServer, Get, left


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(server: FileServer, target: Path, get: Get, status: int) -> None:
    server.faults = [Fault(status=status), Fault(status=status)]
    get()
    assert target.read_bytes() == CONTENT and len(server.requests) == 3


def test_a_server_may_say_how_long_to_wait_but_not_for_ever() -> None:
    patience = Patience(pause_s=1.0)
    assert [patience.pause(failures, 0) for failures in (1, 2, 3)] == [1.0, 2.0, 4.0]
    assert patience.pause(1, 7) == 7.0 and patience.pause(1, 86400) == 60.0 and patience.pause(20, 0) == 60.0


def test_retry_after_is_heeded(
    server: FileServer, get: Get, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("handoff.weights.download.time.sleep", waited.append)
    server.faults = [Fault(status=503, retry_after="7")]
    get()
    assert waited == [7.0]
    assert "the server answered 503 Service Unavailable; trying again in 7 s" in capsys.readouterr().err


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_no_is_taken_at_once(server: FileServer, target: Path, get: Get, status: int) -> None:
    server.always = Fault(status=status)
    with pytest.raises(MissingError, match=rf"answered {status} .*{re.escape(server.url)}; .*by hand"):
        get()
    assert len(server.requests) == 1 and left(target) == []


def test_a_server_that_is_not_there_is_given_up_after_all_tries(
    target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://127.0.0.1:9/model.bin"
    with pytest.raises(MissingError, match=r"in 4 tries: the connection failed .*refused.* 0 bytes are kept"):
        download(url, target, sha256="0" * 64, patience=PATIENT)
    assert capsys.readouterr().err.count("trying again") == 3


def test_a_redirect_within_the_machine_is_followed_with_its_range(server: FileServer, target: Path, get: Get) -> None:
    server.faults = [Fault(cut_after=1_000_000), Fault(location="/elsewhere")]
    get()
    assert target.read_bytes() == CONTENT and server.ranges == [None, "bytes=1000000-", "bytes=1000000-"]


@pytest.mark.parametrize("place", ["http://example.invalid/model.bin", "file:///etc/passwd", "ftp://127.0.0.1/model"])
def test_a_redirect_to_anything_but_https_is_refused(server: FileServer, target: Path, get: Get, place: str) -> None:
    server.always = Fault(location=place)
    with pytest.raises(MissingError, match=r"redirects (to .* not https|in a way that is not followed)"):
        get()
    assert len(server.requests) == 1 and left(target) == []


@pytest.mark.parametrize("url", ["http://example.invalid/m", "file:///etc/passwd", "model.bin", "https:///m"])
def test_a_url_that_is_not_https_is_not_asked(target: Path, url: str) -> None:
    with pytest.raises(MissingError, match="is not https"):
        download(url, target, sha256="0" * 64)
    assert not target.parent.exists()


def test_room_on_the_disk_is_looked_at_first(server: FileServer, target: Path) -> None:
    with pytest.raises(StorageError, match=rf"{10**18} bytes more .* free some room"):
        download(server.url, target, sha256=server.sha256, size_bytes=10**18)
    assert server.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_is_said_in_one_sentence(
    server: FileServer, target: Path, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Part, "open", lambda _self, further: open("/dev/full", "wb"))  # noqa: SIM115 the caller closes
    with pytest.raises(StorageError, match=r"model\.bin\.part: no space left on the device; free some room"):
        get()
    assert not target.exists() and len(server.requests) == 1


@pytest.mark.parametrize("name", ["model.bin.part", "model.bin.part.json", ".model.bin.lock"])
@pytest.mark.parametrize("hard", [False, True])
def test_what_is_linked_in_a_models_folder_is_left_alone(target: Path, get: Get, name: str, hard: bool) -> None:
    precious = target.parents[2] / "thesis.tex"
    precious.write_text("precious")
    target.parent.mkdir(parents=True)
    if hard:
        target.with_name(name).hardlink_to(precious)
    else:
        target.with_name(name).symlink_to(precious)
    with contextlib.suppress(InputError, StorageError):
        get()
        assert target.read_bytes() == CONTENT
    assert precious.read_text() == "precious"


def test_a_file_that_is_there_is_verified_and_not_overwritten(server: FileServer, target: Path, get: Get) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(DigestError, match=r"4 bytes of 3000000.*move it away"):
        get()
    assert target.read_bytes() == b"mine" and server.requests == []
