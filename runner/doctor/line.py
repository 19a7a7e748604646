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


def ask(*command: str, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Run a command; return its exit code and all that it printed, stripped; 127 and "" where there is none.

    One that has not ended in time is killed, and not waited for: a driver that hangs holds its program in the kernel,
    where no signal reaches it. The code is 124 then.
    """
    try:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except (FileNotFoundError, PermissionError):
        return 127, ""
    try:
        said, complained = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        return 124, f"no answer for {timeout_s:.0f} s"
    return child.returncode, f"{said}{complained}".strip()
