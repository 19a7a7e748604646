"""Run the stage: python -m evaluator -original MASK -generated VIDEO."""

import sys

from handoff.helptext import answer_without

try:
    from evaluator.cli import command
    from handoff.command import main
except (Exception, KeyboardInterrupt) as error:
    sys.exit(answer_without("evaluator", error))

if __name__ == "__main__":
    main(command, nvidia=True)
