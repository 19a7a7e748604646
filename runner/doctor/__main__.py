# ruff: noqa: UP031 (no f-strings: Pythons that have none read this file too)
"""make doctor: python -m runner.doctor [PROFILE ...]

One line for each thing: ok, warn (it runs without) or missing (the chosen runner cannot run), and the command that
mends it. Exit code 0 when the runner that would be used can run, 3 when not. Every Python can read this file.
"""

import sys

from runner import MISSING, NEEDED


def main(names):  # type: (list[str]) -> int
    """Print the report and return the exit code; raise RunnerError for a profile that there is not."""
    if sys.version_info[:2] != NEEDED:
        mend = "sudo apt install python3.11 python3.11-venv"
        print("missing Python          %s, 3.11 is needed  -> %s" % (sys.version.split()[0], mend))
        return MISSING
    from runner.doctor.diagnosis import lines

    missing = 0
    for line in lines(names):
        print(line)
        sys.stdout.flush()
        missing += line.status == "missing"
    if missing:
        print("cannot run: %d %s missing" % (missing, "thing is" if missing == 1 else "things are"))
    else:
        print("can run")
    return MISSING if missing else 0


if __name__ == "__main__":
    if sys.version_info[:2] != NEEDED:
        sys.exit(main(sys.argv[1:]))
    from runner.commands import run

    run(main)
