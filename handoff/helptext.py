"""The help of every command, as click prints it, for a Python that has neither click nor what the stage needs.

commands.json beside this file has it, with each command's options as data; `make reference` writes it, and a test holds
it to what click says. The root commands read it too, since they know no stage's code. Standard library only.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

COMMANDS = Path(__file__).with_name("commands.json")
_OURS = ("handoff", "posegen", "tracker", "reskin", "evaluator")
_INSTEAD = {
    "posegen": "extract_physics.py runs it in the stage's own environment",
    "tracker": "extract_physics.py runs it in the stage's own environment",
    "tracker.grid": "make frame runs it in the stage's own environment",
    "reskin": "generate_reskin.py runs it in the stage's own environment",
    "evaluator": "evaluate_iou.py runs it in the stage's own environment",
    "handoff.weights": "make weights runs it in an environment that has what it needs",
}
MISSING, FAULT, INTERRUPTED = 3, 70, 130


def help_of(command: str) -> str:
    """Return the recorded help of `python -m COMMAND`."""
    return str(json.loads(COMMANDS.read_text(encoding="utf-8"))[command]["help"])


def is_package(error: BaseException) -> bool:
    """Say whether it is a package that is missing or cannot be loaded, and no module of this project."""
    return isinstance(error, ImportError) and (error.name or "").split(".")[0] not in _OURS


def answer_without(command: str, error: BaseException) -> int:
    """Answer for `python -m COMMAND`, whose modules cannot be imported, and return the exit code, never Python's 1.

    error: what importing them raised. Where a package is missing or cannot be loaded, --help prints the recorded text,
    and everything else gets one sentence on stderr: what is wrong, and what to run. Ctrl-C meanwhile is what it always
    is: 130. Anything else is a fault: 70.
    """
    if isinstance(error, KeyboardInterrupt):
        print("error: interrupted; nothing was done, run the same command to go on.", file=sys.stderr)
        return INTERRUPTED
    if not is_package(error):
        traceback.print_exception(error)
        said = f"cannot be loaded ({type(error).__name__}; above is where); nothing was done."
        print(f"error: python -m {command} {said}", file=sys.stderr)
        return FAULT
    if "--help" in sys.argv[1:]:
        try:
            print(help_of(command), flush=True)
        except BrokenPipeError:  # a reader that has seen enough, such as head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    print(f"error: python -m {command} cannot run in this Python ({error}); {_INSTEAD[command]}.", file=sys.stderr)
    return MISSING
