"""Write one frame with a grid: python -m tracker.grid."""

import sys

from handoff.helptext import answer_without

try:
    from handoff.command import main
    from tracker.grid.cli import command
except (Exception, KeyboardInterrupt) as error:
    sys.exit(answer_without("tracker.grid", error))

if __name__ == "__main__":
    main(command)
