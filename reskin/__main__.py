"""Run the stage: python -m reskin."""

import sys

from handoff.helptext import answer_without

try:
    from handoff.command import main
    from reskin.cli import command
except (Exception, KeyboardInterrupt) as error:
    sys.exit(answer_without("reskin", error))

if __name__ == "__main__":
    main(command)
