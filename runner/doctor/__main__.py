"""make doctor: python -m runner.doctor [PROFILE ...]

One line for each thing: ok, warn (it runs without) or missing (the chosen runner cannot run), and the command that
mends it. Exit code 0 when the runner that would be used can run, 3 when not.
"""

from __future__ import annotations

import sys

from runner.commands import NEEDED
from runner.process import RunnerError


def main(names: list[str]) -> int:
    """Print the report and return the exit code."""
    if sys.version_info[:2] != NEEDED:
        version = sys.version.split()[0]
        print(f"missing Python          {version}, 3.11 is needed  -> sudo apt install python3.11 python3.11-venv")
        return 3
    from runner.doctor.diagnosis import lines  # an older Python cannot read all that this needs

    missing = 0
    try:
        for line in lines(names):
            print(line, flush=True)
            missing += line.status == "missing"
    except RunnerError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if missing:
        print(f"cannot run: {missing} {'thing is' if missing == 1 else 'things are'} missing")
    else:
        print("can run")
    return 3 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
