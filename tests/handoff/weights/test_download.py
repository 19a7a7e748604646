"""A download ends with the right file or with none; what has come is kept and built upon."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from handoff.errors import MissingError
from handoff.files import DigestError
from handoff.weights.download import download
from tests.handoff.weights.helpers import CONTENT, HASTY, PATIENT, Fault, FileServer, Get, left


def test_a_good_server_is_asked_once_and_only_the_file_is_left(server: FileServer, target: Path, get: Get) -> None:
    get()
    assert target.read_bytes() == CONTENT
    assert left(target) == ["model.bin"] and server.ranges == [None]


def test_a_truncated_body_is_continued_where_it_ended(server: FileServer, target: Path, get: Get) -> None:
    server.faults = [Fault(cut_after=1_000_000), Fault(cut_after=500_000)]
    get()
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-", "bytes=1500000-"]
    assert [each.get("If-Range") for each in server.requests] == [None, '"1"', '"1"']


def test_a_truncated_body_without_a_length_is_noticed_too(server: FileServer, target: Path, get: Get) -> None:
    server.faults = [Fault(cut_after=1_000_000, chunked=True)]
    get()
    assert target.read_bytes() == CONTENT and server.ranges[1] == "bytes=1000000-"


@pytest.mark.parametrize("fault", [Fault(stall_after=700_000), Fault(trickle_after=700_000)])
def test_a_server_that_falls_silent_or_trickles_is_given_up_and_asked_anew(
    server: FileServer, target: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    server.faults = [fault]
    download(server.url, target, sha256=server.sha256, size_bytes=len(CONTENT), patience=HASTY)
    assert target.read_bytes() == CONTENT
    begin = int(str(server.ranges[1]).removeprefix("bytes=").removesuffix("-"))
    assert 700_000 <= begin < 702_000
    assert re.search(r"model.bin: (nothing came for 2 s|only \d+ bytes came in \d+.\d s)", capsys.readouterr().err)


def test_a_server_that_ignores_ranges_is_taken_from_the_beginning(server: FileServer, target: Path, get: Get) -> None:
    server.faults = [Fault(cut_after=1_000_000), Fault(ignore_range=True)]
    get()
    assert target.read_bytes() == CONTENT and server.ranges == [None, "bytes=1000000-"]


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_given_up(server: FileServer, get: Get) -> None:
    server.always = Fault(cut_after=2_000_000, ignore_range=True)
    with pytest.raises(MissingError, match=r"in 4 tries: the connection ended after 2000000 of 3000000 bytes"):
        get()
    # the first of them brought more than ever before, so it did not count
    assert len(server.requests) == 4


def test_bytes_from_the_wrong_place_are_not_appended(server: FileServer, target: Path, get: Get) -> None:
    server.faults = [Fault(cut_after=1_000_000), Fault(range_shift=10)]
    get()
    assert target.read_bytes() == CONTENT and server.ranges == [None, "bytes=1000000-", None]


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changed_between_two_tries_is_not_spliced(
    server: FileServer, target: Path, get: Get, honest: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The part is of an old version, with the old ETag; an honest server heeds If-Range, another one does not."""
    server.content, server.etag = bytes(len(CONTENT)), '"0"'
    server.always = Fault(cut_after=100_000)
    with pytest.raises(MissingError):
        get()
    server.content, server.etag = CONTENT, '"1"'
    server.always, server.requests = Fault(ignore_if_range=not honest), []
    get()
    assert target.read_bytes() == CONTENT
    assert server.ranges[0] == "bytes=400000-" and server.requests[0]["If-Range"] == '"0"'
    assert len(server.requests) == (1 if honest else 2)
    assert ("the file was changed on the server" in capsys.readouterr().err) is not honest


def test_a_splice_that_no_etag_reveals_is_found_by_the_digest_and_fetched_in_one_piece(
    server: FileServer, target: Path, get: Get
) -> None:
    server.content, server.etag, server.always = bytes(len(CONTENT)), None, Fault(cut_after=100_000)
    with pytest.raises(MissingError):
        get()
    server.content, server.always, server.requests = CONTENT, Fault(), []
    get()
    assert target.read_bytes() == CONTENT and len(server.requests) == 2 and server.ranges[1] is None


def test_wrong_bytes_are_refused_with_both_digests_and_nothing_is_kept(
    server: FileServer, target: Path, get: Get
) -> None:
    wrong = server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    with pytest.raises(DigestError) as caught:
        get()
    assert caught.value.expected == hashlib.sha256(CONTENT).hexdigest()
    assert caught.value.actual == hashlib.sha256(wrong).hexdigest()
    assert caught.value.expected in str(caught.value) and caught.value.actual in str(caught.value)
    assert caught.value.exit_code == 3 and left(target) == [] and len(server.requests) == 1


def test_a_file_of_another_length_is_refused_before_it_comes(server: FileServer, target: Path, get: Get) -> None:
    server.content = b"<html>please log in</html>"
    with pytest.raises(MissingError, match="is a file of 26 bytes now, it must have 3000000"):
        get()
    assert left(target) == []


def test_more_bytes_than_there_may_be_are_not_taken_for_ever(server: FileServer, target: Path, get: Get) -> None:
    server.content, server.always = CONTENT + bytes(20_000_000), Fault(chunked=True)
    with pytest.raises(DigestError, match=r"\((\d+) bytes\)") as caught:
        get()
    assert 3_000_000 < int(re.findall(r"\((\d+) bytes\)", str(caught.value))[0]) <= 3_000_000 + (1 << 20)


def test_a_part_that_is_complete_is_only_verified(server: FileServer, target: Path, get: Get) -> None:
    server.always = Fault(cut_after=100)
    with pytest.raises(MissingError):
        get()
    part = target.with_name("model.bin.part")
    part.write_bytes(CONTENT)
    requests = len(server.requests)
    get()
    assert target.read_bytes() == CONTENT and len(server.requests) == requests and left(target) == ["model.bin"]


@pytest.mark.parametrize(("length", "requests"), [(3_000_000, [416]), (3_500_000, [416, 200])])
def test_416_means_complete_or_too_long(
    server: FileServer, target: Path, length: int, requests: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the byte count is not known, only the server can say whether the part is whole."""
    server.always = Fault(cut_after=100)
    with pytest.raises(MissingError):
        download(server.url, target, sha256=server.sha256, patience=PATIENT)
    target.with_name("model.bin.part").write_bytes((CONTENT + bytes(500_000))[:length])
    server.always, server.requests = Fault(), []
    download(server.url, target, sha256=server.sha256, patience=PATIENT)
    assert target.read_bytes() == CONTENT and len(server.requests) == len(requests)
    assert ("416" in capsys.readouterr().err) is (len(requests) == 2)


@pytest.mark.parametrize(("query", "digest"), [("?old", hashlib.sha256(CONTENT).hexdigest()), ("", "0" * 64)])
def test_a_part_of_another_file_is_not_continued(
    server: FileServer, target: Path, get: Get, query: str, digest: str
) -> None:
    """The registry may name another version of a file, at another URL or at the same one."""
    server.always = Fault(cut_after=100_000)
    with pytest.raises(MissingError):
        download(server.url + query, target, sha256=digest, size_bytes=len(CONTENT), patience=PATIENT)
    assert target.with_name("model.bin.part").stat().st_size == 400_000
    server.always, server.requests = Fault(), []
    get()
    assert target.read_bytes() == CONTENT and server.ranges == [None]
