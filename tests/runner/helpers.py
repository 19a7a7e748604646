"""The doctor on a PATH of the test's own: only what is put there can be found."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.docker import images
from runner.process import ROOT
from tests.helpers import HANG_S

SOCKET = "unix:///var/run/docker.sock"
NO_DAEMON = f"Cannot connect to the Docker daemon at {SOCKET}. Is the docker daemon running?"
NOT_ALLOWED = (
    f"permission denied while trying to connect to the Docker daemon socket at {SOCKET}: Get "
    '"http://%2Fvar%2Frun%2Fdocker.sock/v1.47/version": dial unix /var/run/docker.sock: connect: permission denied'
)


@dataclass
class Machine:
    """A machine as the doctor sees it: the programs on its PATH, and its data folder."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def models(self) -> Path:
        return self.folder / "data" / "models"

    def program(self, name: str, *cases: tuple[str, str, int], otherwise: int = 1) -> None:
        """Put a program there that answers what it is asked: (shell pattern of its arguments, answer, exit code)."""
        lines = ["#!/bin/bash", 'case "$*" in']
        for pattern, answer, code in cases:
            stream = "" if code == 0 or name == "nvidia-smi" else " >&2"
            lines.append(f"{pattern}) printf '%s\\n' {shlex.quote(answer)}{stream}; exit {code} ;;")
        path = self.bin / name
        path.write_text("\n".join([*lines, "esac", f"exit {otherwise}", ""]))
        path.chmod(0o755)

    def docker(
        self,
        *,
        runtimes: str = '{"runc":{"path":"runc"}}',
        security: str = "[]",
        built: bool = False,
        builder: bool = True,
        **more: str,
    ) -> None:
        """Put a docker there whose engine and Compose are well. more: other answers, by the question's first word."""
        cases = [(f'"{question.replace("_", " ")}"*', answer, 0) for question, answer in more.items()]
        cases += [
            ('"version --format"*', "27.5.1", 0),
            ('"compose version"*', "2.32.4", 0),
            ('"buildx version"', "github.com/docker/buildx v0.21.1 1360a9e", 0 if builder else 1),
            ("*.SecurityOptions*", security, 0),
            ("*.Runtimes*", runtimes, 0),
            ("*.DockerRootDir*", "/", 0),
        ]
        for stage in images.STAGES if built else ():
            label = f'[{{"Config":{{"Labels":{{"{images.LABEL}":"{images.code(stage)}"}}}}}}]'
            cases.append((f'"image inspect {images.image(stage)}"', label, 0))
        self.program("docker", *cases, ('"ps "*', "", 0))

    def nvidia(self, answer: str, code: int = 0, *, old: bool = False) -> None:
        """Put an nvidia-smi there. old: it does not know the field compute_cap."""
        refusal = 'Field "compute_cap" is not a valid field to query.'
        self.program("nvidia-smi", *([("*compute_cap*", refusal, 2)] if old else []), ("*", answer, code))

    def doctor(self, *profiles: str, **environment: str) -> Report:
        """Run make doctor's command here and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "runner.doctor", *profiles],
            cwd=ROOT,
            env={"PATH": str(self.bin), "DATA_DIR": str(self.folder / "data"), "HOME": str(self.folder), **environment},
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Report(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Report:
    code: int
    text: str
    errors: str

    def line(self, what: str, containing: str = "") -> str:
        """Return the one line about a thing, its blanks as single ones."""
        found = [
            " ".join(row.split()) for row in self.text.splitlines() if row[8:24].strip() == what and containing in row
        ]
        assert len(found) == 1, self.text
        return found[0]

    def has(self, what: str) -> bool:
        return any(row[8:24].strip() == what for row in self.text.splitlines())


def other_pythons() -> list[str]:
    """Return the programs of whatever other Pythons this machine has, from 2.7 on; skips the test where none is."""
    versions = ["python2.7", *(f"python3.{minor}" for minor in range(6, 17) if minor != 11)]
    found = [path for path in map(shutil.which, versions) if path]
    installed = Path.home() / ".pyenv" / "versions"
    found += [str(path) for name in versions for path in installed.glob(f"*/bin/{name}")]
    # a shim may lead nowhere
    found = [
        path for path in found if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
    ]
    if not found:
        pytest.skip("this machine has Python 3.11 only")
    return found
