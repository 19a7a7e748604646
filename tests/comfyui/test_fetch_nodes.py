"""Packages of nodes for the comfyui image: by commit, or not at all. The repositories are real, made here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from runner.docker import images
from runner.process import ROOT, RunnerError

SCRIPT = ROOT / "comfyui" / "fetch_nodes.py"
_AUTHOR = ("-c", "user.name=A Tester", "-c", "user.email=tester@example.org", "-c", "protocol.file.allow=always")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", *_AUTHOR, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def commit(folder: Path, text: str) -> str:
    (folder / "__init__.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", text)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository with three commits and a submodule in the last two; its second and its newest commit."""
    inner, folder = tmp_path / "inner", tmp_path / "Nodes"
    for each in (inner, folder):
        each.mkdir()
        git(each, "init", "--quiet")
        commit(each, "first")
    git(folder, "submodule", "--quiet", "add", inner.as_uri(), "inner")
    return folder, commit(folder, "second"), commit(folder, "third")


def packages(folder: Path, commit: str, path: Path) -> Path:
    path.write_text(f'schema = 1\n[packages.Nodes]\nurl = "{folder.as_uri()}"\ncommit = "{commit}"\nlicence = "MIT"\n')
    return path


def run(pins: Path, into: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(SCRIPT), "--packages", str(pins), "--into", str(into), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_package_comes_at_its_commit_without_history_and_submodules(
    nodes: tuple[Path, str, str], tmp_path: Path
) -> None:
    folder, second, _ = nodes
    done = run(packages(folder, second, tmp_path / "p.toml"), tmp_path / "out", "Nodes")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Nodes at {second} (MIT)\n"
    assert (tmp_path / "out/Nodes/__init__.py").read_text() == "second"
    found = {each.name for each in (tmp_path / "out").rglob("*")}
    assert found == {"paths.yaml", "Nodes", ".gitmodules", "__init__.py", "inner"}  # inner is empty


def test_all_means_every_package_and_no_name_means_none(nodes: tuple[Path, str, str], tmp_path: Path) -> None:
    pins = packages(nodes[0], nodes[2], tmp_path / "p.toml")
    assert run(pins, tmp_path / "all", "all").returncode == 0
    assert (tmp_path / "all/Nodes/__init__.py").read_text() == "third"
    assert run(pins, tmp_path / "none").returncode == 0
    assert [each.name for each in (tmp_path / "none").iterdir()] == ["paths.yaml"]


def test_a_name_that_is_not_pinned_is_refused_with_those_that_are(nodes: tuple[Path, str, str], tmp_path: Path) -> None:
    done = run(packages(nodes[0], nodes[1], tmp_path / "p.toml"), tmp_path / "out", "Nodes", "https://evil.example/x")
    assert done.returncode == 2
    assert done.stderr == (
        "error: 'https://evil.example/x' is not a pinned package of nodes; known are Nodes, or all.\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_commit_that_the_repository_does_not_have_leaves_nothing_behind(
    nodes: tuple[Path, str, str], tmp_path: Path
) -> None:
    done = run(packages(nodes[0], "0" * 39 + "1", tmp_path / "p.toml"), tmp_path / "out", "Nodes")
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: Nodes at {'0' * 39}1 cannot be fetched from {nodes[0].as_uri()}: git fetch")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_commit_than_the_pinned_one_is_not_used(
    nodes: tuple[Path, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server cannot send another commit under this digest: a git that fetches the branch instead does."""
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/bash\nexec {real} "${{@/{nodes[1]}/HEAD}}"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    done = run(packages(nodes[0], nodes[1], tmp_path / "p.toml"), tmp_path / "out", "Nodes")
    assert done.returncode == 3
    assert f"gave commit {nodes[2]}, pinned is {nodes[1]}: Nodes is not used." in done.stderr
    assert list((tmp_path / "out").iterdir()) == []


def test_a_branch_or_a_shortened_commit_is_not_a_pin(nodes: tuple[Path, str, str], tmp_path: Path) -> None:
    for pin in ("main", nodes[1][:12]):
        done = run(packages(nodes[0], pin, tmp_path / "p.toml"), tmp_path / "out", "Nodes")
        assert (done.returncode, "no full commit" in done.stderr) == (2, True)


@pytest.mark.parametrize("names", ["", "all", "ComfyUI-GGUF comfyui_controlnet_aux"])
def test_a_build_takes_the_names_that_the_script_takes(names: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODES", names)
    images.check_nodes()


@pytest.mark.parametrize("names", ["Foo", "ComfyUI-GGUF Foo", "all Foo"])
def test_a_build_is_refused_before_it_begins_for_a_name_that_is_not_pinned(
    names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODES", names)
    with pytest.raises(
        RunnerError, match=r"Foo is not a pinned package of nodes; known are ComfyUI-GGUF, .*, or all, or none\."
    ) as told:
        images.check_nodes()
    assert told.value.exit_code == 2


def pins_of(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\$", (ROOT / "comfyui" / lock).read_text(), re.MULTILINE))


def test_what_nodes_import_moves_no_version_of_the_server() -> None:
    server, nodes = pins_of("requirements.lock"), pins_of("nodes.lock")
    assert {"torch", "numpy", "gguf", "diffusers", "opencv-python-headless"} <= set(nodes)
    assert {name: version for name, version in nodes.items() if server.get(name, version) != version} == {}
    assert not {"opencv-python", "opencv-contrib-python", "onnxruntime-gpu", "mediapipe"} & set(nodes)
    assert (ROOT / "comfyui" / "nodes.lock").read_text().count("--hash=sha256:") >= len(nodes)
