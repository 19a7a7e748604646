"""python -m handoff.weights and find_weight: nothing is used, moved or reported as right before it was verified."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from handoff.errors import MissingError
from handoff.weights import DigestError, find_weight, find_with_digest, models_dir
from runner.process import ROOT
from tests.handoff.weights.helpers import CONTENT, Fault, FileServer
from tests.helpers import HANG_S

DIGEST = hashlib.sha256(CONTENT).hexdigest()
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def place(server: FileServer, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where "sam" belongs, by a registry of two files that lie on the test's server."""
    entries = "".join(
        f"""
        [weights.{name}]
        file = "{file}"
        url = "{server.url}"
        sha256 = "{DIGEST}"
        bytes = {len(CONTENT)}
        licence = "Apache-2.0"
        licence_url = "https://example.invalid/LICENSE"
        profiles = ["{profile}", "all"]
        """
        for name, file, profile in (("sam", "sam2/model.bin", "tracker"), ("rtmw", "pose/pose.bin", "pose"))
    )
    described = "[profiles]\ntracker = 'masks'\npose = 'skeleton'\nall = 'both'\n"
    (tmp_path / "weights.toml").write_text(f'schema = 1\ndefault = ["tracker"]\n{described}{entries}')
    monkeypatch.setenv("WEIGHTS_TOML", str(tmp_path / "weights.toml"))
    return models / "sam2" / "model.bin"


@pytest.fixture
def weights() -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "handoff.weights", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANG_S)

    return run


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_default_profile_is_fetched_and_fetched_once(server: FileServer, place: Path, weights: Command) -> None:
    first, second = weights(), weights()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "downloading sam2/model.bin (3.0 MB, Apache-2.0) from 127.0.0.1" in first.stdout
    assert second.stdout.splitlines() == [f"tracker: 1 file(s), {place.parent.parent}", f"ok       {place}"]
    assert place.read_bytes() == CONTENT and len(server.requests) == 1
    assert find_weight("sam") == place


def test_several_profiles_are_fetched_together(place: Path, models: Path, weights: Command) -> None:
    assert weights("--profile", "tracker", "--profile", "pose").returncode == 0
    assert place.read_bytes() == (models / "pose" / "pose.bin").read_bytes() == CONTENT


def test_wrong_bytes_end_in_exit_code_3_with_both_digests(server: FileServer, place: Path, weights: Command) -> None:
    server.content = bytes(len(CONTENT))
    done = weights()
    assert done.returncode == 3 and not place.exists()
    assert DIGEST in done.stderr and hashlib.sha256(server.content).hexdigest() in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def test_a_no_from_the_server_ends_in_exit_code_3(server: FileServer, place: Path, weights: Command) -> None:
    server.always = Fault(status=404)
    done = weights()
    assert done.returncode == 3 and f"error: the server answered 404 Not Found for {server.url}" in done.stderr


def test_a_typo_lists_the_profiles(place: Path, weights: Command) -> None:
    done = weights("--profile", "trakcer")
    assert done.returncode == 2 and "'trakcer'; there are tracker, pose, all." in done.stderr


def test_the_list_shows_every_file_and_its_licence(server: FileServer, place: Path, weights: Command) -> None:
    lines = weights("--list").stdout
    assert "  tracker (default): masks\n" in lines and "  pose: skeleton\n" in lines
    assert "  sam2/model.bin: 3.0 MB, Apache-2.0 (https://example.invalid/LICENSE)\n" in lines
    assert server.url in lines and server.requests == []


def test_the_list_says_what_is_here_what_is_missing_and_each_profiles_size(place: Path, weights: Command) -> None:
    assert "    1 file(s), 0.00 GB: 1 missing, 0.00 GB to fetch\n" in weights("--list").stdout
    put(place)
    lines = weights("--list").stdout
    assert "  tracker (default): masks\n    1 file(s), 0.00 GB: all here\n" in lines
    assert "    2 file(s), 0.01 GB: 1 missing, 0.00 GB to fetch\n" in lines
    assert "  here     sam2/model.bin" in lines and "  missing  pose/pose.bin" in lines


def test_check_says_ok_missing_and_wrong_and_changes_nothing(
    server: FileServer, place: Path, models: Path, weights: Command
) -> None:
    nothing = weights("--check")
    assert nothing.returncode == 3 and nothing.stdout.splitlines()[1] == f"missing  {place}  {server.url}"
    put(place)
    right = weights("--check")
    assert right.returncode == 0 and right.stdout.splitlines()[1] == f"ok       {place}"
    wrong = CONTENT[:1_000_000]
    put(models / "pose" / "pose.bin", wrong)
    both = weights("--check", "--profile", "all")
    assert both.returncode == 3 and "1 of 2 files" in both.stderr
    assert both.stdout.splitlines()[1:] == [
        f"ok       {place}",
        f"wrong    {models / 'pose' / 'pose.bin'} (1000000 bytes of 3000000): "
        f"SHA-256 {hashlib.sha256(wrong).hexdigest()}, must be {DIGEST}",
    ]
    assert (models / "pose" / "pose.bin").read_bytes() == wrong and server.requests == []


def test_a_file_dropped_into_the_models_folder_is_moved_to_its_place(
    server: FileServer, place: Path, models: Path, weights: Command
) -> None:
    dropped = put(models / "model.bin")
    assert find_weight("sam") == dropped
    assert weights("--check").stdout.splitlines()[1] == f"ok       {dropped}"
    assert weights().returncode == 0
    assert place.read_bytes() == CONTENT and not dropped.exists() and server.requests == []


def test_a_wrong_file_dropped_there_is_neither_moved_nor_replaced(
    server: FileServer, place: Path, models: Path, weights: Command
) -> None:
    dropped = put(models / "model.bin", b"not a model")
    done = weights()
    assert done.returncode == 3 and "move it away" in done.stderr
    assert hashlib.sha256(b"not a model").hexdigest() in done.stderr and DIGEST in done.stderr
    assert dropped.read_bytes() == b"not a model" and not place.exists() and server.requests == []


def test_another_good_copy_is_taken_under_its_own_digest(
    server: FileServer, place: Path, tmp_path: Path, weights: Command
) -> None:
    other = b"the same network from another exporter"
    digest = hashlib.sha256(other).hexdigest()
    registry = tmp_path / "weights.toml"
    registry.write_text(registry.read_text().replace("bytes = ", f'also = ["{digest}"]\nbytes = ', 1))
    put(place, other)
    assert find_with_digest("sam") == (place, digest)
    assert weights().stdout.splitlines()[1] == f"ok       {place}" and server.requests == []
    put(place)
    assert find_with_digest("sam") == (place, DIGEST)


def test_a_download_must_have_the_first_digest(
    server: FileServer, place: Path, tmp_path: Path, weights: Command
) -> None:
    server.content = b"the same network from another exporter"
    digest = hashlib.sha256(server.content).hexdigest()
    registry = tmp_path / "weights.toml"
    registry.write_text(registry.read_text().replace(f"bytes = {len(CONTENT)}", f'also = ["{digest}"]', 1))
    done = weights()
    assert done.returncode == 3 and digest in done.stderr and not place.exists()


def test_a_weight_that_is_not_there_says_how_to_get_it(server: FileServer, place: Path, models: Path) -> None:
    with pytest.raises(MissingError) as caught:
        find_weight("sam")
    assert str(caught.value) == (
        f"sam2/model.bin is not in {models}; run make weights PROFILE=tracker, "
        f"or put the file from {server.url} there by hand."
    )


def test_a_weight_is_verified_at_every_use_even_where_size_and_date_are_unchanged(place: Path) -> None:
    put(place)
    before = place.stat()
    assert find_weight("sam") == place
    with place.open("r+b") as file:
        file.write(bytes([CONTENT[0] ^ 1]))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DigestError) as caught:
        find_weight("sam")
    assert caught.value.expected == DIGEST and caught.value.actual == hashlib.sha256(place.read_bytes()).hexdigest()
    assert caught.value.exit_code == 3


def test_the_models_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELS_DIR", raising=False)
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert models_dir() == ROOT / "data" / "models"
    monkeypatch.setenv("DATA_DIR", "/elsewhere")
    assert models_dir() == Path("/elsewhere/models")
    monkeypatch.setenv("MODELS_DIR", "/comfyui/models")
    assert models_dir() == Path("/comfyui/models")
