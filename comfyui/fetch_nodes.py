"""Fetch packages of ComfyUI nodes by commit: python fetch_nodes.py --into DIR [NAME ... | all]

Standard library and git only: it runs in a build stage of the comfyui image, outside every virtual environment. What it
fetches is named in packages.toml, and nothing else can be had: a name, not an address, is all that it takes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PATHS = "paths.yaml"
"""Beside the packages: what tells ComfyUI (--extra-model-paths-config) that this folder holds nodes."""
EVERY = "all"
_GIT_TIMEOUT_S = 300
_COMMIT = re.compile(r"[0-9a-f]{40}")
# no prompt for a password, no files of Git LFS, no configuration of whoever builds
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ADVICE": "0",
}


Package = dict[str, Any]
"""One table of packages.toml: url, commit, date, licence, workflows."""


class FetchError(Exception):
    """A package cannot be had as it is pinned. exit_code: 2 a wrong name or file, 3 the network or git is missing."""

    def __init__(self, message: str, exit_code: int = 3) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables; raise FetchError when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise FetchError(f"{path} cannot be read ({error}).", 2) from error


def read_packages(path: Path) -> dict[str, Package]:
    """Return the packages of a packages.toml by name (url, commit, licence); raise FetchError for an unpinned one."""
    packages: dict[str, Package] = read_toml(path).get("packages", {})
    for name, package in packages.items():
        if not _COMMIT.fullmatch(str(package.get("commit"))):
            raise FetchError(f"{path}: {name} has no full commit of 40 hexadecimal digits.", 2)
    return packages


def chosen(names: list[str], packages: dict[str, Package]) -> list[str]:
    """Return the packages that the names mean, each once; raise FetchError for a name that is not pinned."""
    if names == [EVERY]:
        return list(packages)
    for name in names:
        if name not in packages:
            raise FetchError(f"'{name}' is not a pinned package of nodes; known are {', '.join(packages)}, or all.", 2)
    return list(dict.fromkeys(names))


def _git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it printed; raise FetchError with git's last words when it fails."""
    command = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=20", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | _ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise FetchError("git is not installed in this build stage; install it (apt-get install git).") from error
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"git {arguments[0]} did not end within {_GIT_TIMEOUT_S} s.") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FetchError(f"git {arguments[0]} failed: {last}")
    return done.stdout.strip()


def fetch(name: str, url: str, commit: str, into: Path) -> Path:
    """Put the tree of that one commit into `into`/`name`, without history and submodules, and return the folder.

    The folder is made beside and renamed: it is whole or absent. Raises FetchError, also when another commit came.
    """
    target = into / name
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=into) as scratch:
        tree = Path(scratch) / name
        tree.mkdir()
        try:
            _git(tree, "init", "--quiet")
            _git(tree, "fetch", "--quiet", "--depth", "1", "--no-tags", "--no-recurse-submodules", url, commit)
            _git(tree, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        except FetchError as error:
            raise FetchError(f"{name} at {commit} cannot be fetched from {url}: {error}", error.exit_code) from error
        head = _git(tree, "rev-parse", "HEAD")
        if head != commit:
            raise FetchError(f"{url} gave commit {head}, pinned is {commit}: {name} is not used.")
        shutil.rmtree(tree / ".git")
        shutil.rmtree(target, ignore_errors=True)
        tree.rename(target)
    return target


def main(arguments: list[str]) -> int:
    """Fetch what is named; print one line a package."""
    parser = argparse.ArgumentParser(prog="fetch_nodes.py", description="Fetch pinned packages of ComfyUI nodes.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="names in packages.toml, or 'all'; none: fetch nothing"
    )
    parser.add_argument(
        "--into", type=Path, required=True, metavar="DIR", help="the folder that gets a folder for each"
    )
    parser.add_argument("--packages", type=Path, default=HERE / "packages.toml", metavar="FILE", help="the pins")
    options = parser.parse_args(arguments)
    try:
        packages = read_packages(options.packages)
        names = chosen(options.names, packages)
        options.into.mkdir(parents=True, exist_ok=True)
        for name in names:
            fetch(name, packages[name]["url"], packages[name]["commit"], options.into)
            print(f"{name} at {packages[name]['commit']} ({packages[name]['licence']})", flush=True)
        (options.into / PATHS).write_text("image:\n  custom_nodes: .\n")
    except FetchError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
