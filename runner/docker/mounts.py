"""What a container sees of this machine: the files that its arguments name, at their own paths.

Paths stay what they are on the host, so that arguments, messages and run.json are the same as without containers.
Everything is read-only but the folders that the command is known to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from runner.process import RunnerError

_OWN = ("/tmp", "/app", "/opt/venv", "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/sys", "/dev")
"""What a container has of its own: a folder of this machine in its place would take it away, and the engine refuses
/tmp, which is in memory there."""


def named_paths(arguments: Iterable[str]) -> list[Path]:
    """Return the existing files and folders that arguments name, as VALUE or as --option=VALUE; absolute paths."""
    found = []
    for argument in arguments:
        for text in (argument, argument.partition("=")[2] if argument.startswith("-") else ""):
            path = Path(text).absolute()
            try:
                there = bool(text) and path.exists()
            except (OSError, ValueError):  # a text that cannot be a path
                there = False
            if there and path != Path(path.anchor):
                found.append(path)
    return found


def _covered(path: Path, folders: Iterable[Path]) -> bool:
    return any(folder == path or folder in path.parents for folder in folders)


def volumes(reads: Sequence[Path], writes: Sequence[Path]) -> list[str]:
    """Return the `--volume` options that show `reads` read-only and `writes` (folders that exist) as they are.

    Raises RunnerError for a path that Docker cannot mount, and for one that would hide what is the container's own.
    """
    own = sorted({path.absolute() for path in writes})
    shown = [path for path in own if not _covered(path, [each for each in own if each != path])]
    read = sorted({path.absolute() for path in reads if not _covered(path.absolute(), shown)})
    read = [path for path in read if not _covered(path, [each for each in read if each != path])]
    for path in (*shown, *read):
        if ":" in str(path):
            raise RunnerError(f"Docker cannot mount '{path}', because of its colon; rename it, or use RUNNER=local.", 2)
        if any(_covered(each, [path]) for each in map(Path, _OWN)):
            raise RunnerError(
                f"'{path}' cannot be shown to a container, which has a {path} of its own; name a folder in it "
                f"('{path / 'skate'}'), or use RUNNER=local.",
                2,
            )
    return [
        *(part for path in shown for part in ("--volume", f"{path}:{path}")),
        *(part for path in read for part in ("--volume", f"{path}:{path}:ro")),
    ]
