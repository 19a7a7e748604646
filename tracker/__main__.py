"""Run the stage: python -m tracker."""

import sys

from handoff.helptext import answer_without

try:
    from handoff.command import main
    from tracker.cli import command
except (Exception, KeyboardInterrupt) as error:
    sys.exit(answer_without("tracker", error))

if __name__ == "__main__":
    main(command, nvidia=True)
