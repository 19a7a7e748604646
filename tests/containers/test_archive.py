"""make images-save and images-load, on the real engine, with small images of the test's own."""

from __future__ import annotations

import errno
import hashlib
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import archive
from runner.docker import engine
from runner.errors import RunnerError
from tests.containers.helpers import TAG, World

pytestmark = pytest.mark.skipif(bool(engine.problem()), reason=f"no containers here: {engine.problem()}")


def docker(*arguments: str, given: bytes = b"") -> str:
    done = subprocess.run(["docker", *arguments], input=given, capture_output=True, check=True)
    return done.stdout.decode().strip()


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two images that share a layer of 3 MB, from nothing."""
    folder, mark = tmp_path_factory.mktemp("layer"), uuid.uuid4().hex[:12]
    (folder / "shared").write_bytes(hashlib.shake_256(mark.encode()).digest(3_000_000))
    (folder / "own").write_text("own")
    base = f"archive-test-{mark}-one:7"
    docker("build", "--quiet", "--tag", base, "--file", "-", str(folder), given=b"FROM scratch\nCOPY shared /\n")
    other = f"archive-test-{mark}-two:7"
    given = b"FROM scratch\nCOPY shared /\nCOPY own /\n"
    docker("build", "--quiet", "--tag", other, "--file", "-", str(folder), given=given)
    yield [base, other]
    subprocess.run(["docker", "rmi", "--force", base, other], capture_output=True, check=False)


def test_what_was_saved_is_loaded_again_as_the_same_images(names: list[str], tmp_path: Path) -> None:
    ids = [docker("image", "inspect", "--format", "{{.Id}}", name) for name in names]
    size = archive.save(names, tmp_path / "new" / "images.tar")
    assert 3_000_000 < size < 4_000_000  # what they share lies there once
    assert size == (tmp_path / "new/images.tar").stat().st_size
    docker("rmi", "--force", *names)
    assert engine.inspect("image", names[0]) is None
    assert sorted(archive.load(tmp_path / "new" / "images.tar")) == names
    assert [docker("image", "inspect", "--format", "{{.Id}}", name) for name in names] == ids


def test_the_digest_beside_the_file_is_what_sha256sum_reads(names: list[str], tmp_path: Path) -> None:
    archive.save(names, tmp_path / "images.tar")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["images.tar", "images.tar.sha256"]
    subprocess.run(["sha256sum", "--check", "images.tar.sha256"], cwd=tmp_path, check=True, capture_output=True)
    with tarfile.open(tmp_path / "images.tar") as tar:
        assert "manifest.json" in tar.getnames()


def test_a_damaged_file_is_not_given_to_the_engine(names: list[str], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.tar", tmp_path / "images.tar"
    archive.save(names, good)
    bad.write_bytes(good.read_bytes()[:-1] + b"!")
    bad.with_name("images.tar.sha256").write_text(good.with_name("good.tar.sha256").read_text())
    docker("rmi", "--force", *names)
    try:
        with pytest.raises(
            RunnerError, match=r"is damaged: its SHA-256 is [0-9a-f]{64}, images.tar.sha256 says"
        ) as told:
            archive.load(bad)
        assert told.value.exit_code == 2
        assert engine.inspect("image", names[0]) is None
    finally:
        archive.load(good)


def test_a_file_without_its_digest_and_a_file_that_is_not_there_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "images.tar").touch()
    with pytest.raises(RunnerError, match=r"images.tar.sha256 is missing, so images.tar cannot be checked; carry both"):
        archive.load(tmp_path / "images.tar")
    with pytest.raises(RunnerError, match=r"there is no file .*other.tar; name it: make images-load IMAGES="):
        archive.load(tmp_path / "other.tar")


def test_an_image_that_is_not_there_is_named_before_anything_is_written(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match="there is no image archive-test-none:7; make it with make build"):
        archive.save([*names, "archive-test-none:7"], tmp_path / "images.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    with pytest.raises(
        RunnerError, match=r"has 0.0 GB free and the images need at least 0.0 GB; name a file on a larger"
    ):
        archive.save(names, tmp_path / "images.tar")
    assert list(tmp_path.iterdir()) == []


def test_an_engine_without_room_is_told_before_it_is_given_the_file(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.save(names, tmp_path / "images.tar")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    with pytest.raises(RunnerError, match=r"has 0.0 GB free and loading takes at least 0.0 GB there; free some room"):
        archive.load(tmp_path / "images.tar")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_while_writing_leaves_the_old_file_as_it_was(
    names: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """/dev/full takes a write as a full disk does."""
    file = tmp_path / "images.tar"
    archive.save(names[:1], file)
    before = file.read_bytes()
    stream = archive._stream
    monkeypatch.setattr(archive, "_stream", lambda which, target: stream(which, Path("/dev/full")))
    with pytest.raises(RunnerError, match="name a file on a larger disk") as told:
        archive.save(names, file)
    assert isinstance(told.value.__cause__, OSError) and told.value.__cause__.errno == errno.ENOSPC
    assert file.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["images.tar", "images.tar.sha256"]


def test_a_folder_that_cannot_be_written_is_one_sentence(names: list[str]) -> None:
    with pytest.raises(
        RunnerError, match=r"cannot write /proc/none/images.tar \(No such file or directory\); name another"
    ):
        archive.save(names, Path("/proc/none/images.tar"))


@pytest.fixture
def one_stage(world: World) -> Iterator[World]:
    """The commands where the reskin stage's image is the only one, under a tag of the test's own; .env as it was."""
    kept = (world.root / ".env").read_text()
    made = world.elsewhere(world.data / "archive", SKATE_TAG=f"{TAG}-saved")
    docker("tag", f"skate-physics-reskin:{TAG}", f"skate-physics-reskin:{TAG}-saved")
    yield made
    docker("rmi", "--force", f"skate-physics-reskin:{TAG}-saved")
    (world.root / ".env").write_text(kept)
    shutil.rmtree(made.data)


def test_a_real_image_is_carried_by_the_two_commands(one_stage: World) -> None:
    name = f"skate-physics-reskin:{TAG}-saved"
    before = docker("image", "inspect", "--format", "{{.Id}}", name)

    def command(verb: str) -> str:
        code = "import sys; from runner import archive; from runner.docker import images; images.STAGES = ('reskin',); "
        code += f"sys.exit(archive.command([{verb!r}]))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=one_stage.root,
            env=one_stage.environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    file = one_stage.data / "images.tar"
    assert command("save").startswith(f"{file}: 0.") and file.stat().st_size > 300e6
    docker("rmi", "--force", name)
    (one_stage.root / ".env").unlink()
    assert command("load").splitlines() == [name]
    assert docker("image", "inspect", "--format", "{{.Id}}", name) == before
    assert f"SKATE_TAG='{TAG}-saved'" in (one_stage.root / ".env").read_text()
