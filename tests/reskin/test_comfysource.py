"""Where ComfyUI comes from: the pinned commit, or the pinned package, or nothing."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.comfy.comfysource import ensure_source, source_origin
from runner.process import RunnerError

VERSION = '__version__ = "9.9.9"\n'
FILES = {"main.py": "print()\n", "comfyui_version.py": VERSION, "comfy/sd.py": "x = 1\n"}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    """A repository with the tag v9.9.9, and its commit."""
    folder = tmp_path / "official"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "tag", "v9.9.9")
    return folder, git(folder, "rev-parse", "HEAD").strip()


def write_pins(folder: Path, url: str, commit: str = "0" * 40) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "source.lock").write_text("comfy==1 --hash=sha256:00\n")
    pins = folder / "pins.toml"
    pins.write_text(
        f'version = "9.9.9"\n[git]\nurl = "{url}"\ntag = "v9.9.9"\ncommit = "{commit}"\n'
        '[sdist]\npackage = "comfy 1"\nlock = "source.lock"\nfolder = "vendor/ComfyUI"\n'
    )
    return pins


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Path]]:
    """Put an archive in the registry's place; returns the list of the locks that were asked for."""

    def put(files: dict[str, str], *extra: tarfile.TarInfo) -> list[Path]:
        archive = tmp_path / "comfy-1.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            for name, text in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                tar.addfile(info, io.BytesIO(text.encode()))
            for member in extra:
                tar.addfile(member)
        asked: list[Path] = []

        def download(lock: Path, dest: Path, *, extra_args: tuple[str, ...] = ()) -> Path:
            asked.append(lock)
            assert "--no-binary" in extra_args
            return archive

        monkeypatch.setattr("runner.comfy.comfysource.download", download)
        return asked

    return put


def vendored(files: dict[str, str]) -> dict[str, str]:
    return {f"comfy-1/vendor/ComfyUI/{name}": text for name, text in files.items()} | {"comfy-1/setup.py": "boom\n"}


def test_the_tag_is_cloned_when_it_is_the_pinned_commit(tmp_path: Path, repository: tuple[Path, str]) -> None:
    folder, commit = repository
    source = ensure_source(write_pins(tmp_path / "pins", folder.as_uri(), commit), tmp_path / "cache")
    assert (source / "comfy" / "sd.py").read_text() == "x = 1\n"
    assert commit in source_origin(source)


def test_a_tag_that_has_moved_is_refused_and_nothing_else_is_tried(
    tmp_path: Path, repository: tuple[Path, str], packaged: Callable[..., list[Path]]
) -> None:
    asked = packaged(vendored(FILES))
    with pytest.raises(RunnerError, match="pinned is 0000000"):
        ensure_source(write_pins(tmp_path / "pins", repository[0].as_uri()), tmp_path / "cache")
    assert asked == []
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_the_repository_the_package_is_used_and_it_says_so(
    tmp_path: Path, packaged: Callable[..., list[Path]], capfd: pytest.CaptureFixture[str]
) -> None:
    packaged(vendored(FILES))
    source = ensure_source(write_pins(tmp_path / "pins", (tmp_path / "none").as_uri()), tmp_path / "cache")
    assert sorted(path.name for path in source.iterdir()) == [".source.json", "comfy", "comfyui_version.py", "main.py"]
    assert "cannot be reached; using the packaged copy" in capfd.readouterr().err
    assert source_origin(source) == "the sdist of comfy 1, vendor/ComfyUI"


def test_a_source_is_fetched_once_for_one_pin(tmp_path: Path, packaged: Callable[..., list[Path]]) -> None:
    asked = packaged(vendored(FILES))
    pins = write_pins(tmp_path / "pins", (tmp_path / "none").as_uri())
    first = ensure_source(pins, tmp_path / "cache")
    assert ensure_source(pins, tmp_path / "cache") == first
    assert len(asked) == 1
    pins.write_text(pins.read_text() + "# another pin\n")
    assert ensure_source(pins, tmp_path / "cache") != first


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    "evil",
    [
        link("comfy-1/vendor/ComfyUI/models", "/etc"),
        tarfile.TarInfo("comfy-1/vendor/ComfyUI/../../../../evil.py"),
        tarfile.TarInfo("/comfy-1/vendor/ComfyUI/evil.py"),
    ],
    ids=["link", "climbing", "absolute"],
)
def test_an_archive_that_reaches_out_leaves_nothing_behind(
    tmp_path: Path, packaged: Callable[..., list[Path]], evil: tarfile.TarInfo
) -> None:
    packaged(vendored(FILES), evil)
    before = sorted(tmp_path.rglob("evil.py"))
    try:
        source = ensure_source(write_pins(tmp_path / "pins", (tmp_path / "none").as_uri()), tmp_path / "cache")
    except RunnerError as error:
        assert "refused" in str(error)
        assert list((tmp_path / "cache").iterdir()) == []
    else:
        assert not (source / "evil.py").exists()
    assert sorted(tmp_path.rglob("evil.py")) == before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (vendored({"main.py": "", "comfyui_version.py": '__version__ = "9.9.8"'}), "9.9.8, pinned is 9.9.9"),
        ({"comfy-1/setup.py": ""}, "has no vendor/ComfyUI/main.py"),
    ],
)
def test_a_tree_that_is_not_the_pinned_one_is_refused(
    tmp_path: Path, packaged: Callable[..., list[Path]], files: dict[str, str], words: str
) -> None:
    packaged(files)
    with pytest.raises(RunnerError, match=words):
        ensure_source(write_pins(tmp_path / "pins", (tmp_path / "none").as_uri()), tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_pins_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=r"pins\.toml cannot be read"):
        ensure_source(tmp_path / "pins.toml", tmp_path / "cache")
