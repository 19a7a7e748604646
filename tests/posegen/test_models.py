"""The network in an official archive: the right one, unpacked once, and nothing written anywhere else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from handoff.errors import InputError
from handoff.files import DigestError
from posegen.models import unpacked
from runner.process import ROOT

NETWORK = bytes(range(256)) * 400
DIGEST = hashlib.sha256(NETWORK).hexdigest()
OFFICIAL = "20230831/rtmpose_onnx/rtmw/end2end.onnx"


def archive(folder: Path, *names: str, content: bytes = NETWORK) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "rtmw.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("20230831/rtmpose_onnx/rtmw/pipeline.json", "{}")
        for name in names:
            zipped.writestr(name, content)
    return folder / "rtmw.zip"


@pytest.mark.parametrize("digest", [DIGEST, None])
def test_the_network_lies_beside_its_archive(tmp_path: Path, digest: str | None) -> None:
    path = unpacked(archive(tmp_path, OFFICIAL), digest)
    assert path == tmp_path / "rtmw.onnx" and path.read_bytes() == NETWORK
    assert sorted(each.name for each in tmp_path.iterdir()) == ["rtmw.onnx", "rtmw.zip"]


def test_what_lies_there_is_used_again_if_it_is_the_right_one(tmp_path: Path) -> None:
    zipped = archive(tmp_path, OFFICIAL)
    before = unpacked(zipped, DIGEST).stat()
    assert unpacked(zipped, DIGEST).stat().st_ino == before.st_ino
    (tmp_path / "rtmw.onnx").write_bytes(b"something else")
    assert unpacked(zipped, DIGEST).read_bytes() == NETWORK


def test_without_a_digest_what_lies_there_is_not_believed(tmp_path: Path) -> None:
    zipped = archive(tmp_path, OFFICIAL)
    (tmp_path / "rtmw.onnx").write_bytes(b"something else")
    assert unpacked(zipped).read_bytes() == NETWORK


def test_another_network_than_the_registrys_is_refused_and_not_left_there(tmp_path: Path) -> None:
    with pytest.raises(DigestError) as caught:
        unpacked(archive(tmp_path, OFFICIAL, content=b"another"), DIGEST)
    assert caught.value.expected == DIGEST and caught.value.actual == hashlib.sha256(b"another").hexdigest()
    assert [each.name for each in tmp_path.iterdir()] == ["rtmw.zip"]


@pytest.mark.parametrize("name", ["../../evil.onnx", "/evil.onnx", "..\\evil.onnx"])
def test_a_name_that_leads_outside_leads_nowhere(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "models" / "pose"
    assert unpacked(archive(folder, name), DIGEST) == folder / "rtmw.onnx"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["rtmw.onnx", "rtmw.zip"]
    assert not Path("/evil.onnx").exists()


@pytest.mark.parametrize("names", [(), (OFFICIAL, "another.onnx")], ids=["none", "two"])
def test_an_archive_without_exactly_one_network_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=rf"rtmw\.zip has {len(names)} \.onnx files in it, not one"):
        unpacked(archive(tmp_path, *names))


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    zipped = archive(tmp_path, OFFICIAL)
    content = bytearray(zipped.read_bytes())
    middle = content.index(b"end2end.onnx") + 60  # within its compressed bytes
    content[middle : middle + 40] = bytes(40)
    zipped.write_bytes(content)
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpacked(zipped)
    zipped.write_bytes(b"this is no zip at all")
    with pytest.raises(InputError, match="cannot be unpacked"):
        unpacked(zipped)
    assert [each.name for each in tmp_path.iterdir()] == ["rtmw.zip"]


def test_a_network_that_is_in_no_archive_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "rtmw.onnx"
    path.write_bytes(NETWORK)
    assert unpacked(path) == path


def test_where_the_models_folder_cannot_be_written_it_is_unpacked_into_the_callers_own(tmp_path: Path) -> None:
    """The models folder is mounted read-only, as in a container; a mode would not stop root."""
    models, own = tmp_path / "models", tmp_path / "own"
    own.mkdir()
    zipped = archive(models, OFFICIAL)
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    prefix = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(models)]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let a test mount a folder read-only (unshare --map-root-user --mount)")
    code = (
        "import sys; from pathlib import Path; from posegen.models import unpacked\n"
        "print(unpacked(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if sys.argv[3:] else None))"
    )
    command = [*prefix, sys.executable, "-c", code, str(zipped), DIGEST]
    done = subprocess.run([*command, str(own)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == f"{own / 'rtmw.onnx'}\n", done.stderr
    assert f"{models} cannot be written, so rtmw.zip is unpacked each time" in done.stderr
    assert (own / "rtmw.onnx").read_bytes() == NETWORK
    assert [each.name for each in models.iterdir()] == ["rtmw.zip"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "StorageError" in done.stderr and "read-only" in done.stderr


def test_a_folder_that_can_be_written_is_used_whatever_else_is_there(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    assert unpacked(archive(tmp_path / "models", OFFICIAL), DIGEST, tmp_path / "own") == tmp_path / "models/rtmw.onnx"
    assert not list((tmp_path / "own").iterdir())
