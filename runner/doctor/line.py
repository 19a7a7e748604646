"""One line of the doctor's report."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Line:
    """status: "ok", "warn" (it runs without) or "missing" (it does not). mend: the command that helps, or ""."""

    status: str
    what: str
    value: str
    mend: str = ""

    def __str__(self) -> str:
        text = f"{self.status:<8}{self.what:<16}{self.value}"
        return f"{text}  -> {self.mend}" if self.mend else text


def trouble(needed: bool) -> str:
    """Return the status of something that is not there: "missing" where the runner needs it, else "warn"."""
    return "missing" if needed else "warn"


def ask(*command: str) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed, stripped; 127 and "" where there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (FileNotFoundError, PermissionError):
        return 127, ""
    except subprocess.TimeoutExpired:
        return 124, f"no answer for {TIMEOUT_S:.0f} s"
    return done.returncode, f"{done.stdout}{done.stderr}".strip()
