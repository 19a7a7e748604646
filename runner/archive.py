"""make images-save, make images-load: the images as one file, for a machine without a network.

python -m runner.archive save | load [FILE]; the SHA-256 lies beside the file as FILE.sha256, as sha256sum writes it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from runner import runs
from runner.docker import compose, engine, images
from runner.envs import working
from runner.errors import RunnerError
from runner.main import run

_CHUNK = 1 << 20


def _digest_file(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _full(file: Path, needed: int) -> RunnerError:
    free = shutil.disk_usage(file.parent).free
    return RunnerError(
        f"{file.parent} has {free / 1e9:.1f} GB free and the images need at least {needed / 1e9:.1f} GB; "
        "name a file on a larger disk: make images-save IMAGES=/path/images.tar."
    )


def save(names: Sequence[str], file: Path) -> int:
    """Write the images into one tar file, what they share once, and return its bytes.

    It is written beside and renamed: whole or absent. Raises RunnerError for images that are not there, a disk that is
    too small, and whatever the engine says.
    """
    found = {name: engine.inspect("image", name) for name in names}
    missing = [name for name, image in found.items() if image is None]
    if missing:
        raise RunnerError(f"there is no image {', '.join(missing)}; make it with make build.")
    least = max(
        int(image["Size"]) for image in found.values() if image
    )  # the largest; how much they share is not known
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free < least:
            raise _full(file, least)
        digest = _stream(names, partial)
        size = partial.stat().st_size
        _digest_file(file).unlink(missing_ok=True)  # never the old digest beside the new file
        partial.replace(file)
        _digest_file(file).write_text(f"{digest}  {file.name}\n")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            partial.unlink(missing_ok=True)
            raise _full(file, least) from error
        raise RunnerError(
            f"cannot write {file} ({error.strerror}); name another file: IMAGES=/path/images.tar."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return size


def _stream(names: Sequence[str], target: Path) -> str:
    """Write `docker save` of the images into `target` and return its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as output:
        command = ["docker", "save", *names]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as engine_client:
            stream, errors = engine_client.stdout, engine_client.stderr
            if stream is None or errors is None:
                raise RunnerError("docker save gave no output.")
            try:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    output.write(chunk)
                output.flush()
                os.fsync(output.fileno())
            except BaseException:
                engine_client.kill()
                raise
            said = errors.read().decode(errors="replace").strip()
        if engine_client.returncode:
            raise RunnerError(f"docker save failed: {said.splitlines()[-1] if said else engine_client.returncode}")
    return digest.hexdigest()


def load(file: Path) -> list[str]:
    """Check the file against the SHA-256 beside it, give it to the engine, and return the names of its images."""
    beside = _digest_file(file)
    if not file.is_file():
        raise RunnerError(f"there is no file {file}; name it: make images-load IMAGES=/path/images.tar.", 2)
    if not beside.is_file():
        raise RunnerError(f"{beside} is missing, so {file.name} cannot be checked; carry both files here.", 2)
    expected = beside.read_text().split()[0] if beside.read_text().split() else ""
    actual = runs.sha256(file)
    if actual != expected:
        raise RunnerError(
            f"{file} is damaged: its SHA-256 is {actual}, {beside.name} says {expected}; copy it again.", 2
        )
    root = Path(engine.docker("info", "--format", "{{.DockerRootDir}}").stdout.strip() or "/none")
    size = file.stat().st_size
    free = shutil.disk_usage(root).free if root.is_dir() else None
    if free is not None and free < size:  # the engine unpacks the whole file before it loads it
        raise RunnerError(
            f"{root} has {free / 1e9:.1f} GB free and loading takes at least {size / 1e9:.1f} GB there; "
            "free some room (docker system df), or move the engine's data-root."
        )
    done = subprocess.run(["docker", "load", "--input", str(file)], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunnerError(f"docker load failed: {said[-1] if said else done.returncode}")
    return [line.partition(": ")[2] for line in done.stdout.splitlines() if line.startswith("Loaded image: ")]


def command(arguments: list[str]) -> int:
    """Save our images, or load them."""
    verb, *named = [each for each in arguments if each] or [""]
    if verb not in ("save", "load") or len(named) > 1:
        raise RunnerError("give save or load, and at most one file.", 2)
    file = Path(named[0]) if named else runs.data_dir() / "images.tar"
    engine.check()
    if verb == "load":
        with working(f"checking and loading {file}"):
            names = load(file)
        compose.write_env()
        print("\n".join(names))
        return 0
    names = [images.image(stage) for stage in images.STAGES]
    with working(f"saving {len(names)} images"):
        size = save(names, file)
    print(f"{file}: {size / 1e9:.2f} GB, with its SHA-256 in {_digest_file(file).name}; carry both")
    return 0


if __name__ == "__main__":
    run(command)
