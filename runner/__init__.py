# ruff: noqa: UP031 (no f-strings: Pythons that have none read this file too)
"""The local runner: finds or makes each stage's environment and runs the stage in it. Standard library only.

Here is how a command begins: in a Python 3.11, or another that goes on in a 3.11, or says that there is none. Every
Python since 2.7 can read this file and the root commands. So no other one takes them for broken and ends with 1, which
would mean that the gate fails.
"""

import os
import sys

NEEDED = (3, 11)
MISSING, FAULT = 3, 70
"""Exit codes: a Python that is missing, and an error that nobody foresaw, as in handoff/command.py."""


def run_named(module, function):  # type: (str, str) -> None
    """Run a function of a module, by runner/commands.py, once the Python is the right one: another can read neither."""
    leave_out_the_current_folder()
    check_python()
    if os.environ.pop("PYTHONINSPECT", None):  # with it Python asks for more at the end, and then ends with 1
        os.execv(sys.executable, [sys.executable] + sys.orig_argv[1:])  # noqa: RUF005 (Python 2.7)
    try:
        import importlib  # here, not above: now nothing else of that name can be found

        run = importlib.import_module("runner.commands").run
    except Exception as error:
        import traceback

        traceback.print_exc()
        sys.stderr.write("error: %s, which nobody foresaw (above is where); report it.\n" % type(error).__name__)
        sys.exit(FAULT)
    run(lambda arguments: getattr(importlib.import_module(module), function)(arguments))


def leave_out_the_current_folder():  # type: () -> None
    """Import nothing from the current folder, which an empty entry of PYTHONPATH means, as in PYTHONPATH=:/opt/more.

    The first place is the command's own: this checkout, wherever that is.
    """
    try:
        here = os.getcwd()
    except OSError:  # it is gone
        here = ""
    sys.path[1:] = [each for each in sys.path[1:] if each not in ("", ".", here)]


def check_python():  # type: () -> None
    """Go on in a python3.11 where this is another Python; exit with 3 and a sentence where there is none."""
    if sys.version_info[:2] == NEEDED:
        return
    folders = os.environ.get("PATH", "").split(os.pathsep)
    found = [os.path.join(folder, "python3.11") for folder in folders if folder]
    for other in found:
        if os.path.isfile(other) and os.access(other, os.X_OK):
            try:
                os.execv(other, [other] + sys.argv)  # noqa: RUF005 (Python 2.7)
            except OSError:
                continue  # no program that this machine can run
    refuse_python()


def refuse_python():  # type: () -> None
    """Exit with 3 and what to do: there is no python3.11 to go on in."""
    sys.stderr.write(
        "error: Python 3.11 is needed, this is %s and there is no python3.11 on the PATH; "
        "install it (Debian and Ubuntu: apt install python3.11 python3.11-venv).\n" % sys.version.split()[0]
    )
    sys.exit(MISSING)
