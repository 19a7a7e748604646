"""Files from the package registry by pinned hash, through the ordinary client."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from runner.envs import call, ensure_env, locked, working


def download(lock: Path, dest: Path, *, extra_args: Sequence[str] = ()) -> Path:
    """Fetch the one file that `lock` pins (a requirement line with its --hash) into `dest` and return its path.

    The file is fetched once: it is found again by the name of the requirement. pip checks the hash before the file
    gets its place. Raises RunnerError when it cannot be had.
    """
    requirement = next(line for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#"))
    name, version = requirement.split()[0].split("==")
    stem = f"{name.replace('-', '_')}-{version}"
    dest.mkdir(parents=True, exist_ok=True)
    with locked(dest / f".{stem}.lock"):
        found = sorted(dest.glob(f"{stem}[-.]*"))
        if found:
            return found[0]
        python = ensure_env("runner")
        with tempfile.TemporaryDirectory(dir=dest) as folder, working(f"downloading {name} {version}"):
            # the runner's own environment has a pip, whatever Python this runs in
            pip = [str(python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            call([*pip, *extra_args, "--require-hashes", "-r", lock, "-d", folder], f"pip download of {name}")
            fetched = next(Path(folder).iterdir())
            return Path(shutil.move(str(fetched), dest / fetched.name))
