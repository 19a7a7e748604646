"""Run the stage: python -m posegen."""

import sys

from handoff.helptext import answer_without

try:
    from handoff.command import main
    from posegen.cli import command
except (Exception, KeyboardInterrupt) as error:
    sys.exit(answer_without("posegen", error))

if __name__ == "__main__":
    main(command, nvidia=True)
